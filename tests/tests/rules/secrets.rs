//! Rule 10: random secrets are planted wherever a secret can be, and looked for in everything that can be printed.

use std::fmt::{Debug, Display};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use nirantar::session::{Candidate, Effect, Event, Machine, Source, Verdict};
use nirantar::token::store::{Change, Stored};
use nirantar::token::{LiveToken, Snapshot, TokenCell};
use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::Rng;
use nirantar_brokers::{
    AccessToken, Auth as _, Body, Cause, Endpoint, Failure, Feed as _, Form, HttpRequest, HttpResponse, Method,
    Redactor, Secret, Session,
};

use super::core_world::{CoreWorld, Judge, Scene};
use super::dice::Dice;
use super::moves::PRELUDE;

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=%&:.-_~ \"\\";

/// A secret of 12 to 59 printable characters.
pub fn secret(rng: &mut Rng) -> String {
    let length = 12 + rng.below(48);
    (0..length).map(|_| char::from(LETTERS[rng.below(LETTERS.len() as u64) as usize])).collect()
}

/// The secrets, and all that was printed.
pub struct Printed {
    secrets: Vec<String>,
    texts: Vec<String>,
}

impl Printed {
    fn debug(&mut self, value: &impl Debug) {
        self.texts.push(format!("{value:?}"));
        self.texts.push(format!("{value:#?}"));
    }

    fn both(&mut self, value: &(impl Debug + Display)) {
        self.debug(value);
        self.texts.push(value.to_string());
    }

    /// How many texts were looked through.
    ///
    /// # Errors
    /// A secret stands in one of them.
    pub fn search(&self) -> Result<usize, String> {
        for secret in &self.secrets {
            for shape in shapes(secret) {
                if let Some(text) = self.texts.iter().find(|text| text.contains(&shape)) {
                    return Err(format!("`{secret}` stands, as `{shape}`, in: {text}"));
                }
            }
        }
        Ok(self.texts.len())
    }
}

/// A secret as it may be quoted: raw, escaped, URL-encoded, in base64.
fn quotations(secret: &str) -> [String; 5] {
    let form = Form::new().with("", secret).encode().split_off(1);
    let quoted = format!("{secret:?}");
    let escaped = quoted[1..quoted.len() - 1].to_owned();
    [secret.to_owned(), escaped, form, STANDARD_NO_PAD.encode(secret), URL_SAFE_NO_PAD.encode(secret)]
}

/// What must not be found: the same, but for base64's last character, which holds a few bits at most.
fn shapes(secret: &str) -> [String; 5] {
    let [raw, escaped, form, mut standard, mut url_safe] = quotations(secret);
    standard.pop();
    url_safe.pop();
    [raw, escaped, form, standard, url_safe]
}

struct Heard(Vec<String>);

impl Judge for Heard {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        self.0.extend(scene.outputs.iter().map(|output| format!("{output:?}")));
        self.0.push(format!("{:?} {:?}", scene.done, scene.after.core));
        Ok(())
    }
}

/// Plants three secrets and prints everything there is.
///
/// # Errors
/// Something the test itself needs did not work.
pub fn print_everything(rng: &mut Rng) -> Result<Printed, String> {
    let secrets = vec![secret(rng), secret(rng), secret(rng)];
    let [token, api_secret, refresh] = [&secrets[0], &secrets[1], &secrets[2]].map(|text| Secret::new(text.clone()));
    let token = AccessToken::new(token.expose());
    let mut printed = Printed { secrets: secrets.clone(), texts: Vec::new() };

    printed.both(&api_secret);
    printed.debug(&token);
    let kite = Kite::new(App::Approved, "the-api-key", Some(api_secret.clone()));
    printed.debug(&kite);
    printed.debug(&kite.exchange(&refresh));
    printed.debug(&kite.renew(&refresh));
    printed.debug(&kite.invalidate(&token));
    printed.debug(&kite.probe());
    printed.debug(&kite.connect(&token));
    printed.debug(&kite.authorization(&token));
    let form = Form::new().with_secret("access_token", token.secret()).with("x", refresh.expose());
    let body = Body::Json(refresh.clone());
    let request = HttpRequest::new(Endpoint::Session, Method::Post, "/session/token");
    printed.debug(&HttpRequest { query: form.clone(), body: Body::Form(form), ..request.clone() });
    printed.debug(&HttpRequest { body, ..request });
    let answer = secrets.concat().into_bytes();
    printed.debug(&HttpResponse { status: 403, body: answer, ..HttpResponse::default() });
    let session = Session {
        user_id: "AB1234".to_owned(),
        access_token: token.clone(),
        refresh_token: Some(refresh.clone()),
        login_time: None,
        expires_at: None,
    };
    printed.debug(&session);
    printed.debug(&Change {
        access_token: Some(token.clone()),
        refresh_token: Some(refresh.clone()),
        expires_at: None,
    });
    let stored =
        Stored { access_token: Some(token.clone()), refresh_token: Some(refresh.clone()), ..Stored::default() };
    printed.debug(&stored);
    let live = LiveToken::new(token.clone(), &kite.authorization(&token)).map_err(|error| error.to_string())?;
    printed.debug(&live.authorization());
    let snapshot = Snapshot { token: Some(Arc::new(live)), ..Snapshot::starting() };
    printed.debug(&TokenCell::new(snapshot));
    sessions(&token, &mut printed);

    let redactor = Redactor::new(secrets.iter().cloned().map(Secret::new));
    printed.debug(&redactor);
    for secret in &secrets {
        for shape in quotations(secret) {
            let words = redactor.clean(&format!("could not reach https://broker/?t={shape}&x=1 ({shape})"));
            printed.both(&Failure::new(Cause::Unknown, Endpoint::Place, words));
        }
    }
    Ok(printed)
}

/// What the machine and the core say about a token.
fn sessions(token: &AccessToken, printed: &mut Printed) {
    let mut world = CoreWorld::new(Dice::ZERO);
    let mut machine = Machine::new(world.core.session().policy().clone());
    let candidate = Candidate {
        fingerprint: token.fingerprint(),
        source: Source::Store,
        issued_at: None,
        expires_at: None,
        refresh: Some(nirantar_brokers::Fingerprint(7)),
        refresh_dies: None,
    };
    let verdict = Verdict::Accepted { user_id: "AB1234".to_owned() };
    let events = [Event::Candidate(candidate), Event::Started, Event::Probed { probe: 1, verdict }];
    for event in events {
        let mut effects: Vec<Effect> = Vec::new();
        machine.on(&event, world.now, &mut effects);
        printed.debug(&event);
        effects.iter().for_each(|effect| printed.both(effect));
        printed.both(&machine);
    }
    world.tell(nirantar::core::Input::Candidate(candidate));
    let mut heard = Heard(Vec::new());
    for made in PRELUDE {
        // This judge finds nothing wrong with anything.
        let _ = world.step(made, &mut heard);
    }
    printed.texts.append(&mut heard.0);
}
