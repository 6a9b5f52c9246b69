//! The spans in which ticks may have been missed: one at a time, never overlapping, whatever the wall clock does.

use nirantar_brokers::time::{Now, Timestamp};

use super::super::event::{Gap, GapReason, Output};

/// The gap that is open, and where the last one ended.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Gaps {
    open: Option<Gap>,
    /// When the last gap ended: the next one cannot begin before.
    last_end: Option<Timestamp>,
}

impl Gaps {
    pub(super) const fn open(&self) -> Option<Gap> {
        self.open
    }

    /// Opens one, unless one is open.
    pub(super) fn begin(&mut self, why: GapReason, from: Timestamp, now: Now, out: &mut Vec<Output>) {
        if self.open.is_some() {
            return;
        }
        let from = self.last_end.map_or(from.min(now.wall), |end| from.min(now.wall).max(end));
        let gap = Gap { from, to: None, why };
        self.open = Some(gap);
        out.push(Output::Gap(gap));
    }

    /// Ends the open one, if any.
    pub(super) fn end(&mut self, now: Now, out: &mut Vec<Output>) {
        if let Some(gap) = self.open.take() {
            let to = now.wall.max(gap.from);
            self.last_end = Some(to);
            out.push(Output::Gap(Gap { to: Some(to), ..gap }));
        }
    }
}
