//! `nirantar simulate`: the runs are made in [`crate::simulate`]; here are its arguments and how it is shown.

use std::io::IsTerminal as _;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nirantar_brokers::time::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::{CliError, print};
use crate::simulate::{Counts, FaultKind, FaultPlan, Keep, Report, Simulation};

/// Let years of failures happen in seconds, and see that the ten rules hold
///
/// The cores that trade run in virtual time against a model of the broker, of stores, people and the machine, while a
/// strategy trades and things go wrong by a seed: tokens die, renewals hang, sockets fall silent, the process is killed.
/// After every step the ten rules are checked. Each run has a seed of its own, and the same seed is the same run, byte for
/// byte. A rule that is broken ends with exit code 1: the seed, the few faults that it takes, what happened last, and the
/// command that repeats it.
///
/// Examples:
///   nirantar simulate --runs 1000 --days 5
///   nirantar simulate --seed 7 --days 1 --faults "token-dies@1/10:00, socket-mute@1/10:00:30+60s" --log
///   nirantar simulate --until-failure --json
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SimulateArgs {
    /// Seed of the first run; each further run has the next one
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// So many runs [default: 1; with --until-failure without end]
    #[arg(long, value_name = "N")]
    runs: Option<NonZeroU64>,
    /// Trading days of each run
    #[arg(long, value_name = "N", default_value = "5")]
    days: NonZeroU32,
    /// A tick of each of three instruments every so many milliseconds, 50 or more
    #[arg(long, value_name = "N", default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(50..=600_000))]
    tick_ms: u32,
    /// What goes wrong, instead of what each seed chooses: a file, or a list like "token-dies@1/10:00,
    /// broker-forgets@2/11:30+90s" (fault@day/time+how long); "none" for nothing
    #[arg(long, value_name = "FILE|LIST", verbatim_doc_comment)]
    faults: Option<String>,
    /// Name every fault there is, and end
    #[arg(long)]
    list_faults: bool,
    /// Stop at the first run that breaks a rule
    #[arg(long)]
    until_failure: bool,
    /// Threads to make runs on; a run is always made on one [default: as many as the machine has cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Print the whole event log of the first run
    #[arg(long, conflicts_with_all = ["json", "digest"])]
    log: bool,
    /// Print the SHA-256 of each run's whole event log
    #[arg(long, conflicts_with = "json")]
    digest: bool,
    /// Print one JSON object on stdout instead of words
    #[arg(long)]
    json: bool,
}

/// Exit code of runs that broke a rule.
const BROKEN: u8 = 1;
/// Runs that broke a rule and are named, at most.
const MOST_NAMED: usize = 20;

