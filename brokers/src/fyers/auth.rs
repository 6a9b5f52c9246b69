//! Getting, proving and ending tokens at FYERS (`fyers.md` 1).

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{API, Fyers, reply, request};
use crate::{
    AccessToken, Auth, BadRedirect, Body, Call, Cause, Endpoint, Failure, Form, HttpRequest, Method, Profile, Secret,
    Session, TokenLife, jwt,
};

/// `appIdHash`: the SHA-256 of `client_id:secret` in small hexadecimal letters. `client_id` has its suffix.
#[must_use]
pub fn app_id_hash(client_id: &str, secret: &Secret) -> String {
    let digest = Sha256::new().chain_update(client_id).chain_update(":").chain_update(secret.expose()).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Auth for Fyers {
    /// A login always brings a `state` back; without one to send it is `none`.
    fn login_url(&self, state: Option<&str>) -> Option<String> {
        let query = Form::new()
            .with("client_id", &self.client_id)
            .with("redirect_uri", &self.redirect_uri)
            .with("response_type", "code")
            .with("state", state.unwrap_or("none"));
        Some(format!("{}{API}/generate-authcode?{}", self.login_root, query.encode()))
    }

    /// The redirect's own `code` is a status (200); the login's code is `auth_code`.
    fn code(&self, redirect: &Form) -> Result<Secret, BadRedirect> {
        match (redirect.get("auth_code").filter(|code| !code.is_empty()), redirect.get("s")) {
            (Some(code), None | Some("ok")) => Ok(Secret::new(code)),
            (None, None | Some("ok")) => Err(BadRedirect::NoCode { expected: "auth_code" }),
            (_, Some(status)) => {
                let said = redirect.get("message").filter(|words| !words.is_empty()).unwrap_or(status);
                Err(BadRedirect::Refused { said: Some(said.chars().take(40).collect()) })
            }
        }
    }

    fn exchange(&self, code: &Secret) -> Call<Session> {
        let fields = self.signed("authorization_code", |fields| fields["code"] = json!(code.expose()));
        session("/validate-authcode", fields)
    }

    /// The documentation asks for the PIN on every call. Without a new refresh token in the answer, which is what is
    /// documented, the old one stays good.
    fn renew(&self, refresh_token: &Secret) -> Call<Session> {
        let Some(pin) = &self.pin else {
            return Call::Ready(Err(rejected(
                "FYERS renews a token only with the user's PIN, which is not known here: set FYERS_PIN in the \
                 account's store or in the environment",
            )));
        };
        let fields = self.signed("refresh_token", |fields| {
            fields["refresh_token"] = json!(refresh_token.expose());
            fields["pin"] = json!(pin.expose());
        });
        session("/validate-refresh-token", fields)
    }

    /// When the token's claims say it dies.
    fn life(&self, token: &Secret) -> TokenLife {
        jwt::life(token.expose())
    }

    fn invalidate(&self, token: &AccessToken) -> Call<()> {
        let request = HttpRequest {
            own_authorization: Some(self.authorization(token)),
            // What the official Python SDK sends.
            body: Body::Json(Secret::new("null")),
            ..request(Endpoint::Session, Method::Post, "/logout")
        };
        Call::http(request, |answer| reply::read(Endpoint::Session, answer, |_: Value| Ok(())))
    }

    fn probe(&self) -> Call<Profile> {
        let request = HttpRequest { authorized: true, ..request(Endpoint::Profile, Method::Get, "/profile") };
        Call::http(request, |answer| {
            reply::read(Endpoint::Profile, answer, |owner: Owner| {
                let user_id = owner.data.fy_id;
                if user_id.is_empty() {
                    return Err("no user id");
                }
                Ok(Profile { user_id, user_name: owner.data.name.unwrap_or_default() })
            })
        })
    }

    fn authorization(&self, token: &AccessToken) -> Secret {
        Secret::new(format!("{}:{}", self.client_id, token.expose()))
    }
}

impl Fyers {
    /// The fields of a session request, signed with the app's secret.
    fn signed(&self, grant: &str, add: impl FnOnce(&mut Value)) -> Result<Secret, Failure> {
        let Some(secret) = &self.secret else {
            return Err(rejected(
                "the app's secret is not known here: set FYERS_SECRET_KEY in the account's store or in the environment \
                 to the secret of the app on myapi.fyers.in",
            ));
        };
        let mut fields = json!({ "grant_type": grant, "appIdHash": app_id_hash(&self.client_id, secret) });
        add(&mut fields);
        Ok(Secret::new(fields.to_string()))
    }
}

/// A call that ends in a session.
fn session(path: &str, fields: Result<Secret, Failure>) -> Call<Session> {
    match fields {
        Ok(json) => {
            let request = HttpRequest { body: Body::Json(json), ..request(Endpoint::Session, Method::Post, path) };
            Call::http(request, |answer| reply::read(Endpoint::Session, answer, Issued::into_session))
        }
        Err(failure) => Call::Ready(Err(failure)),
    }
}

fn rejected(words: &str) -> Failure {
    Failure::new(Cause::Rejected, Endpoint::Session, words)
}

/// The answer to an exchange or a renewal.
#[derive(Deserialize)]
struct Issued {
    access_token: String,
    refresh_token: Option<String>,
}

impl Issued {
    /// The answer names no user: the token's claims do (`fy_id`), unproven as all of them; else the id is empty, and the
    /// probe says whose it is.
    fn into_session(self) -> Result<Session, &'static str> {
        if self.access_token.is_empty() {
            return Err("no token");
        }
        let claims = jwt::payload(&self.access_token).unwrap_or_default();
        Ok(Session {
            user_id: claims.get("fy_id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            login_time: jwt::life(&self.access_token).issued_at,
            access_token: AccessToken::new(self.access_token),
            refresh_token: self.refresh_token.filter(|token| !token.is_empty()).map(Secret::new),
            expires_at: None,
        })
    }
}

/// The answer to a probe. Any other field may be missing or null.
#[derive(Deserialize)]
struct Owner {
    data: OwnerData,
}

#[derive(Deserialize)]
struct OwnerData {
    fy_id: String,
    name: Option<String>,
}
