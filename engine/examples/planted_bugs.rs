//! Ten planted bugs, one for each rule: how many runs it takes the simulator to find each, and how few faults it takes.
//!
//! ```sh
//! cargo run --release -p nirantar --features planted-bugs --example planted_bugs [-- RULE...]
//! ```
//!
//! Stops at the first find of each bug. Ends with 1 if one is not found within 10,000 runs, breaks another rule than its own,
//! or takes more than ten faults.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use nirantar::planted::{Bug, plant};
use nirantar::simulate::Simulation;

const MOST_RUNS: u64 = 10_000;
const MOST_FAULTS: usize = 10;

fn main() -> ExitCode {
    let asked: Vec<u8> = std::env::args().skip(1).filter_map(|rule| rule.parse().ok()).collect();
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    println!("| rule | planted bug | runs | seed | faults left of | found with |\n|---|---|---|---|---|---|");
    let mut ok = true;
    for bug in Bug::ALL.into_iter().filter(|bug| asked.is_empty() || asked.contains(&bug.rule())) {
        plant(Some(bug));
        let simulation = Simulation::new(1).days(2);
        let (mut runs, mut found) = (0, None);
        simulation.run_many(MOST_RUNS, threads, |report| {
            runs += 1;
            let go_on = report.is_ok();
            found = (!go_on).then_some(report);
            go_on
        });
        let Some(found) = found else {
            println!("| {} | {bug:?} | not within {runs} | | | |", bug.rule());
            ok = false;
            continue;
        };
        let (seed, all) = (found.seed, found.faults.len());
        let small = simulation.shrink(found);
        let rule = small.failure.as_ref().map(|failure| failure.violation.rule);
        ok &= rule == Some(bug.rule()) && small.faults.len() <= MOST_FAULTS;
        let left = small.faults.len();
        let with = if left == 0 { "no fault at all".to_owned() } else { format!("`{}`", small.fault_list()) };
        println!("| {} | {bug:?} | {runs} | {seed} | {left} of {all} | {with} |", bug.rule());
        eprintln!("{small}\n");
    }
    plant(None);
    ExitCode::from(u8::from(!ok))
}
