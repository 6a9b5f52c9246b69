//! The engine's own order number, which travels as the broker's tag.
//!
//! No broker here takes an idempotency key; the tag is the only way to find an order again after a lost reply. So every
//! order carries one, unique for ever, and short and plain enough for every broker's rule (Kite: 20 letters and digits).

use std::fmt;
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

/// An order number of ours: 1 to 20 ASCII letters and digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientOrderId(String);

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
        Self(format!("N{}{}", base36(run, 10), base36(sequence, 9)))
    }

    /// As it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The lowest `width` base-36 digits of `number`.
fn base36(mut number: u64, width: usize) -> String {
    let mut digits = vec!['0'; width];
    for digit in digits.iter_mut().rev() {
        *digit = char::from_digit((number % 36) as u32, 36).unwrap_or('0');
        number /= 36;
    }
    digits.into_iter().collect::<String>().to_ascii_uppercase()
}

impl FromStr for ClientOrderId {
    type Err = BadClientOrderId;

    fn from_str(text: &str) -> Result<Self, BadClientOrderId> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if plain && (1..=Self::MAX_LEN).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadClientOrderId(text.chars().take(40).collect()))
        }
    }
}

impl fmt::Display for ClientOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ClientOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        fn numbered_ids_are_valid_and_sort_in_order(run in any::<u64>(), sequence in 0u64..1_000_000_000) {
            let id = ClientOrderId::numbered(run, sequence);
            prop_assert_eq!(id.as_str().parse::<ClientOrderId>(), Ok(id.clone()));
            prop_assert!(id < ClientOrderId::numbered(run, sequence + 1));
        }
    }
}
