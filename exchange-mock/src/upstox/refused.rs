//! Refusals in the broker's words and in both spellings (`upstox.md` 3).

use nirantar_brokers::upstox::wire::{self, ApiError};

use crate::rest::Reply;

/// A refusal. Where the sheet does not know the status, it is 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(status: u16, code: &str, message: &str) -> Self {
        Self { status, code: code.to_owned(), message: message.to_owned() }
    }

    /// 400 with that code.
    pub(super) fn input(code: &str, message: &str) -> Self {
        Self::new(400, code, message)
    }

    /// The token is missing, dead or was never alive.
    pub(super) fn dead_token() -> Self {
        Self::new(401, "UDAPI100050", "Invalid token used to access API")
    }

    /// A token of the read-only kind. The status is a guess.
    pub(super) fn read_only_token() -> Self {
        Self::new(403, "UDAPI100067", "The API you are trying to access is not permitted with an extended_token.")
    }

    /// A used, wrong or late code, or a dead refresh token.
    pub(super) fn bad_code() -> Self {
        Self::input("UDAPI100057", "Invalid Auth code")
    }

    pub(super) fn bad_client() -> Self {
        Self::input("UDAPI100069", "Check your 'client_id' and 'client_secret'; one or both are incorrect.")
    }

    pub(super) fn bad_redirect() -> Self {
        Self::input("UDAPI100068", "Check your 'client_id' and 'redirect_uri'; one or both are incorrect.")
    }

    /// No such path, as the gateway says it.
    pub(super) fn no_route() -> Self {
        Self::new(404, "UDAPI100060", "Resource not Found.")
    }
}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        let Refused { status, code, message } = refused;
        Self::new(status, wire::JSON, wire::refusal(&ApiError { code, message }))
    }
}
