//! Text frames of the ticker, written and read: what a client asks for, and what the server tells.

use serde::Deserialize;
use serde_json::{Value, json};

use super::rest::Order;
use super::words;
use crate::{BrokerToken, Mode};

/// What a client asks of the ticker. There is no acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientText {
    /// Send ticks of these instruments, in a mode that nobody documents: always say the mode behind it.
    Subscribe(Vec<BrokerToken>),
    /// Send ticks of these no more.
    Unsubscribe(Vec<BrokerToken>),
    /// Send these in that mode. Only for what is subscribed to already.
    Mode(Mode, Vec<BrokerToken>),
}

/// What the server tells beside ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerText {
    /// An order of the user changed.
    Order(Box<Order>),
    /// A complaint.
    Error(String),
    /// Words for the user.
    Message(String),
    /// Something else, by its type; Kite is free to add such.
    Other(String),
}

/// A text frame that is none of the known ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// It is no JSON object with a type or an action.
    #[error("a text frame that is no message")]
    Shape,
    /// An order in it cannot be read.
    #[error("an order update that cannot be read")]
    Order,
    /// The client asked for something unknown.
    #[error("an unknown request")]
    Action,
    /// The tokens in it cannot be read.
    #[error("a request whose instrument tokens cannot be read")]
    Tokens,
    /// The mode in it is unknown.
    #[error("a request for an unknown mode")]
    Mode,
}

impl ClientText {
    /// `{"a":"subscribe","v":[408065]}`
    #[must_use]
    pub fn encode(&self) -> String {
        let numbers = |tokens: &[BrokerToken]| tokens.iter().map(|token| token.0).collect::<Vec<_>>();
        match self {
            Self::Subscribe(tokens) => json!({"a": "subscribe", "v": numbers(tokens)}),
            Self::Unsubscribe(tokens) => json!({"a": "unsubscribe", "v": numbers(tokens)}),
            Self::Mode(mode, tokens) => json!({"a": "mode", "v": [mode.as_str(), numbers(tokens)]}),
        }
        .to_string()
    }

    /// Reads a client's frame.
    ///
    /// # Errors
    /// [`BadText`] if it asks for nothing known; the socket stays usable.
    pub fn decode(text: &str) -> Result<Self, BadText> {
        #[derive(Deserialize)]
        struct Frame {
            a: String,
            #[serde(default)]
            v: Value,
        }
        let Frame { a: action, v: value } = serde_json::from_str(text).map_err(|_| BadText::Shape)?;
        match action.as_str() {
            "subscribe" => Ok(Self::Subscribe(tokens(value)?)),
            "unsubscribe" => Ok(Self::Unsubscribe(tokens(value)?)),
            "mode" => {
                let (mode, list): (String, Value) = serde_json::from_value(value).map_err(|_| BadText::Mode)?;
                Ok(Self::Mode(words::parse_mode(&mode).ok_or(BadText::Mode)?, tokens(list)?))
            }
            _ => Err(BadText::Action),
        }
    }
}

impl ServerText {
    /// `{"type":"message","data":"…"}`
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Order(order) => json!({"type": "order", "data": order}),
            Self::Error(words) => json!({"type": "error", "data": words}),
            Self::Message(words) => json!({"type": "message", "data": words}),
            Self::Other(kind) => json!({"type": kind, "data": null}),
        }
        .to_string()
    }

    /// Reads a server's frame.
    ///
    /// # Errors
    /// [`BadText`] if it is no message, or holds an order that cannot be read.
    pub fn decode(text: &str) -> Result<Self, BadText> {
        #[derive(Deserialize)]
        struct Frame {
            #[serde(rename = "type")]
            kind: String,
            #[serde(default)]
            data: Value,
        }
        let Frame { kind, data } = serde_json::from_str(text).map_err(|_| BadText::Shape)?;
        match kind.as_str() {
            "order" => Ok(Self::Order(Box::new(serde_json::from_value(data).map_err(|_| BadText::Order)?))),
            "error" => Ok(Self::Error(plain(data))),
            "message" => Ok(Self::Message(plain(data))),
            _ => Ok(Self::Other(kind)),
        }
    }
}

fn tokens(list: Value) -> Result<Vec<BrokerToken>, BadText> {
    let numbers: Vec<u32> = serde_json::from_value(list).map_err(|_| BadText::Tokens)?;
    Ok(numbers.into_iter().map(BrokerToken).collect())
}

/// Words, also where the server wraps them in something else.
fn plain(data: Value) -> String {
    match data {
        Value::String(words) => words,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_look_as_the_official_sdks_send_them() {
        let tokens = vec![BrokerToken(408_065), BrokerToken(884_737)];
        assert_eq!(ClientText::Subscribe(tokens.clone()).encode(), r#"{"a":"subscribe","v":[408065,884737]}"#);
        assert_eq!(ClientText::Unsubscribe(tokens.clone()).encode(), r#"{"a":"unsubscribe","v":[408065,884737]}"#);
        assert_eq!(ClientText::Mode(Mode::Full, tokens).encode(), r#"{"a":"mode","v":["full",[408065,884737]]}"#);
    }

    #[test]
    fn a_request_that_makes_no_sense_is_refused() {
        for (text, why) in [
            ("", BadText::Shape),
            ("[]", BadText::Shape),
            (r#"{"a":"dance"}"#, BadText::Action),
            (r#"{"a":"subscribe"}"#, BadText::Tokens),
            (r#"{"a":"subscribe","v":[-1]}"#, BadText::Tokens),
            (r#"{"a":"mode","v":["loud",[1]]}"#, BadText::Mode),
            (r#"{"a":"mode","v":["ltp"]}"#, BadText::Mode),
        ] {
            assert_eq!(ClientText::decode(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_new_kind_of_message_is_no_error() {
        let read = ServerText::decode(r#"{"type":"instruments_meta","data":{"count":1}}"#);
        assert_eq!(read, Ok(ServerText::Other("instruments_meta".to_owned())));
        assert_eq!(ServerText::decode(r#"{"type":"order","data":{}}"#), Err(BadText::Order));
    }

    proptest! {
        #[test]
        fn requests_come_back_as_they_were_sent(numbers in prop::collection::vec(any::<u32>(), 0..9), kind in 0..5) {
            let tokens: Vec<_> = numbers.into_iter().map(BrokerToken).collect();
            let request = match kind {
                0 => ClientText::Subscribe(tokens),
                1 => ClientText::Unsubscribe(tokens),
                2 => ClientText::Mode(Mode::Ltp, tokens),
                3 => ClientText::Mode(Mode::Quote, tokens),
                _ => ClientText::Mode(Mode::Full, tokens),
            };
            prop_assert_eq!(ClientText::decode(&request.encode()), Ok(request));
        }

        #[test]
        fn words_come_back_as_they_were_sent(words in ".{0,40}", error in any::<bool>()) {
            let text = if error { ServerText::Error(words) } else { ServerText::Message(words) };
            prop_assert_eq!(ServerText::decode(&text.encode()), Ok(text));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,80}") {
            let _ = ClientText::decode(&text);
            let _ = ServerText::decode(&text);
        }
    }
}
