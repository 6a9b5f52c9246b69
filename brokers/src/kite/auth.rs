//! Getting, proving and ending tokens at Kite (`kite.md` 1).

use super::wire::rest::{Profile, Renewed, Session, checksum};
use super::{Kite, get, reply, request};
use crate::{AccessToken, Auth, BadRedirect, Body, Call, Cause, Endpoint, Failure, Form, HttpRequest, Method, Secret};

impl Auth for Kite {
    /// `state` comes back on the redirect as its own query parameter of that name.
    fn login_url(&self, state: Option<&str>) -> Option<String> {
        let query = Form::new().with("v", 3).with("api_key", &self.api_key);
        let redirect_params = state.map(|state| Form::new().with("state", state).encode());
        let query = query.with_some("redirect_params", redirect_params);
        Some(format!("{}/connect/login?{}", self.login_root, query.encode()))
    }

    /// `status` other than `success` is not documented; whatever it says, there was no login.
    fn code(&self, redirect: &Form) -> Result<Secret, BadRedirect> {
        match (redirect.get("request_token").filter(|token| !token.is_empty()), redirect.get("status")) {
            (Some(token), None | Some("success")) => Ok(Secret::new(token)),
            (None, None | Some("success")) => Err(BadRedirect::NoCode { expected: "request_token" }),
            (_, Some(status)) => Err(BadRedirect::Refused { said: Some(status.chars().take(40).collect()) }),
        }
    }

    fn exchange(&self, code: &Secret) -> Call<crate::Session> {
        match self.signed("/session/token", "request_token", code) {
            Ok(request) => Call::http(request, |answer| {
                reply::read(Endpoint::Session, answer, |session: Session| session.to_session().ok_or_else(no_token))
            }),
            Err(failure) => Call::Ready(Err(failure)),
        }
    }

    fn renew(&self, refresh_token: &Secret) -> Call<crate::Session> {
        match self.signed("/session/refresh_token", "refresh_token", refresh_token) {
            Ok(request) => Call::http(request, |answer| {
                reply::read(Endpoint::Session, answer, |renewed: Renewed| renewed.to_session().ok_or_else(no_token))
            }),
            Err(failure) => Call::Ready(Err(failure)),
        }
    }

    fn invalidate(&self, token: &AccessToken) -> Call<()> {
        let query = Form::new().with("api_key", &self.api_key).with_secret("access_token", token.secret());
        let request = HttpRequest { query, ..request(Endpoint::Session, Method::Delete, "/session/token") };
        Call::http(request, |answer| {
            reply::read(Endpoint::Session, answer, |ended: bool| {
                if ended { Ok(()) } else { Err("the session was not ended".to_owned()) }
            })
        })
    }

    fn probe(&self) -> Call<crate::Profile> {
        Call::http(get(Endpoint::Profile, "/user/profile", Form::new()), |answer| {
            reply::read(Endpoint::Profile, answer, |profile: Profile| {
                if profile.user_id.is_empty() { Err("no user id".to_owned()) } else { Ok(profile.to_profile()) }
            })
        })
    }

    fn authorization(&self, token: &AccessToken) -> Secret {
        Secret::new(format!("token {}:{}", self.api_key, token.expose()))
    }
}

impl Kite {
    /// A session request, signed with the app's secret.
    fn signed(&self, path: &str, field: &str, token: &Secret) -> Result<HttpRequest, Failure> {
        let Some(api_secret) = &self.api_secret else {
            let message = "the app's secret is not known here: set api_secret (ZERODHA_API_SECRET) to the secret of the \
                           app on developers.kite.trade";
            return Err(Failure::new(Cause::Rejected, Endpoint::Session, message));
        };
        let form = Form::new()
            .with("api_key", &self.api_key)
            .with_secret(field, token)
            .with("checksum", checksum(&self.api_key, token, api_secret));
        Ok(HttpRequest { body: Body::Form(form), ..request(Endpoint::Session, Method::Post, path) })
    }
}

fn no_token() -> String {
    "no token or no user id".to_owned()
}