/// Makes the runs and says what they came to.
pub(super) fn simulate(arguments: &SimulateArgs) -> Result<ExitCode, CliError> {
    if arguments.list_faults {
        for kind in FaultKind::ALL {
            print::say(&format!("{:<22} {}", kind.name(), kind.words()));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let simulation = simulation(arguments)?;
    if arguments.log {
        let report = simulation.keep(Keep::Everything).run();
        report.log.lines.iter().for_each(|line| print::say(line));
        return Ok(code(report.is_ok()));
    }
    let runs = arguments.runs.map_or(if arguments.until_failure { u64::MAX } else { 1 }, NonZeroU64::get);
    let threads = threads(arguments);
    let clock = SystemClock::start();
    let bar = progress_bar(runs);
    let (mut counts, mut done, mut failed) = (Counts::default(), 0_u64, Vec::new());
    let keep = if arguments.digest { Keep::Digest } else { Keep::Nothing };
    simulation.clone().keep(keep).run_many(runs, threads, |report| {
        done += 1;
        bar.inc(1);
        counts.add(&report.counts);
        if let Some((digest, lines)) = &report.log.digest {
            let seed = report.seed;
            bar.suspend(|| print::say(&format!("{digest}  seed {seed}, {lines} lines")));
        }
        let ok = report.is_ok();
        if !ok {
            failed.push(report);
        }
        ok || !arguments.until_failure
    });
    bar.finish_and_clear();
    let wall = Duration::from_nanos(clock.now().mono.as_nanos());
    let first = failed.first().map(|found| simulation.shrink(found.clone()));
    if arguments.json {
        print::say(&in_json(arguments, done, threads, &counts, wall, &failed, first.as_ref()).to_string());
    } else {
        print::say(&in_words(arguments, done, threads, &counts, wall, &failed));
        if let Some(small) = &first {
            let from = failed.first().map_or(0, |found| found.faults.len());
            print::say(&format!("\nThe first of them, with {} of its {from} faults:\n{small}", small.faults.len()));
        }
    }
    Ok(code(failed.is_empty()))
}

fn code(ok: bool) -> ExitCode {
    if ok { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) }
}

fn threads(arguments: &SimulateArgs) -> NonZeroUsize {
    arguments.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}

fn simulation(arguments: &SimulateArgs) -> Result<Simulation, CliError> {
    let tick = Duration::from_millis(u64::from(arguments.tick_ms));
    let simulation = Simulation::new(arguments.seed).days(arguments.days.get()).tick(tick);
    Ok(match &arguments.faults {
        None => simulation,
        Some(said) => simulation.faults(plan(said)?),
    })
}

/// A file if there is one of that name, else a list.
fn plan(said: &str) -> Result<FaultPlan, CliError> {
    if said.trim() == "none" {
        return Ok(FaultPlan::none());
    }
    let path = Path::new(said);
    // A fault always has an `@`: whoever names a file that is not there must hear of the file.
    if path.is_file() || !(said.contains('@') || said.trim().is_empty()) {
        let text = std::fs::read_to_string(path)
            .map_err(|error| CliError::Faults { place: format!("{}: ", path.display()), problem: error.to_string() })?;
        return FaultPlan::parse(&text)
            .map_err(|error| CliError::Faults { place: format!("{}: ", path.display()), problem: error.to_string() });
    }
    FaultPlan::parse(said).map_err(|error| CliError::Faults { place: String::new(), problem: error.to_string() })
}

/// Runs as a bar, on a terminal only.
fn progress_bar(runs: u64) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let (bar, template) = if runs == u64::MAX {
        (ProgressBar::with_draw_target(None, target), "{pos} runs, and every rule holds so far")
    } else {
        (ProgressBar::with_draw_target(Some(runs), target), "{bar:40}  {pos} of {len} runs")
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn in_words(
    arguments: &SimulateArgs,
    runs: u64,
    threads: NonZeroUsize,
    counts: &Counts,
    wall: Duration,
    failed: &[Report],
) -> String {
    let (seed, days) = (arguments.seed, arguments.days);
    let last = seed.saturating_add(runs.saturating_sub(1));
    let verdict = match failed.len() {
        0 => "every rule held".to_owned(),
        some => format!("{some} broke a rule"),
    };
    let mut lines = vec![format!("{runs} runs of {days} trading days, seeds {seed} to {last}: {verdict}")];
    let simulated = counts.simulated;
    let faster = simulated.as_secs_f64() / wall.as_secs_f64().max(1e-9);
    lines.push(format!(
        "  time      {:.1} simulated days in {:.2} s of wall time on {threads} threads: {faster:.0} times as fast",
        simulated.as_secs_f64() / 86_400.0,
        wall.as_secs_f64()
    ));
    let Counts { ticks, orders, refused, live, paper, records, records_lost, processes, faults, logins, gaps, .. } =
        counts;
    lines.push(format!("  market    {ticks} ticks; {orders} orders taken, {refused} refused; {live} at the broker, {paper} messages to paper"));
    lines.push(format!("  faults    {faults}; {processes} processes, {records_lost} of {records} records lost with them; {logins} logins, {gaps} gaps of the feed"));
    let checked = &counts.checked;
    lines.push(format!(
        "  checked   {} inputs, {} messages that left, {} changes of venue, {} tokens taken, {} renewals, {} returns to live, {} texts",
        counts.inputs, checked.left, checked.moves, checked.adopted, checked.attempts, checked.returns, checked.texts
    ));
    for report in failed.iter().take(MOST_NAMED) {
        if let Some(failure) = &report.failure {
            lines.push(format!("  seed {}: {}", report.seed, failure.violation));
        }
    }
    lines.join("\n")
}

fn in_json(
    arguments: &SimulateArgs,
    runs: u64,
    threads: NonZeroUsize,
    counts: &Counts,
    wall: Duration,
    failed: &[Report],
    first: Option<&Report>,
) -> Value {
    let shown = |report: &Report| {
        let failure = report.failure.as_ref();
        json!({
            "seed": report.seed,
            "rule": failure.map(|failure| failure.violation.rule),
            "words": failure.map(|failure| failure.violation.words.clone()),
            "at": failure.map(|failure| failure.at.to_rfc3339_ist()),
            "faults": report.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "command": report.command(),
            "timeline": report.log.lines,
        })
    };
    json!({
        "ok": failed.is_empty(),
        "runs": runs,
        "days": arguments.days,
        "first_seed": arguments.seed,
        "threads": threads,
        "wall_seconds": wall.as_secs_f64(),
        "simulated_seconds": counts.simulated.as_secs(),
        "inputs": counts.inputs,
        "ticks": counts.ticks,
        "orders": counts.orders,
        "live_orders": counts.live,
        "faults": counts.faults,
        "processes": counts.processes,
        "messages_left": counts.checked.left,
        "failed_seeds": failed.iter().map(|report| report.seed).collect::<Vec<_>>(),
        "first_failure": first.map(shown),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        simulate: SimulateArgs,
    }

    fn read(arguments: &[&str]) -> Result<SimulateArgs, clap::Error> {
        Ok(Command::try_parse_from(std::iter::once(&"simulate").chain(arguments))?.simulate)
    }

    #[test]
    fn every_option_of_the_simulation_is_read() {
        let all = ["--seed", "9", "--runs", "3", "--days", "2", "--tick-ms", "1000", "--threads", "1", "--json"];
        let all = read(&all).unwrap();
        assert_eq!((all.seed, all.runs.map(NonZeroU64::get), all.days.get(), all.tick_ms), (9, Some(3), 2, 1000));
        assert!(all.json && !all.until_failure && all.faults.is_none());
        for bad in
            [&["--runs", "0"][..], &["--days", "0"], &["--tick-ms", "10"], &["--json", "--log"], &["--seed", "x"]]
        {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn faults_are_a_list_or_a_file_and_what_is_wrong_is_said_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("faults");
        std::fs::write(&file, "# two\ntoken-dies@1/10:00\nsocket-cut@1/11:00\n").unwrap();
        let file = file.display().to_string();
        assert_eq!(plan(&file).unwrap(), plan("socket-cut@1/11:00, token-dies@1/10:00").unwrap());
        assert_eq!(plan("none").unwrap(), FaultPlan::none());
        std::fs::write(&file, "token-dies@1/10:00\nfire@1/10:00\n").unwrap();
        let said = plan(&file).unwrap_err().to_string();
        assert!(said.starts_with("--faults: ") && said.contains("line 2") && said.contains("`fire`"), "{said}");
        let said = plan("no-such-file").unwrap_err().to_string();
        assert!(said.contains("no-such-file"), "{said}");
    }
}
