//! Prices, sums of money and quantities: integers, never floats.
//!
//! The unit is a ten-thousandth of a rupee: exact for paise (equities, two decimals) and for currency derivatives (four
//! decimals, USDINR ticks by 0.0025).

use std::fmt;
use std::ops::{Add, Neg, Sub};
use std::str::FromStr;

/// Units in a rupee, for [`Price`] and [`Money`] alike.
const SCALE: i64 = 10_000;

/// A price: ten-thousandths of a rupee. May be negative (spreads), and a difference of two prices is a price.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Price(i64);

/// A text or number that is no price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a price: expected rupees with at most four decimals, like 1957.05")]
pub struct BadPrice {
    text: String,
}

impl Price {
    /// No rupees. Wire protocols also use it for "not set".
    pub const ZERO: Self = Self(0);

    /// A price of that many ten-thousandths of a rupee.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self(units)
    }

    /// A price of that many paise, saturating.
    #[must_use]
    pub const fn from_paise(paise: i64) -> Self {
        Self(paise.saturating_mul(SCALE / 100))
    }

    /// Ten-thousandths of a rupee.
    #[must_use]
    pub const fn units(self) -> i64 {
        self.0
    }

    /// Rounds a JSON number to the nearest unit (half away from zero). `None` for NaN, infinities and anything beyond
    /// ±90 thousand million rupees, where a double no longer holds every unit.
    #[must_use]
    pub fn from_f64(rupees: f64) -> Option<Self> {
        const LIMIT: f64 = 9.0e10;
        if !(-LIMIT..=LIMIT).contains(&rupees) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "within ±9e14, checked above")]
        Some(Self((rupees * SCALE as f64).round() as i64))
    }

    /// The nearest double, for a wire format that speaks JSON numbers.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / SCALE as f64
    }

    /// Whether it is a whole multiple of `tick`; false if `tick` is not positive.
    #[must_use]
    pub const fn is_multiple_of(self, tick: Self) -> bool {
        tick.0 > 0 && self.0 % tick.0 == 0
    }

    /// The nearest multiple of `tick` that is not above this price. The price itself if `tick` is not positive.
    #[must_use]
    pub const fn floor_to(self, tick: Self) -> Self {
        if tick.0 > 0 { Self(self.0 - self.0.rem_euclid(tick.0)) } else { self }
    }

    /// The nearest multiple of `tick` that is not below this price. The price itself if `tick` is not positive.
    #[must_use]
    pub const fn ceil_to(self, tick: Self) -> Self {
        let floor = self.floor_to(tick);
        if floor.0 == self.0 { self } else { Self(floor.0.saturating_add(tick.0)) }
    }

    /// This price times a number of units bought or sold; `None` on overflow.
    #[must_use]
    pub fn times(self, quantity: Quantity) -> Option<Money> {
        i64::try_from(quantity.get()).ok().and_then(|q| self.0.checked_mul(q)).map(Money)
    }

    /// `basis_points` hundredths of a percent of this price, rounded towards zero; saturating.
    #[must_use]
    pub fn basis_points(self, basis_points: i64) -> Self {
        if let Some(product) = self.0.checked_mul(basis_points) {
            return Self(product / 10_000);
        }
        let wide = i128::from(self.0) * i128::from(basis_points) / 10_000;
        Self(i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX }))
    }
}

/// A sum of money: ten-thousandths of a rupee, signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(i64);

impl Money {
    /// No rupees.
    pub const ZERO: Self = Self(0);

    /// A sum of that many ten-thousandths of a rupee.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self(units)
    }

    /// A sum of whole rupees, saturating.
    #[must_use]
    pub const fn from_rupees(rupees: i64) -> Self {
        Self(rupees.saturating_mul(SCALE))
    }

    /// Ten-thousandths of a rupee.
    #[must_use]
    pub const fn units(self) -> i64 {
        self.0
    }

    /// The nearest double, for a wire format that speaks JSON numbers.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / SCALE as f64
    }

    /// Rounds a JSON number to the nearest unit, as [`Price::from_f64`].
    #[must_use]
    pub fn from_f64(rupees: f64) -> Option<Self> {
        Price::from_f64(rupees).map(|price| Self(price.0))
    }

    /// The average price of `quantity` units worth this sum, rounded half away from zero. Zero for no units.
    #[must_use]
    pub fn per_unit(self, quantity: Quantity) -> Price {
        let units = i128::from(quantity.get());
        if units == 0 {
            return Price::ZERO;
        }
        let (sum, half) = (i128::from(self.0), units / 2);
        let rounded = (if sum < 0 { sum - half } else { sum + half }) / units;
        Price(i64::try_from(rounded).unwrap_or(i64::MAX))
    }
}

/// A number of shares, lots or contracts: never negative. A direction is a [`Side`](crate::Side), a signed holding is
/// [`Position::quantity`](crate::Position).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(u64);

