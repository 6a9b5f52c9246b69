//! `nirantar sandbox` as a shell sees it: one JSON object, every promise held, the same day at every speed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod child;

use std::fmt::Write as _;
use std::path::Path;

use child::nirantar;
use serde_json::Value;

/// A day of RELIANCE with a trade every five seconds, up and down by whole ticks.
fn short_day(folder: &Path) -> String {
    let mut rows = String::from("timestamp,ltp,volume\n");
    for step in 0..4_500_u32 {
        let seconds = 9 * 3600 + 15 * 60 + step * 5;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let paise = 195_000 + (step * 7 % 41) * 5;
        writeln!(
            rows,
            "2021-04-12 {hour:02}:{minute:02}:{second:02},{}.{:02},{}",
            paise / 100,
            paise % 100,
            (step + 1) * 500
        )
        .unwrap();
    }
    let file = folder.join("reliance.csv");
    std::fs::write(&file, rows).unwrap();
    format!("{}=RELIANCE", file.display())
}

/// Runs the sandbox and gives its one JSON object.
fn sandbox(arguments: &[&str]) -> Value {
    let output = nirantar().arg("sandbox").args(arguments).arg("--json").output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stderr}\n{stdout}");
    assert!(stderr.contains("STATE"), "the story is told on stderr: {stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("stdout is not one JSON object ({error}): {stdout}"))
}

fn assert_all_promises_held(report: &Value) {
    assert_eq!(report["ok"], true, "{report:#}");
    let states: Vec<&str> = report["states_visited"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(states, ["Valid", "Expiring", "Refreshing", "Expired", "Fallback"]);
    for (group, key) in [
        ("ticks", "lost"),
        ("ticks", "duplicated"),
        ("ticks", "out_of_order"),
        ("orders", "unknown"),
        ("orders", "duplicated"),
        ("orders", "lost"),
        ("reconciled", "differences"),
    ] {
        assert_eq!(report[group][key], 0, "{group}.{key}: {report:#}");
    }
    for book in ["live", "paper"] {
        assert!(report["orders"][book]["submitted"].as_u64().unwrap() > 0, "{book}: {report:#}");
        assert!(report["orders"][book]["filled"].as_u64().unwrap() > 0, "{book}: {report:#}");
    }
    assert_eq!(report["tokens"]["refused"], 1, "the wrong token that was pasted");
    assert_eq!(report["tokens"]["swapped"], 2, "one renewal, one login");
    assert!(report["ticks"]["fallback"].as_u64().unwrap() > 0);
    assert!(report["reconciled"]["orders"].as_u64().unwrap() > 0);
    // The next trade of the exchange: at most five seconds away in the shortest day here.
    assert!(report["feed"]["live_after_new_token_ms"].as_u64().unwrap() <= 5_000);
    let paper_minutes = report["feed"]["longest_gap_ms"].as_u64().unwrap() / 60_000;
    assert!(paper_minutes <= 15, "{paper_minutes} minutes");
}

#[test]
fn the_same_day_has_the_same_transitions_at_every_speed_and_on_every_run() {
    let folder = tempfile::tempdir().unwrap();
    let replay = short_day(folder.path());
    let fast = sandbox(&["--replay", &replay, "--speed", "max"]);
    assert_all_promises_held(&fast);
    for arguments in [["--speed", "max"], ["--speed", "6000"]] {
        let again = sandbox(&["--replay", &replay, arguments[0], arguments[1]]);
        assert_all_promises_held(&again);
        assert_eq!(again["transitions"], fast["transitions"]);
        assert_eq!(again["orders"], fast["orders"]);
        assert_eq!(again["ticks"], fast["ticks"]);
    }
}

#[test]
fn a_synthetic_day_needs_nothing_at_all_and_ends_well() {
    assert_all_promises_held(&sandbox(&[]));
}

#[test]
fn a_real_day_arrives_whole() {
    let Ok(fixtures) = std::env::var("NIRANTAR_FIXTURES") else {
        assert!(std::env::var("NIRANTAR_REQUIRE_FIXTURES").is_err(), "NIRANTAR_FIXTURES is not set");
        println!("skipped: NIRANTAR_FIXTURES is not set");
        return;
    };
    let nifty = format!("{fixtures}/market/2021-04-12_NIFTY.csv=NIFTY 50");
    let reliance = format!("{fixtures}/market/2021-04-12_RELIANCE.csv=RELIANCE");
    let report = sandbox(&["--replay", &nifty, "--replay", &reliance, "--speed", "max"]);
    assert_all_promises_held(&report);
    assert!(report["ticks"]["received"].as_u64().unwrap() > 40_000, "{report:#}");
}

#[test]
fn the_summary_for_a_human_ends_with_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let output = nirantar().args(["sandbox", "--replay", &short_day(folder.path())]).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert_eq!(stdout.matches("STATE").count(), 7, "one line for each transition: {stdout}");
    assert!(stdout.trim_end().ends_with("nothing lost, nothing repeated, nothing mixed up."), "{stdout}");
}
