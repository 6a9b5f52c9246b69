//! The pages a human sees: plain HTML for a desk or a phone, without script, image or anything from elsewhere.
//!
//! Promises: every text is escaped; no page holds a code, a state that still works, or a token.

use std::fmt::Write as _;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Fingerprint, Venue};

use super::proof::Proof;
use crate::core::Event;
use crate::engine::{Health, LoginError};

const STYLE: &str = "\
:root{color-scheme:light dark;--back:#f4f5f7;--card:#fff;--text:#1b1f24;--quiet:#5b6470;--line:#dfe3e8;--go:#1257c9}\
@media(prefers-color-scheme:dark){:root{--back:#14171b;--card:#1e2228;--text:#e8eaed;--quiet:#a0a8b3;--line:#333a43;\
--go:#7fb0ff}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:flex;justify-content:center;align-items:flex-start;background:var(--back);\
color:var(--text);font:17px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}\
main{width:100%;max-width:34rem;margin:12vh 1rem 2rem;padding:1.75rem;background:var(--card);\
border:1px solid var(--line);border-top:.35rem solid var(--tone);border-radius:.6rem;overflow-wrap:anywhere}\
.good{--tone:#1a8f4c}.bad{--tone:#c8372d}.wait{--tone:#c98a00}.plain{--tone:#1257c9}\
h1{margin:0 0 .75rem;font-size:1.45rem;line-height:1.25}p{margin:.6rem 0}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1rem;margin:1.1rem 0 0;padding-top:1rem;\
border-top:1px solid var(--line)}dt{color:var(--quiet)}dd{margin:0}\
a.go{display:block;margin:.9rem 0 0;padding:.8rem 1rem;border:1px solid var(--line);border-radius:.45rem;\
color:var(--go);font-weight:600;text-decoration:none}a.go:hover,a.go:focus{border-color:var(--go)}\
a small{display:block;color:var(--quiet);font-weight:400}\
footer{margin-top:1.4rem;color:var(--quiet);font-size:.85rem}";

/// After how many seconds a browser asks again, while something is being waited for.
const AGAIN: u32 = 5;

/// What colour a page wears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Wait,
    Plain,
}

/// A link with its label and, below it, a word more.
#[derive(Clone, Debug)]
struct Link {
    to: String,
    label: String,
    more: String,
}

/// A page, still without markup.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// The HTTP status it comes with.
    pub(super) status: u16,
    tone: Tone,
    title: String,
    paragraphs: Vec<String>,
    facts: Vec<(&'static str, String)>,
    links: Vec<Link>,
    /// The browser asks again after so many seconds.
    again: Option<u32>,
}

impl Page {
    /// A page of a title and one paragraph.
    pub(super) fn new(status: u16, tone: Tone, title: impl Into<String>, paragraph: impl Into<String>) -> Self {
        Self {
            status,
            tone,
            title: title.into(),
            paragraphs: vec![paragraph.into()],
            facts: Vec::new(),
            links: Vec::new(),
            again: None,
        }
    }

    fn paragraph(mut self, text: impl Into<String>) -> Self {
        self.paragraphs.push(text.into());
        self
    }

    fn link(mut self, to: impl Into<String>, label: impl Into<String>, more: impl Into<String>) -> Self {
        self.links.push(Link { to: to.into(), label: label.into(), more: more.into() });
        self
    }

    fn log_in_again(self, account: &str) -> Self {
        self.link(format!("/api/auth/login/{account}"), "Log in again", format!("account {account}"))
    }

    /// How the account stands, as a list.
    fn standing(mut self, health: &Health) -> Self {
        let venue = Event::Venue { at: health.at, venue: health.venue, reduce_only: health.reduce_only }.to_string();
        let orders = venue.strip_prefix("orders ").unwrap_or(&venue);
        self.facts.push(("Account", format!("{} ({})", health.account, health.broker)));
        self.facts.push(("Session", health.state.to_string()));
        self.facts.push(("Orders", orders.to_owned()));
        self.facts.push(("Feed", health.feed.to_string()));
        if let Some(token) = &health.token {
            self.facts.push((
                "Token",
                format!("{}, good until {} IST at the latest", token.fingerprint, minute(token.expires)),
            ));
        }
        self
    }

