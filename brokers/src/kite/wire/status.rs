//! Kite's words for the state of an order (`kite.md` 2.6), read and written.

use crate::OrderStatus;

/// Every word Kite is known to use, with what it means to us.
pub const WORDS: [(&str, OrderStatus); 14] = [
    ("PUT ORDER REQ RECEIVED", OrderStatus::Accepted),
    ("VALIDATION PENDING", OrderStatus::Accepted),
    ("OPEN PENDING", OrderStatus::Accepted),
    ("AMO REQ RECEIVED", OrderStatus::Accepted),
    ("MODIFY VALIDATION PENDING", OrderStatus::Accepted),
    ("MODIFY PENDING", OrderStatus::Accepted),
    // In histories only, with OPEN or TRIGGER PENDING right behind it.
    ("MODIFIED", OrderStatus::Accepted),
    ("CANCEL PENDING", OrderStatus::Accepted),
    ("TRIGGER PENDING", OrderStatus::TriggerPending),
    ("OPEN", OrderStatus::Open),
    // Postbacks say so of an open order that was modified or partly filled.
    ("UPDATE", OrderStatus::Open),
    ("COMPLETE", OrderStatus::Filled),
    ("CANCELLED", OrderStatus::Cancelled),
    ("REJECTED", OrderStatus::Rejected),
];

/// What Kite's word means. A word nobody knows is [`Accepted`](OrderStatus::Accepted): registered, not finished; the
/// row keeps the word itself, so that it can be shown.
#[must_use]
pub fn read(word: &str) -> OrderStatus {
    WORDS.iter().find(|(known, _)| *known == word).map_or(OrderStatus::Accepted, |(_, status)| *status)
}

/// Kite's word for a state. `None` for states that only we have: no broker ever says them.
#[must_use]
pub const fn write(status: OrderStatus) -> Option<&'static str> {
    match status {
        OrderStatus::Accepted => Some("OPEN PENDING"),
        OrderStatus::TriggerPending => Some("TRIGGER PENDING"),
        OrderStatus::Open => Some("OPEN"),
        OrderStatus::Filled => Some("COMPLETE"),
        OrderStatus::Cancelled => Some("CANCELLED"),
        OrderStatus::Rejected => Some("REJECTED"),
        OrderStatus::Journalled
        | OrderStatus::Sent
        | OrderStatus::Unknown
        | OrderStatus::Refused
        | OrderStatus::NotPlaced
        | OrderStatus::Unresolved => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_written_reads_back() {
        for status in OrderStatus::ALL {
            if let Some(word) = write(status) {
                assert_eq!(read(word), status, "{word}");
            }
        }
    }

    #[test]
    fn a_word_nobody_knows_is_never_the_end_of_an_order() {
        for word in ["", "open", "COMPLETED", "HELD BY RMS"] {
            assert_eq!(read(word), OrderStatus::Accepted, "{word}");
        }
    }

    #[test]
    fn only_three_words_end_an_order() {
        let finals: Vec<_> = WORDS.iter().filter(|(_, status)| status.is_final()).map(|(word, _)| *word).collect();
        assert_eq!(finals, ["COMPLETE", "CANCELLED", "REJECTED"]);
    }
}
