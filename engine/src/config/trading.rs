//! The keys of an account that say what becomes of its orders: where they are written, what halts them, what they may risk.
//!
//! Promises: money and percentages are read as they are written, digit by digit, and nothing is rounded; a bound is above
//! zero, so that a misplaced zero never looks like "no bound"; two files of ours are never one.

use std::path::{Path, PathBuf};

use nirantar_brokers::{Mode, Money, Quantity};
use nirantar_exchange_mock::Latencies;
use nirantar_exchange_mock::matching::FillsFrom;

use super::account::{Account, Declared, choice};
use super::broker::BrokerName;
use super::credentials::Outside;
use super::duration::{EXPECTED_LATENCY, parse_latency};
use super::error::{ConfigError, Problem};
use super::table::{At, Table};
use crate::orders::{RiskLimits, SettlePaper};

/// What an account keeps of its own beside its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderFiles {
    /// The account's name.
    pub account: String,
    /// Its broker.
    pub broker: BrokerName,
    /// Where its orders are written.
    pub journal: PathBuf,
    /// What halts its trading while it is there.
    pub halt_file: PathBuf,
}

impl OrderFiles {
    pub(super) fn of(account: Account) -> Self {
        Self { account: account.name, broker: account.broker, journal: account.journal, halt_file: account.halt_file }
    }
}

/// Every key of `[account.risk]`.
pub(super) const RISK_KEYS: [&str; 6] =
    ["order_value", "order_quantity", "price_band", "open_orders", "position", "daily_loss"];

const EXPECTED_RUPEES: &str = "rupees above zero with at most four decimals, like 500000 or 2_500.50";
const EXPECTED_BAND: &str = "a percentage above 0 and at most 100 with at most two decimals, like \"5%\" or 2.5";
const EXPECTED_UNITS: &str = "a whole number of units above zero, like 1000";
const EXPECTED_ORDERS: &str = "a whole number of orders above zero, like 20";

/// Depth comes with full ticks only.
pub(super) fn paper_fills(table: &Table<'_, '_>, mode: Mode) -> Result<FillsFrom, ConfigError> {
    const EXPECTED: &str = "\"last-price\", or with mode = \"full\" \"depth\"";
    let read = table.parsed("paper_fills", EXPECTED, |text| match text {
        "last-price" => Some(FillsFrom::LastPrice),
        "depth" if mode == Mode::Full => Some(FillsFrom::Depth),
        _ => None,
    })?;
    Ok(read.unwrap_or_default())
}

/// How far away the paper exchange is. At once, where nothing is said.
pub(super) fn paper_latency(table: &Table<'_, '_>) -> Result<Latencies, ConfigError> {
    let line = |key| table.parsed(key, EXPECTED_LATENCY, parse_latency).map(Option::unwrap_or_default);
    Ok(Latencies { order_entry: line("paper_order_latency")?, market_data: line("paper_data_latency")? })
}

/// What becomes of paper when live trading goes on.
pub(super) fn settle_paper(table: &Table<'_, '_>) -> Result<SettlePaper, ConfigError> {
    let choices = [("flatten", SettlePaper::Flatten), ("keep", SettlePaper::Keep)];
    Ok(choice(table, "settle_paper", &choices)?.unwrap_or_default())
}

/// A file of the account's own: as the key says, or `nirantar-<account>.<ending>` beside the configuration.
pub(super) fn file(
    table: &Table<'_, '_>,
    key: &str,
    account: &str,
    ending: &str,
    folder: &Path,
) -> Result<PathBuf, ConfigError> {
    let usual = format!("nirantar-{account}.{ending}");
    let given = table.parsed(key, &format!("the path of a file, like \"{usual}\""), |text| {
        // The name of a folder would fail in the first minute of trading instead of here.
        let good = !text.trim().is_empty() && !text.contains('\0') && !text.ends_with('/');
        (good && Path::new(text).file_name().is_some()).then(|| folder.join(text))
    })?;
    Ok(given.unwrap_or_else(|| folder.join(usual)))
}

/// A calendar of the user's own. What is in it is read when the engine starts.
pub(super) fn calendar(table: &Table<'_, '_>, folder: &Path) -> Result<Option<PathBuf>, ConfigError> {
    table.parsed("calendar", "the path of a calendar file, like \"holidays.csv\"", |text| {
        let good = !text.trim().is_empty() && !text.contains('\0') && !text.ends_with('/');
        (good && Path::new(text).file_name().is_some()).then(|| folder.join(text))
    })
}

