//! The calendar's file while something runs by it: holidays are announced days ahead, and an engine runs for weeks.
//!
//! The file is looked at once a minute. One that makes no sense, or is gone, changes nothing and is said aloud once; it
//! is read again as soon as it changes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now};
use nirantar_exchange_mock::Calendar;
use nirantar_exchange_mock::calendar::CalendarError;

/// How often it is looked at, by the clock of whoever looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What is said when it has changed.
pub(crate) const CHANGED: &str = "the calendar has changed: its new sessions and holidays hold from now on";

/// What is said when it makes no sense any more.
pub(crate) fn left_as_it_was(error: &CalendarError) -> String {
    format!("the calendar was left as it was: {error}")
}

/// A calendar's file and what it said last.
#[derive(Debug)]
pub(crate) struct Timetables {
    path: PathBuf,
    /// `None`: it could not be read.
    known: Option<Vec<u8>>,
    looked: Option<Monotonic>,
}

impl Timetables {
    /// Reads it for the first time.
    ///
    /// # Errors
    /// It cannot be read, or makes no sense: no engine starts with a calendar that is not what its user meant.
    pub(crate) fn load(path: PathBuf) -> Result<(Self, Calendar), CalendarError> {
        let bytes = fs::read(&path).map_err(|why| CalendarError::Unreadable { file: path.clone(), why })?;
        let calendar = Calendar::parse(&path, &bytes)?;
        Ok((Self { path, known: Some(bytes), looked: None }, calendar))
    }

    /// When it is to be looked at again.
    pub(crate) fn next_look(&self) -> Monotonic {
        self.looked.map_or(Monotonic::default(), |looked| looked + LOOK_EVERY)
    }

    /// What it says, if that has changed.
    pub(crate) fn changed(&mut self, now: Now) -> Option<Result<Calendar, CalendarError>> {
        if now.mono < self.next_look() {
            return None;
        }
        self.looked = Some(now.mono);
        match fs::read(&self.path) {
            Ok(bytes) if self.known.as_ref() == Some(&bytes) => None,
            Ok(bytes) => {
                let calendar = Calendar::parse(&self.path, &bytes);
                self.known = Some(bytes);
                Some(calendar)
            }
            // Somebody may be writing it; told once.
            Err(why) => self.known.take().map(|_| Err(CalendarError::Unreadable { file: self.path.clone(), why })),
        }
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::time::Timestamp;

    use super::*;

    fn now(second: u64) -> Now {
        let start = Now { mono: Monotonic::default(), wall: Timestamp::from_unix_seconds(1_795_000_000) };
        start + Duration::from_secs(second)
    }

    #[test]
    fn a_changed_file_is_taken_up_within_a_minute_and_a_bad_one_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calendar.csv");
        fs::write(&path, "built-in\n").unwrap();
        let (mut file, first) = Timetables::load(path.clone()).unwrap();
        assert_eq!(first, Calendar::nse());
        assert!(file.changed(now(0)).is_none());
        fs::write(&path, "built-in\nholiday,*,*,2026-11-20,,,,,,C,late\n").unwrap();
        assert!(file.changed(now(59)).is_none(), "not looked at yet");
        let late = file.changed(now(60)).unwrap().unwrap();
        assert_eq!(late.holiday("2026-11-20".parse().unwrap()), Some("late"));
        assert!(file.changed(now(120)).is_none());
        fs::write(&path, "built-in\nholiday,*,*,soon,,,,,,C,late\n").unwrap();
        let error = file.changed(now(180)).unwrap().unwrap_err().to_string();
        assert!(error.contains("calendar.csv, line 2, from: `soon`"), "{error}");
        assert!(file.changed(now(240)).is_none());
        fs::remove_file(&path).unwrap();
        assert!(file.changed(now(300)).unwrap().is_err());
        assert!(file.changed(now(360)).is_none());
        fs::write(&path, "built-in\n").unwrap();
        assert!(file.changed(now(420)).unwrap().is_ok());
    }

    #[test]
    fn a_file_that_makes_no_sense_starts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calendar.csv");
        assert!(Timetables::load(path.clone()).is_err());
        fs::write(&path, "closed\n").unwrap();
        assert!(Timetables::load(path).is_err());
    }
}
