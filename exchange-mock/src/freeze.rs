//! The largest quantity of one order in futures and options, where the broker's list of instruments does not say it.
//!
//! Exchanges publish it by underlying and issue it anew every month, so it is data: rows with the day from which they hold
//! and where they come from. A newer table can be put in its place; of what no row tells there is no bound here, and the
//! exchange itself refuses.

use chrono::NaiveDate;
use nirantar_brokers::{Exchange, Quantity};

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeRow {
    /// First day.
    pub valid_from: NaiveDate,
    /// Where its futures and options trade.
    pub exchange: Exchange,
    /// The underlying, as the broker's list names it: `NIFTY`.
    pub underlying: String,
    /// Most units of one order.
    pub most: Quantity,
    /// Who says so.
    pub source: String,
}

/// The freeze quantities known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreezeTable {
    rows: Vec<FreezeRow>,
}

/// Indices of NSE from 2026-08-03. Earlier values are not known to us.
const NSE_INDICES: [(&str, u64); 5] =
    [("NIFTY", 1_800), ("BANKNIFTY", 600), ("FINNIFTY", 1_800), ("MIDCPNIFTY", 2_800), ("NIFTYNXT50", 600)];

impl FreezeTable {
    /// What NSE has published for its indices (NSE/FAOP/75521).
    #[must_use]
    pub fn nse() -> Self {
        let Some(valid_from) = NaiveDate::from_ymd_opt(2026, 8, 3) else { return Self::default() };
        let row = |(underlying, most): (&str, u64)| FreezeRow {
            valid_from,
            exchange: Exchange::Nfo,
            underlying: underlying.to_owned(),
            most: Quantity::new(most),
            source: "NSE/FAOP/75521".to_owned(),
        };
        Self { rows: NSE_INDICES.into_iter().map(row).collect() }
    }

    /// The same table with one row more.
    #[must_use]
    pub fn with(mut self, row: FreezeRow) -> Self {
        self.rows.push(row);
        self
    }

    /// Most units of one order in that underlying on that day. `None`: no row tells.
    #[must_use]
    pub fn most(&self, exchange: Exchange, underlying: &str, date: NaiveDate) -> Option<Quantity> {
        let told =
            |row: &&FreezeRow| row.exchange == exchange && row.underlying == underlying && row.valid_from <= date;
        self.rows.iter().filter(told).max_by_key(|row| row.valid_from).map(|row| row.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn the_row_in_force_on_that_day_counts_and_before_the_first_nothing_is_known() {
        let later = FreezeRow {
            valid_from: day("2026-12-01"),
            exchange: Exchange::Nfo,
            underlying: "NIFTY".to_owned(),
            most: Quantity::new(1_755),
            source: "a test".to_owned(),
        };
        let table = FreezeTable::nse().with(later);
        let most = |underlying, date| table.most(Exchange::Nfo, underlying, day(date)).map(Quantity::get);
        assert_eq!(most("NIFTY", "2026-08-02"), None);
        assert_eq!(most("NIFTY", "2026-08-03"), Some(1_800));
        assert_eq!(most("NIFTY", "2026-11-30"), Some(1_800));
        assert_eq!(most("NIFTY", "2026-12-01"), Some(1_755));
        assert_eq!(most("BANKNIFTY", "2026-12-01"), Some(600));
        assert_eq!(most("RELIANCE", "2026-12-01"), None);
        assert_eq!(table.most(Exchange::Bfo, "NIFTY", day("2026-12-01")), None);
    }
}
