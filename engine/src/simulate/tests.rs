//! The simulator as a whole: many seeds, every fault alone, and the same bytes from the same seed.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use super::*;

fn of(seed: u64, faults: &str) -> Report {
    Simulation::new(seed).faults(FaultPlan::parse(faults).unwrap()).run()
}

#[test]
fn a_day_on_which_nothing_goes_wrong_is_traded_live() {
    let report = Simulation::new(1).human_only().faults(FaultPlan::none()).run();
    assert!(report.is_ok(), "{report}");
    let Counts { days, orders, refused, live, paper, processes, .. } = report.counts;
    assert_eq!((days, processes, paper), (1, 1, 0));
    assert!(orders > 300 && live * 10 > orders * 9, "{orders} taken, {refused} refused, {live} at the broker");
}

#[test]
fn every_fault_alone_breaks_no_rule_and_happens() {
    for kind in FaultKind::ALL {
        let report = of(3, &format!("{kind}@1/10:30:01"));
        assert!(report.is_ok(), "{report}");
        assert_eq!(report.counts.faults, 1, "{kind}");
        let checked = report.counts.checked;
        assert!(checked.left > 100 || *kind == FaultKind::HolidayMoves, "{kind}: {checked:?}");
        let processes = if *kind == FaultKind::ProcessDies { 2 } else { 1 };
        assert_eq!(report.counts.processes, processes, "{kind}");
    }
}

#[test]
fn ten_seeds_hold_every_rule_and_reach_what_the_rules_are_about() {
    let (mut counts, mut runs) = (Counts::default(), 0);
    Simulation::new(1).days(2).run_many(10, NonZeroUsize::MIN, |report| {
        assert!(report.is_ok(), "{report}");
        counts.add(&report.counts);
        runs += 1;
        true
    });
    println!("{runs} runs: {counts:?}");
    let Checked { left, adopted, attempts, moves, returns, texts, agreed_live, agreed_paper } = counts.checked;
    assert!(left > 5_000 && adopted > 20 && attempts > 10 && moves > 50 && returns > 10 && texts > 500);
    assert!(counts.paper > 0 && counts.processes > 10 && counts.snapshots > 10);
    assert!(agreed_live > 2_000 && agreed_paper > 50, "{agreed_live} orders compared, {agreed_paper} on paper");
}

#[test]
fn the_same_seed_is_the_same_run_to_the_byte_on_any_thread() {
    let digests = |threads| {
        let mut found = Vec::new();
        let simulation = Simulation::new(40).days(1).keep(Keep::Digest);
        simulation.run_many(4, NonZeroUsize::new(threads).unwrap(), |report| {
            found.push((report.seed, report.log.digest.clone()));
            true
        });
        found
    };
    let once = digests(1);
    assert_eq!(once, digests(2), "and in the order of the seeds");
    let different: BTreeSet<_> = once.iter().map(|(_, digest)| digest.clone()).collect();
    assert_eq!(different.len(), 4);
}

#[test]
fn a_faults_list_repeats_what_the_seed_chose() {
    let chosen = Simulation::new(77).keep(Keep::Digest).run();
    let listed = Simulation::new(77).keep(Keep::Digest).faults(FaultPlan::parse(&chosen.fault_list()).unwrap()).run();
    assert_eq!(chosen, listed);
    assert!(chosen.command().starts_with("nirantar simulate --seed 77 --days 1 --faults \""));
}

#[test]
fn a_token_that_dies_sends_orders_to_paper_and_a_login_brings_them_back() {
    let report = Simulation::new(5).human_only().faults(FaultPlan::parse("token-dies@1/10:00").unwrap()).run();
    assert!(report.is_ok(), "{report}");
    let Counts { paper, live, logins, checked, .. } = report.counts;
    assert!(paper > 0 && live > 200 && logins >= 2 && checked.returns >= 2, "{:?}", report.counts);
}

#[test]
fn what_is_known_of_an_order_survives_a_process_that_dies_anywhere() {
    let (mut died, mut lost) = (0, 0);
    for seed in 0..8 {
        let report = of(seed, "process-dies@1/10:00, process-dies@1/11:00, process-dies@1/12:00");
        assert!(report.is_ok(), "{report}");
        died += report.counts.processes - 1;
        lost += report.counts.records_lost;
    }
    println!("{died} processes died, {lost} records lost");
    assert!(died == 24 && lost > 0, "{died} died, and {lost} records were lost");
}
