//! Getting a session: the login page, the token endpoint, the approval on the phone (`upstox.md` 2.1, 2.2).

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::upstox::wire::{JSON, Notice, Requested, Token};
use nirantar_brokers::{Form, Secret};
use serde::Serialize;
use serde_json::json;

use super::core::{UpstoxCore, asked_client, success};
use super::refused::Refused;
use super::tokens::Issued;
use crate::rest::{Reply, Request, Transport, escaped};

/// Longest `state` that is carried through the login page.
const LONGEST_STATE: usize = 1024;

impl UpstoxCore {
    /// The login page: one link grants, the other refuses. Whoever needs no page adds `decision=approve` himself.
    pub(super) fn login(&mut self, query: &Form, now: Timestamp) -> Result<Reply, Refused> {
        let asked = (query.get("client_id"), query.get("redirect_uri"));
        if asked != (Some(&self.settings.api_key), Some(&self.settings.redirect_url)) {
            return Err(Refused::bad_redirect());
        }
        // There is one type, and the official SDK's `authorize` leaves it out.
        if query.get("response_type").is_some_and(|asked| asked != "code") {
            return Err(Refused::input("UDAPI100036", "Invalid Input: response_type must be code."));
        }
        let state = query.get("state");
        if state.is_some_and(|state| state.len() > LONGEST_STATE) {
            return Err(Refused::input("UDAPI100036", "Invalid Input: state is too long."));
        }
        let back = match query.get("decision") {
            Some("approve") => Form::new().with_secret("code", &self.tokens.approve_login(now)),
            Some("refuse") => Form::new().with("error", "access_denied"),
            Some(_) => return Err(Refused::input("UDAPI100036", "Invalid Input: decision is approve or refuse.")),
            None => return Ok(self.page(state)),
        };
        let joint = if self.settings.redirect_url.contains('?') { '&' } else { '?' };
        let back = back.with_some("state", state).encode();
        Ok(Reply::redirect(format!("{}{joint}{back}", self.settings.redirect_url)))
    }

