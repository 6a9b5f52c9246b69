//! The calendar's file while the engine runs.

use super::task::Task;
use crate::core::Event;
use crate::timetables::{CHANGED, left_as_it_was};

impl Task {
    /// Takes up what the calendar's file says, if that has changed.
    pub(super) fn look_at_timetables(&mut self) {
        let now = self.clock.now();
        match self.timetables.as_mut().and_then(|file| file.changed(now)) {
            None => {}
            Some(Ok(calendar)) => {
                tracing::warn!("{CHANGED}");
                self.paper.with(|exchange| exchange.set_calendar(calendar.clone()));
                let mut outputs = Vec::new();
                self.core.set_calendar(calendar, now, &mut outputs);
                self.perform(outputs);
            }
            Some(Err(error)) => {
                self.announce(Event::Alarm { at: now.wall, words: left_as_it_was(&error) });
            }
        }
    }
}
