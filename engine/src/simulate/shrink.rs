//! The shrinker: from a run that breaks a rule to the few faults that it takes.
//!
//! The seed stays, and with it prices, delays and orders; what is left out are days after the failure and faults, in
//! halves, then quarters, then one by one (*ddmin*), for as long as the same rule is broken. The result is 1-minimal: with
//! any one fault less, that rule holds.

use super::faults::{Fault, FaultPlan};
use super::report::Report;

/// Runs that a shrinking takes at most.
const MOST_RUNS: usize = 400;

/// Shrinks `found`, which broke a rule, by running `again` with fewer faults. `again` gets the days and the faults.
pub(super) fn shrink(found: Report, again: impl Fn(u32, FaultPlan) -> Report) -> Report {
    let Some(failure) = &found.failure else { return found };
    let rule = failure.violation.rule;
    let mut runs = 0;
    let mut breaks = |days: u32, faults: Vec<Fault>| {
        runs += 1;
        if runs > MOST_RUNS {
            return None;
        }
        let report = again(days, FaultPlan::These(faults));
        let same = report.failure.as_ref().is_some_and(|failure| failure.violation.rule == rule);
        same.then_some(report)
    };
    let mut best = found.clone();
    let until: Vec<Fault> = found.faults.iter().filter(|fault| fault.day <= failure.day).copied().collect();
    if let Some(report) = breaks(failure.day, until) {
        best = report;
    }
    let mut size = best.faults.len().div_ceil(2).max(1);
    loop {
        let mut dropped = false;
        let mut from = 0;
        while from < best.faults.len() {
            let fewer: Vec<Fault> = best
                .faults
                .iter()
                .enumerate()
                .filter(|(at, _)| !(from..from + size).contains(at))
                .map(|(_, f)| *f)
                .collect();
            match breaks(best.days, fewer) {
                Some(report) => {
                    best = report;
                    dropped = true;
                }
                None => from += size,
            }
        }
        if size == 1 && !dropped {
            break;
        }
        size = if size > 1 { size / 2 } else { 1 };
    }
    // The days after the failure may be fewer now.
    let day = best.failure.as_ref().map_or(best.days, |failure| failure.day);
    if day < best.days
        && let Some(report) = breaks(day, best.faults.clone())
    {
        best = report;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::super::checkers::Violation;
    use super::super::report::{Counts, Failure};
    use super::super::story::Log;
    use super::*;

    /// A run that breaks rule 6 if both of these faults are there, on the day of the later.
    fn run(days: u32, plan: FaultPlan) -> Report {
        let faults = plan.faults(0, days);
        let needed = |name: &str| faults.iter().find(|fault| fault.kind.name() == name).copied();
        let failure = match (needed("socket-cut"), needed("process-dies")) {
            (Some(one), Some(two)) if one.day.max(two.day) <= days => Some(Failure {
                violation: Violation { rule: 6, words: "again".to_owned() },
                at: nirantar_brokers::time::Timestamp::default(),
                day: one.day.max(two.day),
            }),
            _ => None,
        };
        Report {
            seed: 0,
            days,
            faults,
            counts: Counts::default(),
            failure,
            log: Log::default(),
            options: String::new(),
        }
    }

    #[test]
    fn of_many_faults_those_are_left_that_it_takes() {
        let mut plan: Vec<Fault> = FaultPlan::BySeed.faults(11, 40);
        plan.retain(|fault| !["socket-cut", "process-dies"].contains(&fault.kind.name()));
        assert!(plan.len() > 50);
        plan.push("process-dies@7/10:00".parse().unwrap());
        plan.push("socket-cut@3/10:00".parse().unwrap());
        plan.sort_unstable();
        let found = run(40, FaultPlan::These(plan));
        let small = shrink(found, run);
        assert_eq!(small.fault_list(), "socket-cut@3/10:00:00,process-dies@7/10:00:00+180s");
        assert_eq!(small.days, 7);
    }

    #[test]
    fn a_run_that_breaks_nothing_stays_as_it_is() {
        let good = run(3, FaultPlan::parse("token-dies@1/10:00").unwrap());
        assert_eq!(shrink(good.clone(), run), good);
    }
}