impl Quantity {
    /// None.
    pub const ZERO: Self = Self(0);

    /// That many.
    #[must_use]
    pub const fn new(quantity: u64) -> Self {
        Self(quantity)
    }

    /// How many.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// What is left after taking `taken` away; none if there are fewer.
    #[must_use]
    pub const fn less(self, taken: Self) -> Self {
        Self(self.0.saturating_sub(taken.0))
    }

    /// As a signed number, saturating.
    #[must_use]
    pub fn signed(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl Add for Quantity {
    type Output = Self;
    /// Saturates.
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The end of the number range beyond which a sum lies whose first part is `part`. Never needed with real sums, so they
/// pay for one jump that is not taken, and not for working this out.
#[cold]
const fn end(part: i64) -> i64 {
    if part < 0 { i64::MIN } else { i64::MAX }
}

macro_rules! rupees {
    ($($name:ident),*) => {$(
        impl Add for $name {
            type Output = Self;
            /// Saturates.
            fn add(self, other: Self) -> Self {
                Self(self.0.checked_add(other.0).unwrap_or_else(|| end(self.0)))
            }
        }

        impl Sub for $name {
            type Output = Self;
            /// Saturates.
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Neg for $name {
            type Output = Self;
            /// Saturates.
            fn neg(self) -> Self {
                Self(self.0.saturating_neg())
            }
        }

        impl fmt::Display for $name {
            /// Rupees with two decimals, or four where the last two are not zero: `1957.05`, `72.7550`.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let sign = if self.0 < 0 { "-" } else { "" };
                let (rupees, part) = (self.0.unsigned_abs() / 10_000, self.0.unsigned_abs() % 10_000);
                if part % 100 == 0 {
                    write!(f, "{sign}{rupees}.{:02}", part / 100)
                } else {
                    write!(f, "{sign}{rupees}.{part:04}")
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadPrice;

            /// Reads rupees: an optional sign, digits, and at most four decimals. More decimals are accepted only if
            /// they are zeros: nothing is rounded silently.
            fn from_str(text: &str) -> Result<Self, BadPrice> {
                parse_units(text).map(Self).ok_or_else(|| BadPrice { text: text.chars().take(40).collect() })
            }
        }
    )*};
}

rupees!(Price, Money);

fn parse_units(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(part) || (digits.contains('.') && part.is_empty()) {
        return None;
    }
    let (kept, beyond) = part.split_at(part.len().min(4));
    if beyond.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let fraction = format!("{kept:0<4}").parse::<i128>().ok()?;
    // Wider than the result: the lowest value has no positive twin.
    let units = whole.parse::<i128>().ok()?.checked_mul(i128::from(SCALE))?.checked_add(fraction)?;
    i64::try_from(if negative { -units } else { units }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paise_and_currency_decimals_are_exact() {
        assert_eq!("1957.05".parse::<Price>().unwrap(), Price::from_paise(195_705));
        assert_eq!("72.7550".parse::<Price>().unwrap().units(), 727_550);
        assert_eq!(Price::from_f64(72.755).unwrap().to_string(), "72.7550");
        assert_eq!(Price::from_f64(1957.1).unwrap().to_string(), "1957.10");
        assert_eq!("-0.05".parse::<Money>().unwrap().to_string(), "-0.05");
    }

    #[test]
    fn what_is_no_price_is_refused_and_never_rounded() {
        for bad in ["", "-", ".", "1.", ".5", "1e3", "12.00001", "NaN", "1,957.05", " 1", "99999999999999999999"] {
            assert!(bad.parse::<Price>().is_err(), "{bad}");
        }
        assert_eq!(Price::from_f64(f64::NAN), None);
        assert_eq!(Price::from_f64(f64::INFINITY), None);
        assert_eq!(Price::from_f64(1e300), None);
    }

    #[test]
    fn a_price_snaps_to_its_tick_in_the_direction_asked() {
        let (price, tick) = (Price::from_paise(195_707), Price::from_paise(10));
        assert!(!price.is_multiple_of(tick));
        assert_eq!(price.floor_to(tick), Price::from_paise(195_700));
        assert_eq!(price.ceil_to(tick), Price::from_paise(195_710));
        assert_eq!(price.ceil_to(Price::ZERO), price);
    }

    proptest! {
        #[test]
        fn printing_and_reading_is_the_identity(units in prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX)]) {
            let price = Price::from_units(units);
            prop_assert_eq!(price.to_string().parse::<Price>().unwrap(), price);
        }

        #[test]
        fn a_json_number_comes_back_exactly(units in -900_000_000_000i64..900_000_000_000) {
            prop_assert_eq!(Price::from_f64(Price::from_units(units).to_f64()), Some(Price::from_units(units)));
        }
    }
}
