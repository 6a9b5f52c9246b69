//! The market that `exchange` plays: recordings where there are any, a seeded walk for everything else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Exchange, Instrument, InstrumentKey, Price};
use nirantar_exchange_mock::prices::{Merge, Replay, Walk};
use nirantar_exchange_mock::{Calendar, PriceEvent, PriceSource, universe};

use super::CliError;

/// How far back the last trading day may lie: no market closes for that long.
const DAYS_BACK: usize = 30;

/// A recording and what it is of: `FILE=SYMBOL`, or `FILE` alone for all that a recording of a feed names. The file's name
/// may hold `=`, the symbol never does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplayArg {
    /// A CSV file with the columns `timestamp,ltp,volume`, or what `nirantar record` has written.
    pub(super) file: PathBuf,
    /// `RELIANCE`, `NIFTY 50` or `BSE:SENSEX`; NSE where no exchange is named. `None`: all there are.
    pub(super) symbol: Option<String>,
}

impl FromStr for ReplayArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if Replay::is_recording(Path::new(text)) {
            return Ok(Self { file: PathBuf::from(text), symbol: None });
        }
        match text.rsplit_once('=').map(|(file, symbol)| (file, symbol.trim())) {
            Some((file, symbol)) if !file.is_empty() && !symbol.is_empty() => {
                Ok(Self { file: PathBuf::from(file), symbol: Some(symbol.to_owned()) })
            }
            _ => Err("expected FILE=SYMBOL, like reliance.csv=RELIANCE, or a FILE of nirantar record".to_owned()),
        }
    }
}

impl ReplayArg {
    /// The instrument it is of; `None` for all there are.
    pub(super) fn instrument(&self) -> Result<Option<InstrumentKey>, CliError> {
        let Some(symbol) = &self.symbol else { return Ok(None) };
        let known = universe::keys();
        let asked = match symbol.contains(':') {
            true => symbol.parse().ok(),
            false => Some(InstrumentKey::new(Exchange::Nse, symbol.clone())),
        };
        let asked = asked.filter(|key| known.contains(key)).ok_or_else(|| CliError::UnknownSymbol {
            file: self.file.clone(),
            symbol: symbol.chars().take(40).collect(),
            known: known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })?;
        Ok(Some(asked))
    }

    fn load(&self) -> Result<Replay, CliError> {
        Ok(match self.instrument()? {
            Some(instrument) => Replay::load(&self.file, instrument)?,
            None => Replay::load_recording(&self.file, &universe::keys())?,
        })
    }
}

/// A day's prices, and what they are made of.
pub(super) struct Market {
    /// The prices, one stream in order of time.
    pub(super) prices: Box<dyn PriceSource + Send>,
    /// The trading day.
    pub(super) date: NaiveDate,
    /// What is replayed, with its first and last moment. The rest is a walk.
    pub(super) replayed: Vec<(InstrumentKey, Timestamp, Timestamp)>,
}

impl std::fmt::Debug for Market {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Market").field("date", &self.date).field("replayed", &self.replayed).finish_non_exhaustive()
    }
}

