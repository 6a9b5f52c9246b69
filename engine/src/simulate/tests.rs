//! The simulator as a whole: every fault alone, many seeds, and the same bytes from the same seed.

use super::*;

fn of(seed: u64, faults: &str) -> Report {
    Simulation::new(seed).faults(FaultPlan::parse(faults).unwrap()).run()
}

#[test]
fn a_day_on_which_nothing_goes_wrong_is_traded_live() {
    let report = of(1, "");
    assert!(report.is_ok(), "{report}");
    println!("{:?}", report.counts);
    assert!(report.counts.live > 250, "{:?}", report.counts);
}
