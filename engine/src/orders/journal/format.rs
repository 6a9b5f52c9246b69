//! How a record reads in the journal's file: a word, and JSON beside it.
//!
//! Prices are decimal texts, never floats; instruments, order numbers and words are those a trader sees elsewhere. The
//! names here are the format: a change of any of them is a new [`FORMAT`]. Promise: reading is total, any bytes give a
//! [`What`] or a [`BadRecord`]; and what was written reads back as the same value.

mod lines;

use nirantar_brokers::{BrokerOrderId, Quantity};
use serde::{Deserialize, Serialize};

use self::lines::{
    AnswerLine, Decimal, ExternalLine, HoldsLine, IntentLine, Key, NothingLine, RefusedLine, SendingLine, SettledLine,
    StateLine,
};
use super::{CommandKind, What};
use crate::session::Generation;

/// The number of the format that this version writes. It reads this one and none that is newer.
pub(super) const FORMAT: u32 = 1;

/// Text that is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(String);

impl What {
    /// The word it has in the journal: `intent`, `sending`, `state` and so on.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Intent(_) => "intent",
            Self::External { .. } => "external",
            Self::Sending { .. } => "sending",
            Self::NotSent => "not_sent",
            Self::RefusedForToken { .. } => "refused_for_token",
            Self::State { .. } => "state",
            Self::Answer(_) => "answer",
            Self::CancelWanted => "cancel_wanted",
            Self::Acknowledged => "acknowledged",
            Self::Holds { .. } => "holds",
            Self::Settled { .. } => "settled",
        }
    }

    /// All else there is to it, as a JSON object.
    ///
    /// # Errors
    /// [`BadRecord`]: it cannot be said in JSON. No value of today's is of that kind.
    pub fn to_json(&self) -> Result<String, BadRecord> {
        match self {
            Self::Intent(request) => json(&IntentLine { request: request.into() }),
            Self::External { request, broker_id } => {
                json(&ExternalLine { request: request.into(), broker_id: broker_id.to_string() })
            }
            Self::Sending { generation, command } => {
                json(&SendingLine { generation: generation.0, command: command.into() })
            }
            Self::RefusedForToken { generation } => json(&RefusedLine { generation: generation.0 }),
            Self::State { status, quantity, broker_id, filled, average_price, message } => json(&StateLine {
                status: (*status).into(),
                quantity: quantity.map(Quantity::get),
                broker_id: broker_id.as_ref().map(ToString::to_string),
                filled: filled.get(),
                average_price: Decimal(*average_price),
                message: message.clone(),
            }),
            Self::Answer(words) => json(&AnswerLine { words: words.clone() }),
            Self::NotSent | Self::CancelWanted | Self::Acknowledged => json(&NothingLine {}),
            Self::Holds { instrument, product, quantity } => json(&HoldsLine {
                instrument: Key(instrument.clone()),
                product: (*product).into(),
                quantity: *quantity,
            }),
            Self::Settled { instrument, product, price } => json(&SettledLine {
                instrument: Key(instrument.clone()),
                product: (*product).into(),
                price: Decimal(*price),
            }),
        }
    }

    /// Reads what [`word`](Self::word) and [`to_json`](Self::to_json) wrote. Total.
    ///
    /// # Errors
    /// [`BadRecord`]: this version has written no such thing.
    pub fn from_json(word: &str, json: &[u8]) -> Result<Self, BadRecord> {
        Ok(match word {
            "intent" => Self::Intent(read::<IntentLine>(word, json)?.request.into()),
            "external" => {
                let ExternalLine { request, broker_id } = read(word, json)?;
                Self::External { request: request.into(), broker_id: BrokerOrderId::new(broker_id) }
            }
            "sending" => {
                let SendingLine { generation, command } = read(word, json)?;
                Self::Sending { generation: Generation(generation), command: command.into() }
            }
            "not_sent" => read::<NothingLine>(word, json).map(|_| Self::NotSent)?,
            "refused_for_token" => {
                Self::RefusedForToken { generation: Generation(read::<RefusedLine>(word, json)?.generation) }
            }
            "state" => {
                let StateLine { status, quantity, broker_id, filled, average_price, message } = read(word, json)?;
                Self::State {
                    status: status.into(),
                    quantity: quantity.map(Quantity::new),
                    broker_id: broker_id.map(BrokerOrderId::new),
                    filled: Quantity::new(filled),
                    average_price: average_price.0,
                    message,
                }
            }
            "answer" => Self::Answer(read::<AnswerLine>(word, json)?.words),
            "cancel_wanted" => read::<NothingLine>(word, json).map(|_| Self::CancelWanted)?,
            "acknowledged" => read::<NothingLine>(word, json).map(|_| Self::Acknowledged)?,
            "holds" => {
                let HoldsLine { instrument, product, quantity } = read(word, json)?;
                Self::Holds { instrument: instrument.0, product: product.into(), quantity }
            }
            "settled" => {
                let SettledLine { instrument, product, price } = read(word, json)?;
                Self::Settled { instrument: instrument.0, product: product.into(), price: price.0 }
            }
            other => return Err(BadRecord(format!("`{}` is no kind of record", short(other)))),
        })
    }
}