    /// The page as HTML.
    pub(super) fn html(&self) -> String {
        let tone = match self.tone {
            Tone::Good => "good",
            Tone::Bad => "bad",
            Tone::Wait => "wait",
            Tone::Plain => "plain",
        };
        let mut html = String::with_capacity(4096);
        html.push_str("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        html.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        if let Some(seconds) = self.again {
            // Without an address: the browser asks for the page it shows.
            let _ = writeln!(html, "<meta http-equiv=\"refresh\" content=\"{seconds}\">");
        }
        let title = escape(&self.title);
        let _ = writeln!(html, "<title>{title} - Nirantar</title>\n<style>{STYLE}</style>\n</head>");
        let _ = writeln!(html, "<body>\n<main class=\"{tone}\">\n<h1>{title}</h1>");
        for paragraph in &self.paragraphs {
            let _ = writeln!(html, "<p>{}</p>", escape(paragraph));
        }
        for Link { to, label, more } in &self.links {
            let (to, label, more) = (escape(to), escape(label), escape(more));
            let _ = writeln!(html, "<a class=\"go\" href=\"{to}\">{label}<small>{more}</small></a>");
        }
        if !self.facts.is_empty() {
            html.push_str("<dl>\n");
            for (name, value) in &self.facts {
                let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
            }
            html.push_str("</dl>\n");
        }
        html.push_str("<footer>Nirantar, on the machine that trades</footer>\n</main>\n</body>\n</html>\n");
        html
    }
}

/// A link for each account.
pub(super) fn accounts<'a>(names: impl Iterator<Item = (&'a str, &'a str, Option<String>)>) -> Page {
    let page = Page::new(200, Tone::Plain, "Which account?", "Log in at the broker as the account's own user.");
    names.fold(page, |page, (name, broker, owner)| {
        let owner = owner.map(|owner| format!(", user {owner}")).unwrap_or_default();
        page.link(format!("/api/auth/login/{name}"), format!("Log in: {name}"), format!("{broker}{owner}"))
    })
}

/// What a login costs now, with a link that goes on. `elsewhere`: the login page by a name of ours, where the browser has
/// called us by another; under that one nothing is confirmed.
pub(super) fn cost(account: &str, words: &str, elsewhere: Option<&str>) -> Page {
    let page = Page::new(200, Tone::Wait, "This login has a price", words)
        .paragraph("Without it everything goes on as it is. Close this page to leave it so.");
    if let Some(login) = elsewhere {
        return page.paragraph(
            "It cannot go on under this name, which this server does not know as its own: open the address below, or \
             set public_url under [server] to the address that browsers use.",
        ).link(format!("{login}/{account}"), "Open the login page", login);
    }
    page.link(format!("/api/auth/login/{account}?confirm=1"), "Log in all the same", format!("account {account}"))
}

/// There is no such account here.
pub(super) fn no_account() -> Page {
    Page::new(404, Tone::Bad, "No such account", "No account of that name runs here.").link(
        "/api/auth/login",
        "See the accounts",
        "",
    )
}

/// Nothing is here.
pub(super) fn nothing_here() -> Page {
    Page::new(404, Tone::Bad, "Nothing here", "This is the login server of Nirantar; there is no such page.").link(
        "/api/auth/login",
        "Log in",
        "at the broker",
    )
}

/// A redirect that does not belong to a login of ours.
pub(super) fn not_ours() -> Page {
    Page::new(
        400,
        Tone::Bad,
        "This login was not started here",
        "The address brings a login that this server did not begin, or has forgotten. It may be somebody else's, so it \
         was not used.",
    )
    .paragraph(
        "If you began it yourself with `nirantar token login`, copy the whole address of this page, run `nirantar token \
         login --paste -` on the machine that trades, and paste it there.",
    )
    .link("/api/auth/login", "Log in", "from the beginning")
}

/// The human took too long.
pub(super) fn too_late(account: &str) -> Page {
    let words = "A login must come back within ten minutes. It was not used, and nothing has changed.";
    Page::new(400, Tone::Bad, "This login came too late", words).log_in_again(account)
}

/// The page was loaded again, and the broker has not said yet what the token is that the login brought.
pub(super) fn being_checked(health: &Health) -> Page {
    let words = "The login has come back and its token is being checked with the broker. This page asks again by itself; \
                 another login would only get in its way.";
    let page = Page::new(202, Tone::Wait, "Being checked", words).standing(health);
    Page { again: Some(AGAIN), ..page }
}