impl Market {
    /// Reads every recording whole, and lets a walk of that seed move every other instrument of the universe through the
    /// sessions of `calendar`. Without a recording the day is `day`. Blocking: call it at the start.
    ///
    /// # Errors
    /// A recording that cannot be replayed, an unknown or repeated instrument, recordings of different days.
    pub(super) fn load(
        replays: &[ReplayArg],
        seed: u64,
        day: NaiveDate,
        calendar: &Calendar,
    ) -> Result<Self, CliError> {
        let mut sources: Vec<Box<dyn PriceSource + Send>> = Vec::with_capacity(replays.len() + 1);
        let mut replayed: Vec<(InstrumentKey, Timestamp, Timestamp)> = Vec::with_capacity(replays.len());
        let mut files: BTreeMap<InstrumentKey, PathBuf> = BTreeMap::new();
        let mut date = None;
        for argument in replays {
            let replay = argument.load()?;
            let twice = replay.instruments().iter().find_map(|one| files.get(one).map(|first| (one, first)));
            if let Some((instrument, first)) = twice {
                let (instrument, first) = (instrument.clone(), first.clone());
                return Err(CliError::ReplayedTwice { instrument, first, second: argument.file.clone() });
            }
            let second = replay.date();
            match date {
                Some(first) if first != second => {
                    return Err(CliError::DifferentDays { file: argument.file.clone(), second, first });
                }
                _ => date = Some(second),
            }
            if let Some((first, last)) = replay.span() {
                replayed.extend(replay.instruments().iter().map(|one| (one.clone(), first, last)));
            }
            files.extend(replay.instruments().iter().map(|one| (one.clone(), argument.file.clone())));
            sources.push(Box::new(replay));
        }
        let date = date.unwrap_or(day);
        let mut others = universe::with_start_prices(date);
        others.retain(|(instrument, _)| !replayed.iter().any(|(key, ..)| *key == instrument.key));
        let walk = Walk::new(seed, &others, calendar, date);
        sources.push(Box::new(walk.clone()));
        let prices: Box<dyn PriceSource + Send> = match Merge::new(sources) {
            Some(merged) => Box::new(merged),
            None => Box::new(walk),
        };
        Ok(Self { prices, date, replayed })
    }

    /// Ten o'clock, IST, of its day: the opening is over, most of the day is to come.
    #[must_use]
    pub(super) fn ten_o_clock(&self) -> Timestamp {
        Timestamp::from_ist_parts(self.date, NaiveTime::from_hms_opt(10, 0, 0).unwrap_or_default())
    }
}

/// A made-up market of some instruments that goes on day after day.
#[derive(Debug)]
pub(super) struct DailyWalk {
    instruments: Vec<(Instrument, Price)>,
    calendar: Calendar,
    today: Walk,
}

impl DailyWalk {
    /// From that day on. Only the built-in universe knows ticks and lots; of anything else there is no price.
    pub(super) fn new(instruments: &[InstrumentKey], calendar: Calendar, date: NaiveDate) -> Self {
        let mut known = universe::with_start_prices(date);
        known.retain(|(instrument, _)| instruments.contains(&instrument.key));
        let mut this = Self { today: Walk::new(1, &known, &calendar, date), instruments: known, calendar };
        this.skip_days_off();
        this
    }

    /// Nothing is left of this day, or nothing trades on it: the next one that has prices.
    fn skip_days_off(&mut self) {
        for date in self.today.date().iter_days().skip(1).take(DAYS_BACK) {
            if self.today.peek().is_some() {
                return;
            }
            self.today = Walk::new(1, &self.instruments, &self.calendar, date);
        }
    }
}

impl PriceSource for DailyWalk {
    fn peek(&self) -> Option<Timestamp> {
        self.today.peek()
    }

    fn next(&mut self) -> Option<PriceEvent> {
        let event = self.today.next();
        self.skip_days_off();
        event
    }

    fn date(&self) -> NaiveDate {
        self.today.date()
    }
}