/// What stands where it should not, cut to a length that can be shown.
pub(super) fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

fn json(line: &impl Serialize) -> Result<String, BadRecord> {
    serde_json::to_string(line).map_err(|error| BadRecord(error.to_string()))
}

fn read<'a, T: Deserialize<'a>>(word: &str, json: &'a [u8]) -> Result<T, BadRecord> {
    serde_json::from_slice(json).map_err(|error| BadRecord(format!("what is said of `{word}` makes no sense: {error}")))
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::{Exchange, InstrumentKey, OrderRequest, OrderType, Price, Side};
    use proptest::prelude::*;

    use super::*;
    use crate::orders::journal::tests_support::{any_what, every_kind};

    fn back(what: &What) -> Result<What, BadRecord> {
        What::from_json(what.word(), what.to_json().unwrap().as_bytes())
    }

    #[test]
    fn an_intent_reads_as_a_trader_would_say_it() {
        let limit = OrderType::Limit(Price::from_paise(195_005));
        let key = InstrumentKey::new(Exchange::Nse, "RELIANCE");
        let what = What::Intent(OrderRequest::new(key, Side::Buy, 5, limit));
        assert_eq!(what.word(), "intent");
        assert_eq!(
            what.to_json().unwrap(),
            "{\"request\":{\"instrument\":\"NSE:RELIANCE\",\"side\":\"buy\",\"quantity\":5,\
             \"order_type\":{\"limit\":{\"limit\":\"1950.05\"}},\"validity\":\"day\",\"product\":\"mis\",\
             \"intent\":\"open\",\"valid_for\":{\"secs\":5,\"nanos\":0}}}"
        );
    }

    #[test]
    fn every_kind_of_record_reads_back() {
        for what in every_kind() {
            assert_eq!(back(&what), Ok(what.clone()), "{}", what.word());
        }
    }

    #[test]
    fn what_no_version_of_ours_wrote_is_refused_in_words() {
        for (word, json) in [
            ("", "{}"),
            ("intents", "{}"),
            ("intent", ""),
            ("intent", "{}"),
            ("not_sent", "{\"extra\":1}"),
            ("not_sent", "[1]"),
            ("state", "{\"status\":\"done\",\"filled\":0,\"average_price\":\"0.00\"}"),
            (
                "state",
                "{\"status\":\"open\",\"broker_id\":null,\"filled\":-1,\"average_price\":\"0.00\",\"message\":null}",
            ),
            ("state", "{\"status\":\"open\",\"broker_id\":null,\"filled\":0,\"average_price\":0.5,\"message\":null}"),
            ("holds", "{\"instrument\":\"RELIANCE\",\"product\":\"mis\",\"quantity\":1}"),
            ("settled", "{\"instrument\":\"NFO:NIFTY26NOVFUT\",\"product\":\"nrml\",\"price\":100}"),
            ("answer", "{\"words\":\"\u{0}\"}"),
        ] {
            let error = What::from_json(word, json.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains("makes no sense") || error.contains("is no kind of record"),
                "{word} {json}: {error}"
            );
        }
        assert!(What::from_json("answer", b"{\"words\":\"\xff\"}").is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_written_reads_back_as_the_same(what in any_what()) {
            prop_assert_eq!(back(&what), Ok(what));
        }

        #[test]
        fn any_bytes_are_a_record_or_none(word in "[a-z_]{0,18}", json in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = What::from_json(&word, &json);
        }

        #[test]
        fn a_record_with_a_wrong_byte_is_read_or_refused_and_never_ends_in_a_panic(
            what in any_what(), at in any::<prop::sample::Index>(), byte: u8,
        ) {
            let mut json = what.to_json().unwrap().into_bytes();
            let at = at.index(json.len());
            json[at] = byte;
            if let Ok(read) = What::from_json(what.word(), &json) {
                prop_assert_eq!(back(&read), Ok(read));
            }
        }
    }
}
