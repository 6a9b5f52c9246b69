//! Trading days, as far as the machine needs them: on which days somebody trades, and so needs a token.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{Datelike as _, NaiveDate, Weekday};

/// Which days are trading days: Monday to Friday, but for the exceptions. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TradingDays {
    /// Days of the week that are none. `None`: every day counts as a trading day.
    weekends: bool,
    holidays: Arc<BTreeSet<NaiveDate>>,
    specials: Arc<BTreeSet<NaiveDate>>,
}

impl TradingDays {
    /// Every day: where no calendar is known.
    #[must_use]
    pub fn every_day() -> Self {
        Self::default()
    }

    /// Monday to Friday but for `holidays`, and `specials` (a Muhurat Sunday) as well.
    #[must_use]
    pub fn new(holidays: impl IntoIterator<Item = NaiveDate>, specials: impl IntoIterator<Item = NaiveDate>) -> Self {
        Self {
            weekends: true,
            holidays: Arc::new(holidays.into_iter().collect()),
            specials: Arc::new(specials.into_iter().collect()),
        }
    }

    /// Whether that day is an exchange holiday. A weekend is none.
    #[must_use]
    pub fn is_holiday(&self, date: NaiveDate) -> bool {
        self.holidays.contains(&date) && !self.specials.contains(&date)
    }

    /// Whether somebody can trade on that day.
    #[must_use]
    pub fn contains(&self, date: NaiveDate) -> bool {
        let weekend = self.weekends && matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
        self.specials.contains(&date) || !(weekend || self.is_holiday(date))
    }
}