    fn page(&self, state: Option<&str>) -> Reply {
        let link = |decision: &str, words: &str| {
            let query = Form::new()
                .with("response_type", "code")
                .with("client_id", &self.settings.api_key)
                .with("redirect_uri", &self.settings.redirect_url)
                .with_some("state", state)
                .with("decision", decision);
            let query = escaped(&query.encode());
            format!("<p><a id=\"{decision}\" href=\"/v2/login/authorization/dialog?{query}\">{words}</a></p>")
        };
        let page = format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <title>Upstox simulator: log in</title></head><body><h1>Upstox simulator</h1><p>{} wants to trade for {}.</p>{}{}</body></html>",
            escaped(&self.settings.api_key),
            escaped(&self.settings.user_id),
            link("approve", "Log in and allow"),
            link("refuse", "Refuse"),
        );
        Reply::html(200, page)
    }

    /// The token endpoint.
    pub(super) fn token(&mut self, form: &Form, now: Timestamp) -> Result<Reply, Refused> {
        let issued = match required(form, "grant_type", "UDAPI1023")? {
            "authorization_code" => {
                let code = required(form, "code", "UDAPI1022")?;
                // Spent by the attempt, whatever else is wrong with it.
                let good = self.tokens.spend_code(code, now);
                self.check_client(form)?;
                good.then(|| self.tokens.issue(now)).ok_or_else(Refused::bad_code)?
            }
            "refresh_token" => {
                self.check_client(form)?;
                // No number is known for it: as for a code.
                let refresh = required(form, "refresh_token", "UDAPI1022")?;
                let good = self.tokens.spend_refresh(refresh);
                good.then(|| self.tokens.issue_renewed(now)).ok_or_else(Refused::bad_code)?
            }
            _ => return Err(Refused::input("UDAPI100036", "Invalid Input: grant_type is not supported.")),
        };
        if self.tokens.dead_next > 0 {
            self.tokens.dead_next -= 1;
            self.tokens.kill(&issued.access);
        }
        let mut reply = written(&self.token_answer(&issued))?;
        if self.lose_next > 0 {
            self.lose_next -= 1;
            self.log.replies_lost = self.log.replies_lost.saturating_add(1);
            reply.transport = Transport::Cut;
        }
        Ok(reply)
    }

    /// A session as the token endpoint writes it.
    pub(super) fn token_answer(&self, issued: &Issued) -> Token {
        Token {
            profile: self.profile_of(&issued.user),
            access_token: issued.access.secret().clone(),
            extended_token: Some(issued.extended.secret().clone()),
            refresh_token: issued.refresh.clone(),
        }
    }

    /// Asks the human. What was asked for lapses when tokens die next.
    pub(super) fn ask(&mut self, request: &Request, now: Timestamp) -> Result<Reply, Refused> {
        // Decoded as a value of a query is; a client that sends a plus sign means a plus sign and escapes it.
        let client = Form::parse(format!("id={}", asked_client(&request.path).unwrap_or_default()).as_bytes());
        let body = request.json();
        let secret = body.as_ref().and_then(|body| body.get("client_secret")?.as_str()).unwrap_or_default();
        if secret.is_empty() {
            return Err(Refused::input("UDAPI1024", "Client secret is required."));
        }
        if client.get("id") != Some(&self.settings.api_key) || secret != self.settings.api_secret.expose() {
            return Err(Refused::bad_client());
        }
        let lapses = self.tokens.next_cutoff(now);
        self.asked_until = Some(lapses);
        let notifier_url = self.settings.notifier_url.as_ref().map(|notifier| notifier.expose());
        Ok(success(&json!(Requested { authorization_expiry: Some(lapses), notifier_url })))
    }

    /// Whether the human has been asked and may still answer.
    pub(super) fn is_asked(&self, now: Timestamp) -> bool {
        self.asked_until.is_some_and(|lapses| now < lapses)
    }

    /// The human grants what was asked for: the notice with the new token, which is also sent off to the notifier if
    /// there is one. `None` if nothing was asked for, or it has lapsed.
    pub fn approve(&mut self, now: Timestamp) -> Option<Secret> {
        if !self.is_asked(now) {
            return None;
        }
        self.asked_until = None;
        let issued = self.tokens.issue(now);
        let notice = Notice {
            client_id: self.settings.api_key.clone(),
            user_id: issued.user,
            access_token: issued.access.secret().clone(),
            token_type: "Bearer".to_owned(),
            expires_at: issued.dies,
            issued_at: issued.at,
            message_type: "access_token".to_owned(),
        };
        let notice = Secret::new(serde_json::to_string(&notice).ok()?);
        self.log.approvals.count(true);
        if let (Some(post), Some(notifier)) = (&self.post, &self.settings.notifier_url) {
            post(notifier.clone(), notice.clone());
        }
        Some(notice)
    }

    /// The human declines: nothing is sent. False if nothing was asked for.
    pub fn decline(&mut self, now: Timestamp) -> bool {
        let asked = self.is_asked(now);
        self.asked_until = None;
        if asked {
            self.log.approvals.count(false);
        }
        asked
    }

    fn check_client(&self, form: &Form) -> Result<(), Refused> {
        let client = required(form, "client_id", "UDAPI1017")?;
        let secret = required(form, "client_secret", "UDAPI1024")?;
        let redirect = required(form, "redirect_uri", "UDAPI1018")?;
        if client != self.settings.api_key || secret != self.settings.api_secret.expose() {
            return Err(Refused::bad_client());
        }
        if redirect == self.settings.redirect_url { Ok(()) } else { Err(Refused::bad_redirect()) }
    }
}

fn required<'a>(form: &'a Form, name: &str, code: &str) -> Result<&'a str, Refused> {
    let value = form.get(name).filter(|value| !value.is_empty());
    value.ok_or_else(|| Refused::input(code, &format!("{name} is required.")))
}

/// 200 with that in no envelope.
fn written<T: Serialize>(answer: &T) -> Result<Reply, Refused> {
    let body = serde_json::to_vec(answer).map_err(|_| Refused::new(500, "UDAPI100500", "Something went wrong."))?;
    Ok(Reply::new(200, JSON, body))
}