/// `[account.risk]`.
pub(super) fn risk(account: &Table<'_, '_>) -> Result<RiskLimits, ConfigError> {
    const SECRETS: &str = "credentials stand in the account's store or in the environment, never here";
    let table = account.table_headed("risk", "account.risk", &RISK_KEYS, SECRETS)?;
    let Some(table) = table else { return Ok(RiskLimits::default()) };
    Ok(RiskLimits {
        order_value: rupees(&table, "order_value")?,
        order_quantity: count(&table, "order_quantity", EXPECTED_UNITS)?.map(Quantity::new),
        price_band: price_band(&table)?,
        open_orders: count(&table, "open_orders", EXPECTED_ORDERS)?,
        position: count(&table, "position", EXPECTED_UNITS)?.map(Quantity::new),
        daily_loss: rupees(&table, "daily_loss")?,
    })
}

fn rupees(table: &Table<'_, '_>, key: &str) -> Result<Option<Money>, ConfigError> {
    number(table, key, EXPECTED_RUPEES, |text| text.parse().ok().filter(|money: &Money| *money > Money::ZERO))
}

fn count<T: std::str::FromStr + PartialOrd + Default>(
    table: &Table<'_, '_>,
    key: &str,
    expected: &str,
) -> Result<Option<T>, ConfigError> {
    number(table, key, expected, |text| text.parse().ok().filter(|count| *count > T::default()))
}

/// In hundredths of a percent.
fn price_band(table: &Table<'_, '_>) -> Result<Option<u32>, ConfigError> {
    if table.is_text("price_band") {
        return table.parsed("price_band", EXPECTED_BAND, |text| hundredths(text.strip_suffix('%')?.trim_end()));
    }
    number(table, "price_band", EXPECTED_BAND, hundredths)
}

fn number<T>(
    table: &Table<'_, '_>,
    key: &str,
    expected: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ConfigError> {
    let Some(At { offset, value }) = table.number(key, expected)? else { return Ok(None) };
    read(&value).map(Some).ok_or_else(|| table.invalid(key, &At { offset, value: value.as_str() }, expected))
}

/// `2.5` as 250. The text is a percentage of the last price.
fn hundredths(percent: &str) -> Option<u32> {
    // The same digits as money has: ten-thousandths, of which two decimals are left here.
    let units = percent.parse::<Money>().ok()?.units();
    let hundredths = u32::try_from(units / 100).ok().filter(|_| units % 100 == 0)?;
    (1..=10_000).contains(&hundredths).then_some(hundredths)
}

/// Refuses journals and halts that are one file with anything else the configuration names: each would destroy the other.
pub(super) fn refuse_shared_files(
    configuration: &Path,
    accounts: &[Declared],
    outside: &dyn Outside,
) -> Result<(), ConfigError> {
    let mut taken = vec![(outside.real_path(configuration), "this configuration".to_owned())];
    let owner = |what: &str, account: &Declared| {
        format!("{what} of the account {} at line {}", account.account.name, account.line)
    };
    for declared in accounts {
        for place in &declared.account.stores {
            taken.push((outside.real_path(place.path()), owner("a store", declared)));
        }
    }
    for declared in accounts {
        let account = &declared.account;
        let files = [("journal", &account.journal, "the journal"), ("halt_file", &account.halt_file, "the halt file")];
        for (key, path, what) in files {
            let real = outside.real_path(path);
            if let Some((_, owner)) = taken.iter().find(|(other, _)| *other == real) {
                let problem = Problem::FileTaken { file: path.clone(), owner: owner.clone() };
                let (file, key) = (configuration.to_owned(), Some(key.to_owned()));
                return Err(ConfigError { file, line: Some(declared.line), key, problem });
            }
            taken.push((real, owner(what, declared)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_percentage_is_read_digit_by_digit() {
        for (text, expected) in [("5", Some(500)), ("0.01", Some(1)), ("2.5", Some(250)), ("100", Some(10_000))] {
            assert_eq!(hundredths(text), expected, "{text}");
        }
        for text in ["0", "-1", "100.01", "0.005", "1e1", "nan", "inf", "", "5 %", "99999999999999999999"] {
            assert_eq!(hundredths(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_a_percentage_without_a_panic(text in ".*") {
            let _ = hundredths(&text);
        }

        #[test]
        fn hundredths_of_a_percent_come_back(hundredths_ in 1u32..=10_000) {
            let text = format!("{}.{:02}", hundredths_ / 100, hundredths_ % 100);
            prop_assert_eq!(hundredths(&text), Some(hundredths_));
        }
    }
}
