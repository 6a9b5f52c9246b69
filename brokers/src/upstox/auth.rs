//! Getting, proving and ending tokens at Upstox (`upstox.md` 2).

use super::wire::{Notice, Profile, Requested, Token};
use super::{Upstox, reply, request, segment};
use crate::{
    AccessToken, Approval, Auth, BadNotice, BadRedirect, Body, Call, Cause, Endpoint, Failure, Form, HttpRequest,
    Method, Secret, Session, TokenLife, jwt,
};

/// Longest words of a redirect that are passed on.
const LONGEST_WORDS: usize = 40;

impl Auth for Upstox {
    /// `state` comes back on the redirect as its own query parameter of that name.
    fn login_url(&self, state: Option<&str>) -> Option<String> {
        let query = Form::new()
            .with("response_type", "code")
            .with("client_id", &self.api_key)
            .with("redirect_uri", &self.redirect_uri)
            .with_some("state", state);
        Some(format!("{}/v2/login/authorization/dialog?{}", self.login_root, query.encode()))
    }

    /// An `error` parameter is `OAuth`'s own way to say no; the documentation does not show it.
    fn code(&self, redirect: &Form) -> Result<Secret, BadRedirect> {
        if let Some(error) = redirect.get("error") {
            let said = Some(error).filter(|error| !error.is_empty());
            return Err(BadRedirect::Refused { said: said.map(|said| said.chars().take(LONGEST_WORDS).collect()) });
        }
        let code = redirect.get("code").filter(|code| !code.is_empty());
        code.map(Secret::new).ok_or(BadRedirect::NoCode { expected: "code" })
    }

    /// The code is spent even if the exchange fails, so that no failure of it is worth a second try.
    fn exchange(&self, code: &Secret) -> Call<Session> {
        self.token("authorization_code", "code", code)
    }

    /// Only for [`App::Guide`](super::App::Guide). The request has `OAuth`'s shape (RFC 6749, 6); where the answer brings
    /// no refresh token, the old one may or may not go on working.
    fn renew(&self, refresh_token: &Secret) -> Call<Session> {
        self.token("refresh_token", "refresh_token", refresh_token)
    }

    fn ask_approval(&self) -> Call<Approval> {
        let secret = match self.known_secret() {
            Ok(secret) => secret,
            Err(failure) => return Call::Ready(Err(failure)),
        };
        let body = Body::Json(Secret::new(serde_json::json!({ "client_secret": secret.expose() }).to_string()));
        let path = format!("/v3/login/auth/token/request/{}", segment(&self.api_key));
        let request = HttpRequest { body, ..request(Endpoint::Session, Method::Post, path) };
        Call::http(request, |answer| {
            reply::read(Endpoint::Session, answer, |asked: Requested| {
                Ok(Approval { lapses_at: asked.authorization_expiry })
            })
        })
    }

    /// Unsigned, so whoever knows the notifier's address can write one: the token in it must be proven like any other.
    fn read_notice(&self, body: &[u8]) -> Result<Session, BadNotice> {
        // What goes wrong could be quoted from the middle of a token, so it is not.
        let notice: Notice =
            serde_json::from_slice(body).map_err(|_| BadNotice::Malformed("its seven fields cannot be read"))?;
        if notice.client_id != self.api_key {
            return Err(BadNotice::OtherApp);
        }
        if notice.message_type != "access_token" {
            return Err(BadNotice::Malformed("message_type is not access_token"));
        }
        if !notice.token_type.eq_ignore_ascii_case("bearer") {
            return Err(BadNotice::Malformed("token_type is not Bearer"));
        }
        if notice.user_id.is_empty() || notice.access_token.is_empty() {
            return Err(BadNotice::Malformed("user_id or access_token is empty"));
        }
        if notice.expires_at <= notice.issued_at {
            return Err(BadNotice::Malformed("expires_at is not after issued_at"));
        }
        Ok(Session {
            user_id: notice.user_id,
            access_token: AccessToken::new(notice.access_token.expose()),
            refresh_token: None,
            login_time: Some(notice.issued_at),
            expires_at: Some(notice.expires_at),
        })
    }

    /// A token is a JWT in practice and opaque by the documentation, so a text that is none says nothing.
    fn life(&self, token: &Secret) -> TokenLife {
        jwt::life(token.expose())
    }

    fn invalidate(&self, token: &AccessToken) -> Call<()> {
        let own_authorization = Some(self.authorization(token));
        let request = HttpRequest { own_authorization, ..request(Endpoint::Session, Method::Delete, "/v2/logout") };
        Call::http(request, |answer| {
            reply::read(
                Endpoint::Session,
                answer,
                |ended: bool| {
                    if ended { Ok(()) } else { Err("the session was not ended") }
                },
            )
        })
    }

    /// The profile: no token of the read-only kind passes it, and it is open while funds and orders are closed.
    fn probe(&self) -> Call<crate::Profile> {
        let request = HttpRequest { authorized: true, ..request(Endpoint::Profile, Method::Get, "/v2/user/profile") };
        Call::http(request, |answer| {
            reply::read(Endpoint::Profile, answer, |profile: Profile| match profile {
                Profile { user_id, .. } if user_id.is_empty() => Err("no user id"),
                Profile { user_id, user_name, .. } => Ok(crate::Profile { user_id, user_name }),
            })
        })
    }

    fn authorization(&self, token: &AccessToken) -> Secret {
        Secret::new(format!("Bearer {}", token.expose()))
    }
}

impl Upstox {
    /// A request to the token endpoint.
    fn token(&self, grant: &str, field: &str, value: &Secret) -> Call<Session> {
        let secret = match self.known_secret() {
            Ok(secret) => secret,
            Err(failure) => return Call::Ready(Err(failure)),
        };
        let form = Form::new()
            .with_secret(field, value)
            .with("client_id", &self.api_key)
            .with_secret("client_secret", secret)
            .with("redirect_uri", &self.redirect_uri)
            .with("grant_type", grant);
        let body = Body::Form(form);
        let request = HttpRequest { body, ..request(Endpoint::Session, Method::Post, "/v2/login/authorization/token") };
        Call::http(request, |answer| reply::read_flat(Endpoint::Session, answer, session))
    }

    fn known_secret(&self) -> Result<&Secret, Failure> {
        let words = "the app's secret is not known here: set api_secret (UPSTOX_API_SECRET) to the secret of the app \
                     on account.upstox.com/developer/apps";
        self.secret.as_ref().ok_or_else(|| Failure::new(Cause::Rejected, Endpoint::Session, words))
    }
}

/// A token answer in our words. When the token was made and when it dies, it says itself ([`Auth::life`]).
fn session(token: Token) -> Result<Session, &'static str> {
    if token.profile.user_id.is_empty() || token.access_token.is_empty() {
        return Err("no token or no user id");
    }
    Ok(Session {
        user_id: token.profile.user_id,
        access_token: AccessToken::new(token.access_token.expose()),
        refresh_token: token.refresh_token,
        login_time: None,
        expires_at: None,
    })
}