/// The page was loaded again, and nothing is being waited for but the orders' way back. `brought`: the token of that
/// login.
pub(super) fn used(health: &Health, brought: Option<Fingerprint>) -> Page {
    let in_use = brought.is_some_and(|token| health.token.is_some_and(|used| used.fingerprint == token));
    let settled = health.possible && !health.reduce_only;
    let once = "A login works once. This is how the account stands now.";
    let page = match (in_use, settled) {
        (true, true) => Page::new(
            409,
            Tone::Good,
            "Connected",
            "This login was used, and its token is in use. You can close this page.",
        ),
        (true, false) => {
            let words = "The token of this login is good and in use. Orders are not all the way back yet; see below.";
            let page = Page::new(200, Tone::Wait, "Logged in", words);
            Page { again: Some(AGAIN), ..page }
        }
        (false, _) if health.state.is_live() => Page::new(409, Tone::Plain, "This login was used", once),
        (false, _) => Page::new(409, Tone::Plain, "This login was used", once).log_in_again(&health.account),
    };
    page.standing(health)
}

/// The login brought no token.
pub(super) fn failed(account: &str, error: &LoginError) -> Page {
    let status = match error {
        LoginError::Redirect(_) | LoginError::Stranger { .. } => 400,
        LoginError::CodeUsed => 409,
        LoginError::Stopped => 503,
        _ => 502,
    };
    Page::new(status, Tone::Bad, "Not logged in", sentence(&error.to_string()))
        .paragraph("What was in use before this login is used as before, if the broker still accepts it.")
        .log_in_again(account)
}

/// What became of the token that a login brought.
pub(super) fn proof(proof: &Proof, account: &str, owner: Option<&str>) -> Page {
    match proof {
        Proof::Connected(health) => {
            let orders = match health.venue {
                Venue::Paper => "orders go to paper, as this account wants it",
                _ => "orders go to the broker",
            };
            let words = format!("{} at {}: the token is good, and {orders}.", owner.unwrap_or(account), health.broker);
            Page::new(200, Tone::Good, "Connected", words).paragraph("You can close this page.").standing(health)
        }
        Proof::Proven(health) => {
            let words = format!(
                "{} at {}: the token is good and in use. Orders are not all the way back yet; see below.",
                owner.unwrap_or(account),
                health.broker
            );
            let page = Page::new(200, Tone::Wait, "Logged in", words).standing(health);
            Page { again: Some(AGAIN), ..page }
        }
        Proof::NotTaken { why, health } => {
            Page::new(502, Tone::Bad, "Not connected", sentence(why)).log_in_again(account).standing(health)
        }
        Proof::Undecided => {
            let words = "The broker gave a token and has not yet said whose it is. It is asked again by itself.";
            let page = Page::new(202, Tone::Wait, "Logged in, not yet proven", words);
            Page { again: Some(AGAIN), ..page }
        }
    }
}

/// The first letter in capitals, a full stop at the end.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let stop = if words.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

fn minute(at: Timestamp) -> String {
    at.to_ist().format("%d %b %H:%M").to_string()
}

/// Text as HTML, inside an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(letter),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "<script>'\"&";

    #[test]
    fn whatever_a_broker_or_a_browser_says_is_text_on_the_page() {
        let refused = nirantar_brokers::BadRedirect::Refused { said: Some(EVIL.to_owned()) };
        let pages = [
            failed("main", &LoginError::Redirect(refused)),
            cost(EVIL, EVIL, None),
            cost(EVIL, EVIL, Some(EVIL)),
            accounts([(EVIL, EVIL, Some(EVIL.to_owned()))].into_iter()),
            proof(&Proof::Undecided, EVIL, Some(EVIL)),
        ];
        for page in pages {
            let html = page.html();
            assert!(!html.contains(EVIL) && !html.contains("<script"), "{html}");
        }
        assert_eq!(escape(EVIL), "&lt;script&gt;&#39;&quot;&amp;");
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        for page in
            [accounts([("main", "kite", None)].into_iter()), cost("main", "words", None), not_ours(), nothing_here()]
        {
            let html = page.html();
            for outside in ["http://", "https://", "src=", "@import", "url("] {
                assert!(!html.contains(outside), "{outside} in {html}");
            }
            assert!(html.contains("width=device-width"));
        }
    }
}