/// The last day up to `today` on which shares trade; `today` itself if there was none for a month.
#[must_use]
pub(super) fn last_trading_day(today: NaiveDate, calendar: &Calendar) -> NaiveDate {
    let mut back = std::iter::successors(Some(today), chrono::NaiveDate::pred_opt).take(DAYS_BACK);
    back.find(|day| calendar.is_trading_day(*day)).unwrap_or(today)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write as _;

    use super::*;

    fn recording(rows: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().prefix("a=b").suffix(".csv").tempfile().unwrap();
        write!(file, "timestamp,ltp,volume\n{rows}").unwrap();
        file
    }

    fn argument(file: &tempfile::NamedTempFile, symbol: &str) -> ReplayArg {
        format!("{}={symbol}", file.path().display()).parse().unwrap()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_file_name_may_hold_an_equals_sign_and_a_symbol_a_space() {
        let read: ReplayArg = "runs/seed=7/day.csv=NIFTY 50".parse().unwrap();
        assert_eq!((read.file, read.symbol), (PathBuf::from("runs/seed=7/day.csv"), Some("NIFTY 50".to_owned())));
        for text in ["", "=", "day.csv", "day.csv=", "=RELIANCE", "day.csv= "] {
            assert!(text.parse::<ReplayArg>().unwrap_err().contains("FILE=SYMBOL"), "{text}");
        }
    }

    #[test]
    fn a_symbol_is_of_nse_unless_it_says_otherwise() {
        let named = |symbol: &str| ReplayArg { file: PathBuf::new(), symbol: Some(symbol.to_owned()) }.instrument();
        assert_eq!(named("RELIANCE").unwrap(), named("NSE:RELIANCE").unwrap());
        assert_eq!(named("BSE:SENSEX").unwrap().unwrap().to_string(), "BSE:SENSEX");
        for unknown in ["SENSEX", "NYSE:IBM", "BSE:RELIANCE", "reliance"] {
            let error = named(unknown).unwrap_err().to_string();
            assert!(error.contains(unknown) && error.contains("NSE:NIFTY 50"), "{error}");
        }
    }

    #[test]
    fn every_instrument_has_prices_and_a_replayed_one_only_its_own() {
        let file = recording("2021-04-12 09:30:00,1950.00,10\n2021-04-12 09:30:01,1951.05,20\n");
        let mut market = Market::load(&[argument(&file, "RELIANCE")], 7, day("2026-11-20"), &Calendar::nse()).unwrap();
        assert_eq!(market.date, day("2021-04-12"));
        assert_eq!(market.ten_o_clock().to_string(), "2021-04-12 10:00:00");
        let reliance = InstrumentKey::new(Exchange::Nse, "RELIANCE");
        let (mut seen, mut own) = (BTreeSet::new(), Vec::new());
        while market.prices.peek().is_some_and(|at| at < market.ten_o_clock()) {
            let price = market.prices.next().unwrap();
            if price.instrument == reliance {
                own.push(price.ltp.to_string());
            }
            seen.insert(price.instrument);
        }
        assert_eq!(own.len(), 2);
        assert_eq!(seen.len(), universe::instruments(market.date).len());
    }

    #[test]
    fn recordings_that_are_no_market_are_refused() {
        let one = recording("2021-04-12 09:30:00,1950.00,10\n");
        let other = recording("2021-04-13 09:30:00,1950.00,10\n");
        let load = |replays: &[ReplayArg]| Market::load(replays, 1, day("2026-11-20"), &Calendar::nse()).unwrap_err();
        let days = load(&[argument(&one, "RELIANCE"), argument(&other, "TCS")]);
        assert!(matches!(days, CliError::DifferentDays { .. }), "{days}");
        let twice = load(&[argument(&one, "RELIANCE"), argument(&one, "NSE:RELIANCE")]);
        assert!(twice.to_string().contains("NSE:RELIANCE is replayed twice"), "{twice}");
        let bad = recording("2021-04-12 09:30:00,1950.00,10\n2021-04-12 09:30:01,much,10\n");
        let row = load(&[argument(&bad, "TCS")]).to_string();
        assert!(row.contains("line 3") && row.contains("ltp"), "{row}");
    }

    #[test]
    fn the_last_trading_day_skips_weekends_and_holidays() {
        let last = |today| last_trading_day(day(today), &Calendar::nse());
        assert_eq!(last("2026-11-20"), day("2026-11-20"));
        assert_eq!(last("2026-11-22"), day("2026-11-20"));
        assert_eq!(last("2026-11-24"), day("2026-11-23"));
    }
}
