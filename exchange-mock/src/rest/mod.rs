//! What every server that speaks REST only is made of: a listener, the clock, the `Date` header, and control.
//!
//! * [`RestCore`] is the broker as a value, without sockets or a clock: requests in with the time, replies out.
//! * [`RestServer`] puts one on a socket, under any clock; a [`Handle`] reaches the core of a running server.
//! * [`answer`] is all a server does with a request, as a function: a test or a simulator calls it without a socket.
//!
//! Promises: a stepped clock stands still while a request is dealt with; every response carries a `Date` of the given
//! clock, never the machine's; `/nirantar/*` is answered to this machine only; nothing here prints a value of a request
//! or a body.

mod server;
mod stream;

use std::fmt;
use std::time::Duration;

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Form, Method, Secret};
use serde_json::{Value, json};

pub use server::{Handle, RestServer};
pub(crate) use server::{authorization, date, is_local, method, send, serve};

/// A broker's server as a value. Its answers depend on nothing but what it was given.
pub trait RestCore: fmt::Debug + Send + 'static {
    /// Answers a request outside `/nirantar/*`. Total: any request.
    fn answer(&mut self, request: &Request, now: Timestamp) -> Reply;

    /// `POST /nirantar/control`: throws switches, and says what is in force now.
    ///
    /// # Errors
    /// Words that say which field is bad and what is expected. Nothing has been done then.
    fn command(&mut self, fields: &Form, now: Timestamp) -> Result<Value, String>;

    /// `GET /nirantar/log`. Holds no token.
    fn log(&self) -> Value;
}

/// A request as it reached the server. `Debug` shows no value that could be a secret.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Path without query, as sent.
    pub path: String,
    /// Query.
    pub query: Form,
    /// Body as it came, whatever its content type says. What is not UTF-8 is replaced.
    pub body: Secret,
    /// The `Authorization` header.
    pub authorization: Option<Secret>,
    /// Whether it came from this very machine: only such may use `/nirantar/*`.
    pub local: bool,
}

impl Request {
    /// A request from this machine without query, body or authorization.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let (query, body) = (Form::new(), Secret::new(""));
        Self { method, path: path.into(), query, body, authorization: None, local: true }
    }

    /// The body as a form. Total.
    #[must_use]
    pub fn form(&self) -> Form {
        Form::parse(self.body.expose().as_bytes())
    }

    /// The body as JSON, where it is that.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(self.body.expose()).ok()
    }
}

/// How a reply travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Transport {
    /// At once.
    #[default]
    Normal,
    /// Never: the connection stays open and silent.
    Hang,
    /// Never: the connection is dropped.
    Cut,
    /// Never: the connection is reset (RST).
    Reset,
    /// After that much *real* time: a client on a stepped clock holds the clock still while it waits.
    Delay(Duration),
}

/// An answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Exact `Content-Type`.
    pub content_type: &'static str,
    /// Headers beyond the content's type and length and the date.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// How it travels.
    pub transport: Transport,
}

impl fmt::Debug for Reply {
    /// Without headers and body, which may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {}, {} bytes, {:?})", self.status, self.content_type, self.body.len(), self.transport)
    }
}

impl Reply {
    /// Any reply.
    #[must_use]
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into(), transport: Transport::Normal }
    }

    /// That JSON.
    #[must_use]
    pub fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    /// A page for a human.
    #[must_use]
    pub fn html(status: u16, page: String) -> Self {
        Self::new(status, "text/html; charset=utf-8", page)
    }

    /// 302 to that address.
    #[must_use]
    pub fn redirect(location: String) -> Self {
        Self::new(302, "text/html", Vec::new()).with_header("Location", location)
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The value of a header beyond the usual ones.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The same on another way.
    #[must_use]
    pub const fn by(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }
}

/// Text made harmless inside HTML, attributes in double quotes included.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// All a server does with a request: control and log for this machine, everything else is the broker's.
pub fn answer(core: &mut impl RestCore, request: &Request, now: Timestamp) -> Reply {
    if !request.path.starts_with("/nirantar/") {
        return core.answer(request, now);
    }
    let error = |status, words: &str| Reply::json(status, &json!({ "error": words }));
    if !request.local {
        return error(403, "Control is for this machine only.");
    }
    match (request.method, request.path.as_str()) {
        (Method::Get, "/nirantar/log") => Reply::json(200, &core.log()),
        (Method::Post, "/nirantar/control") => match core.command(&request.form(), now) {
            Ok(in_force) => Reply::json(200, &in_force),
            Err(words) => error(400, &words),
        },
        (_, "/nirantar/log" | "/nirantar/control") => error(405, "Method not allowed"),
        _ => error(404, "Route not found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts requests and echoes bodies; `/cut` counts, and cuts.
    #[derive(Debug, Default)]
    pub(super) struct Counting(pub(super) usize);

    impl RestCore for Counting {
        fn answer(&mut self, request: &Request, _now: Timestamp) -> Reply {
            self.0 += 1;
            let transport = if request.path == "/cut" { Transport::Cut } else { Transport::Normal };
            Reply::new(200, "text/plain", request.body.expose()).by(transport)
        }

        fn command(&mut self, fields: &Form, _now: Timestamp) -> Result<Value, String> {
            if fields.get("add").is_some() { Ok(json!({ "added": true })) } else { Err("expected `add`".to_owned()) }
        }

        fn log(&self) -> Value {
            json!({ "requests": self.0 })
        }
    }

    #[test]
    fn control_is_for_this_machine_and_names_what_it_expects() {
        let mut core = Counting::default();
        let mut ask = |method, path: &str, body: &str, local| {
            let request = Request { body: Secret::new(body), local, ..Request::new(method, path) };
            answer(&mut core, &request, Timestamp::default())
        };
        assert_eq!(ask(Method::Post, "/nirantar/control", "add=1", true).status, 200);
        let bad = ask(Method::Post, "/nirantar/control", "ad=1", true);
        assert!(bad.status == 400 && String::from_utf8_lossy(&bad.body).contains("expected `add`"));
        assert_eq!(ask(Method::Get, "/nirantar/control", "", true).status, 405);
        assert_eq!(ask(Method::Get, "/nirantar/other", "", true).status, 404);
        assert_eq!(ask(Method::Get, "/nirantar/log", "", false).status, 403);
        assert_eq!(core.0, 0, "none of these reached the broker's routes");
    }
}
