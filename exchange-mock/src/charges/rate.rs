//! A rate, what it makes of a sum, and the one place where sums are rounded.

use nirantar_brokers::Money;

/// Parts of a sum that [`Rate::part`] counts in: 100,000,000,000, so that a ten-thousandth of a rupee in a crore is one.
const WHOLE: i128 = 100_000_000_000;
/// Rupees in a crore.
const CRORE: i64 = 10_000_000;

/// What is taken: a part of a sum, or rupees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// So many of [`WHOLE`]. At most all of it.
    Part(i64),
    /// So much.
    Flat(Money),
}

impl Rate {
    pub(super) const NIL: Self = Self::Part(0);

    /// Reads `0.1%`, `297/cr`, `20` or `0`. `None` for anything else, negative rates and more than all among them.
    pub(super) fn read(text: &str) -> Option<Self> {
        let part = if let Some(percent) = text.strip_suffix('%') {
            decimal(percent, 9)?
        } else if let Some(rupees) = text.strip_suffix("/cr") {
            decimal(rupees, 4)?
        } else {
            let flat = Money::from_units(decimal(text, 4)?);
            return Some(if flat == Money::ZERO { Self::NIL } else { Self::Flat(flat) });
        };
        (i128::from(part) <= WHOLE).then_some(Self::Part(part))
    }

    /// What it makes of a sum that is not negative, at most `cap`, rounded to `step`.
    pub(super) fn of(self, sum: Money, cap: Option<Money>, step: Step) -> Money {
        let exact = match self {
            Self::Part(part) => i128::from(sum.units().max(0)) * i128::from(part),
            Self::Flat(flat) => i128::from(flat.units()) * WHOLE,
        };
        let most = cap.map_or(i128::MAX, |cap| i128::from(cap.units()) * WHOLE);
        step.round(exact.min(most))
    }
}

/// To what a sum is rounded, half up. Sums of charges are never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Step {
    /// A hundredth of a rupee.
    #[default]
    Paisa,
    /// A rupee.
    Rupee,
}

impl Step {
    /// Rounds a sum given in parts of a unit of money.
    fn round(self, exact: i128) -> Money {
        match self {
            Self::Paisa => nearest::<100>(exact),
            Self::Rupee => nearest::<10_000>(exact),
        }
    }
}

/// The nearest multiple of so many units.
fn nearest<const UNITS: u64>(exact: i128) -> Money {
    let step = i128::from(UNITS) * WHOLE;
    let raised = exact.saturating_add(step / 2);
    // Nearly every sum fits 64 bits, where a division by a constant is a multiplication.
    let steps = match (u64::try_from(raised), u64::try_from(step)) {
        (Ok(raised), Ok(step)) => i128::from(raised / step),
        _ => raised.div_euclid(step),
    };
    Money::from_units(i64::try_from(steps.saturating_mul(i128::from(UNITS))).unwrap_or(i64::MAX))
}

/// How the lines of a contract note are rounded: each once, over its column of the day (see [the module](super)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rounding {
    /// Securities transaction tax and stamp duty.
    pub duties: Step,
    /// Everything else.
    pub rest: Step,
}

impl Rounding {
    /// Securities transaction tax and stamp duty to the rupee, everything else to the paisa: what contract notes are said
    /// to do, unconfirmed.
    #[must_use]
    pub const fn to_the_rupee() -> Self {
        Self { duties: Step::Rupee, rest: Step::Paisa }
    }
}

/// A whole number of rupees with at most `places` decimals, in the last of these. Not negative.
fn decimal(text: &str, places: u32) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > places as usize {
        return None;
    }
    let scale = 10_i64.checked_pow(places)?;
    let width = u32::try_from(part.len()).ok()?;
    let part = part.parse::<i64>().ok()?.checked_mul(10_i64.checked_pow(places.checked_sub(width)?)?)?;
    whole.parse::<i64>().ok()?.checked_mul(scale)?.checked_add(part)
}

/// A crore is what the parts are made for.
const _: () = assert!(CRORE as i128 * 10_000 == WHOLE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_exactly_and_anything_else_is_none() {
        let crore = Money::from_rupees(CRORE);
        for (text, of_a_crore) in [
            ("0", "0.00"),
            ("0.1%", "10000.00"),
            ("0.0345%", "3450.00"),
            ("306.99/cr", "306.99"),
            ("3553/cr", "3553.00"),
            ("100%", "10000000.00"),
            ("15.34", "15.34"),
        ] {
            let made = Rate::read(text).unwrap().of(crore, None, Step::Paisa);
            assert_eq!(made.to_string(), of_a_crore, "{text}");
        }
        for bad in
            ["", "%", "-0.1%", "NaN", "NaN%", "inf", "1e3", "0.1 %", "100.1%", "10000001/cr", "-20", "+1", ".5", "1."]
        {
            assert_eq!(Rate::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn half_a_step_goes_up_and_less_goes_down() {
        let half = Rate::read("50%").unwrap();
        let of = |paise: i64, step| half.of(Money::from_units(paise * 100), None, step).to_string();
        assert_eq!(
            (of(1, Step::Paisa), of(3, Step::Paisa), of(2, Step::Paisa)),
            ("0.01".into(), "0.02".into(), "0.01".into())
        );
        assert_eq!((of(99, Step::Rupee), of(100, Step::Rupee)), ("0.00".into(), "1.00".into()));
        let cap = Some(Money::from_rupees(20));
        let brokerage = Rate::read("0.03%").unwrap();
        assert_eq!(brokerage.of(Money::from_rupees(66_666), cap, Step::Paisa).to_string(), "20.00");
        assert_eq!(brokerage.of(Money::from_rupees(66_600), cap, Step::Paisa).to_string(), "19.98");
        assert_eq!(Rate::Part(1).of(Money::from_units(i64::MAX), None, Step::Rupee).to_string(), "9223.00");
    }
}
