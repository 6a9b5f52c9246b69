//! The page where a human logs in: one button to allow the app, one to cancel.

use nirantar_brokers::fyers::API;
use nirantar_brokers::{Form, Secret};

use crate::rest::{Reply, escaped};

/// What a login page was asked for, and what the human says to it.
#[derive(Debug)]
pub(super) struct Login<'a> {
    pub(super) client_id: &'a str,
    pub(super) redirect_uri: &'a str,
    pub(super) state: Option<&'a str>,
    /// `allow` or `cancel`; `None` before the human has said anything.
    pub(super) answer: Option<&'a str>,
}

impl<'a> Login<'a> {
    /// Reads the address of a login, as all three official SDKs write it.
    ///
    /// # Errors
    /// The name of the field that is missing or wrong.
    pub(super) fn read(query: &'a Form) -> Result<Self, &'static str> {
        let field = |name: &'static str| query.get(name).filter(|value| !value.is_empty()).ok_or(name);
        if field("response_type")? != "code" {
            return Err("response_type");
        }
        let redirect_uri = field("redirect_uri")?;
        if !["http://", "https://"].iter().any(|scheme| redirect_uri.starts_with(scheme)) {
            return Err("redirect_uri");
        }
        let answer = query.get("answer");
        if !matches!(answer, None | Some("allow" | "cancel")) {
            return Err("answer");
        }
        Ok(Self { client_id: field("client_id")?, redirect_uri, state: query.get("state"), answer })
    }

    /// The page. It needs no script and shows nothing that is secret.
    pub(super) fn page(&self, user_id: &str) -> Reply {
        let link = |answer: &str| {
            let query = Form::new()
                .with("client_id", self.client_id)
                .with("redirect_uri", self.redirect_uri)
                .with("response_type", "code")
                .with_some("state", self.state)
                .with("answer", answer);
            escaped(&format!("{API}/generate-authcode?{}", query.encode()))
        };
        let page = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>Log in (simulator)</title><style>{STYLE}</style>\
             </head><body><main><h1>FYERS login, simulated</h1><p>The app <b>{}</b> asks for access to the account <b>{}</b>. \
             No money is behind it.</p><p><a id=\"allow\" href=\"{}\">Allow</a> <a id=\"cancel\" href=\"{}\">Cancel</a></p>\
             </main></body></html>",
            escaped(self.client_id),
            escaped(user_id),
            link("allow"),
            link("cancel"),
        );
        private(Reply::html(200, page))
    }

    /// Back with the code, or with a refusal where there is none.
    pub(super) fn back(&self, code: Option<&Secret>) -> Reply {
        let query = match code {
            Some(code) => Form::new().with("s", "ok").with("code", 200).with_secret("auth_code", code),
            // What the broker says to a cancelled login was not recorded; the shape is that of its errors.
            None => Form::new().with("s", "error").with("code", -16).with("message", "the login was cancelled"),
        };
        let query = query.with_some("state", self.state).encode();
        let joint = if self.redirect_uri.contains('?') { '&' } else { '?' };
        private(Reply::redirect(format!("{}{joint}{query}", self.redirect_uri)))
    }
}

/// A code in an address must not be kept, nor told to the next site.
fn private(reply: Reply) -> Reply {
    reply.with_header("Cache-Control", "no-store").with_header("Referrer-Policy", "no-referrer")
}

const STYLE: &str = "body{font:16px system-ui,sans-serif;background:#f4f5f7;color:#1b1d21}\
     main{max-width:26rem;margin:4rem auto;padding:1.5rem;background:#fff;border:1px solid #d9dce1;border-radius:8px}\
     h1{font-size:1.25rem}a{display:inline-block;padding:.6rem 1.2rem;border-radius:6px;text-decoration:none;color:#1b1d21}\
     #allow{background:#0b5fff;color:#fff}";

#[cfg(test)]
mod tests {
    use super::*;

    fn location(reply: &Reply) -> String {
        reply.header("Location").unwrap().to_owned()
    }

    #[test]
    fn the_addresses_of_all_three_sdks_are_read() {
        for query in [
            "client_id=A-100&redirect_uri=http%3A%2F%2F127.0.0.1%3A80%2Fcb&response_type=code&state=x",
            "client_id=A-100&redirect_uri=http://127.0.0.1:80/cb&response_type=code&state=x",
            "&client_id=A-100&redirect_uri=http%3A%2F%2F127.0.0.1%3A80%2Fcb&response_type=code&state=x",
        ] {
            let form = Form::parse(query.as_bytes());
            let login = Login::read(&form).unwrap();
            assert_eq!(
                (login.client_id, login.redirect_uri, login.state),
                ("A-100", "http://127.0.0.1:80/cb", Some("x"))
            );
        }
    }

    #[test]
    fn what_is_no_address_of_a_login_is_said_by_name() {
        for (query, wrong) in [
            ("redirect_uri=http://h/&response_type=code", "client_id"),
            ("client_id=A&response_type=code", "redirect_uri"),
            ("client_id=A&redirect_uri=javascript:alert(1)&response_type=code", "redirect_uri"),
            ("client_id=A&redirect_uri=http://h/&response_type=token", "response_type"),
            ("client_id=A&redirect_uri=http://h/&response_type=code&answer=perhaps", "answer"),
        ] {
            assert_eq!(Login::read(&Form::parse(query.as_bytes())).unwrap_err(), wrong, "{query}");
        }
    }

    #[test]
    fn the_page_repeats_nothing_as_markup_and_its_links_lead_back_here() {
        let form =
            Form::new().with("client_id", "\"><script>").with("redirect_uri", "http://h/?a=1").with("state", "<b>");
        let form = form.with("response_type", "code");
        let page = String::from_utf8(Login::read(&form).unwrap().page("XN00001").body).unwrap();
        assert!(!page.contains("<script") && page.contains("&quot;&gt;&lt;script&gt;"), "{page}");
        assert!(page.contains("href=\"/api/v3/generate-authcode?client_id=%22%3E%3Cscript%3E&amp;"), "{page}");
    }

    #[test]
    fn the_state_comes_back_beside_the_code_or_the_refusal() {
        let form = Form::parse(b"client_id=A&redirect_uri=http://h/?a=1&response_type=code&state=x+y");
        let login = Login::read(&form).unwrap();
        let back = location(&login.back(Some(&Secret::new("eyJ.a.b"))));
        assert_eq!(back, "http://h/?a=1&s=ok&code=200&auth_code=eyJ.a.b&state=x+y");
        assert!(location(&login.back(None)).starts_with("http://h/?a=1&s=error&code=-16&"));
    }
}
