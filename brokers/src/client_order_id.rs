//! The engine's own order number, which travels as the broker's tag.
//!
//! No broker here takes an idempotency key; the tag is the only way to find an order again after a lost reply. So every
//! order carries one, unique for ever, and short and plain enough for every broker's rule (Kite: 20 letters and digits).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// What a broker allows in an order's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagRule {
    /// Longest tag, in characters.
    pub max_len: usize,
    /// Whether only ASCII letters and digits are allowed.
    pub alphanumeric: bool,
}

impl TagRule {
    /// Whether `id` may be sent under this rule.
    #[must_use]
    pub fn allows(self, id: &ClientOrderId) -> bool {
        id.as_str().len() <= self.max_len
    }
}

/// An order number of ours: 1 to 20 ASCII letters and digits. It is copied, compared and looked up more often than anything
/// else of an order, so it holds its characters itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientOrderId {
    /// The characters; after them zeros, which come before all of them, so that ids sort as their texts do.
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

/// A text that cannot be a [`ClientOrderId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a client order id: expected 1 to 20 letters and digits")]
pub struct BadClientOrderId(String);

impl ClientOrderId {
    /// Longest id: the shortest tag any broker here allows.
    pub const MAX_LEN: usize = 20;

    /// The id of the `sequence`-th order of an engine run: `N`, then ten base-36 digits of the run and nine of the
    /// sequence. Ids of one run sort in the order they were made.
    #[must_use]
    pub fn numbered(run: u64, sequence: u64) -> Self {
        let mut bytes = [b'N'; Self::MAX_LEN];
        let (of_run, of_sequence) = bytes[1..].split_at_mut(10);
        base36(run, of_run);
        base36(sequence, of_sequence);
        Self { bytes, len: Self::MAX_LEN as u8 }
    }

    /// As it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes);
        // Letters and digits, as it was made.
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// The characters as two numbers that compare as they do.
    fn words(&self) -> (u32, u128) {
        let [a, b, c, d, rest @ ..] = self.bytes;
        (u32::from_be_bytes([a, b, c, d]), u128::from_be_bytes(rest))
    }
}

impl Hash for ClientOrderId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.words().hash(state);
    }
}

impl Ord for ClientOrderId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.words().cmp(&other.words())
    }
}

impl PartialOrd for ClientOrderId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The lowest base-36 digits of `number`, as many as there is room for.
fn base36(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        let value = (number % 36) as u8;
        *digit = if value < 10 { b'0' + value } else { b'A' + value - 10 };
        number /= 36;
    }
}

impl FromStr for ClientOrderId {
    type Err = BadClientOrderId;

    fn from_str(text: &str) -> Result<Self, BadClientOrderId> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let mut bytes = [0; Self::MAX_LEN];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(room), Ok(len)) if plain && len > 0 => {
                room.copy_from_slice(text.as_bytes());
                Ok(Self { bytes, len })
            }
            _ => Err(BadClientOrderId(text.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for ClientOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ClientOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_that_a_broker_would_refuse_cannot_be_made() {
        for bad in ["", "has space", "dash-ed", "twentyonecharacters21", "क"] {
            assert!(bad.parse::<ClientOrderId>().is_err(), "{bad}");
        }
        assert_eq!("A1".parse::<ClientOrderId>().unwrap().as_str(), "A1");
    }

    proptest! {
        #[test]
        fn ids_are_read_as_they_are_written_and_sort_as_their_texts(
            one in "[0-9A-Za-z]{1,20}",
            other in "[0-9A-Za-z]{1,20}",
        ) {
            let (a, b): (ClientOrderId, ClientOrderId) = (one.parse().unwrap(), other.parse().unwrap());
            prop_assert_eq!((a.as_str(), b.to_string()), (&*one, other.clone()));
            prop_assert_eq!((a.cmp(&b), a == b), (one.cmp(&other), one == other));
        }

        #[test]
        fn numbered_ids_are_valid_and_sort_in_order(run in any::<u64>(), sequence in 0u64..1_000_000_000) {
            let id = ClientOrderId::numbered(run, sequence);
            prop_assert_eq!(id.as_str().parse::<ClientOrderId>(), Ok(id.clone()));
            prop_assert!(id < ClientOrderId::numbered(run, sequence + 1));
        }
    }
}
