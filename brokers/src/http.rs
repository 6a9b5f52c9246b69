//! HTTP as values: what a codec encodes and decodes. No socket, no client library.

use std::fmt;
use std::time::Duration;

use crate::{Endpoint, Secret};

/// HTTP methods that brokers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
}

impl Method {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// Fields of a query or a form body, in order, repeats allowed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.0.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds a field that holds a secret.
    #[must_use]
    pub fn with_secret(mut self, name: &str, value: &Secret) -> Self {
        self.0.push((name.to_owned(), value.expose().to_owned()));
        self
    }

    /// Adds a field if there is a value.
    #[must_use]
    pub fn with_some<T: fmt::Display>(self, name: &str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Reads `a=1&b=2`. Total: what is not valid UTF-8 is replaced, what has no `=` has an empty value.
    #[must_use]
    pub fn parse(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The first value of that field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Every value of that field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The names of the fields, in order, repeats included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `a=1&b=2`, percent-encoded.
    #[must_use]
    pub fn encode(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

impl fmt::Debug for Form {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Body {
    /// None.
    #[default]
    Empty,
    /// `application/x-www-form-urlencoded`.
    Form(Form),
    /// `application/json`.
    Json(Secret),
}

/// A request to send. `Debug` shows no value that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// What it is for.
    pub endpoint: Endpoint,
    /// Method.
    pub method: Method,
    /// Path below the broker's REST root, percent-encoded, starting with `/`.
    pub path: String,
    /// Query.
    pub query: Form,
    /// Headers beyond authorization, content type and length.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Body,
    /// Whether the `Authorization` header must be added by whoever sends it. An order's is added at the gate, from the
    /// same snapshot that let it pass.
    pub authorized: bool,
    /// An `Authorization` header of this request's own, in place of the living token's: a logout speaks for the token it
    /// ends. Whoever sends it marks the header as sensitive.
    pub own_authorization: Option<Secret>,
}

impl HttpRequest {
    /// A request without query, body or authorization.
    #[must_use]
    pub fn new(endpoint: Endpoint, method: Method, path: impl Into<String>) -> Self {
        Self {
            endpoint,
            method,
            path: path.into(),
            query: Form::new(),
            headers: Vec::new(),
            body: Body::Empty,
            authorized: false,
            own_authorization: None,
        }
    }
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// `Content-Type`, if any.
    pub content_type: Option<String>,
    /// `Retry-After` in seconds, if any.
    pub retry_after: Option<Duration>,
    /// Body, decompressed.
    pub body: Vec<u8>,
}

impl fmt::Debug for HttpResponse {
    /// Without the body, which may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpResponse({}, {} bytes)", self.status, self.body.len())
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// No connection: no byte of the request left.
    #[error("could not connect: {0}")]
    NotSent(String),
    /// Bytes may have left, and no whole answer came.
    #[error("no answer: {0}")]
    NoReply(String),
}

/// A WebSocket to open. The query usually holds the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketRequest {
    /// Path below the broker's feed root, starting with `/`.
    pub path: String,
    /// Query.
    pub query: Form,
    /// Headers beyond the handshake's own.
    pub headers: Vec<(&'static str, String)>,
}
