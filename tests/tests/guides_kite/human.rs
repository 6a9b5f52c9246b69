//! The guide's login script, and the human it asks for the second factor.
//!
//! The script is a shell's and runs as its own process, in real time. It asks through a named pipe and waits for the
//! answer in another, so that nobody has to look whether the other is there yet.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use nirantar_brokers::time::{Clock as _, SteppedClock, Timestamp};
use nirantar_exchange_mock::kite::Control;

/// What the human does when the script asks. Once the list is at its end, it is the last word for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Logs in: the script gets a new token and writes it with `nirantar token set`, as the guide's file says.
    LogsIn,
    /// Refuses: the script says so, with a secret in its words, and fails.
    Refuses,
    /// Does not answer: the script hangs.
    Sleeps,
}

/// What was asked, and when by the market's time: it stands still while the script works.
#[derive(Clone, Debug, Default)]
pub struct Runs(Arc<Mutex<Vec<Timestamp>>>);

impl Runs {
    pub fn times(&self) -> Vec<Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts the script into the guide's folder, and a human at its other end.
    pub fn prepare(&self, answers: &[Answer], folder: &Path, control: &Control, clock: &SteppedClock) {
        for pipe in ["question", "answer"] {
            assert!(Command::new("mkfifo").arg(folder.join(pipe)).status().unwrap().success());
        }
        let script = folder.join("refresh_token.sh");
        fs::write(&script, SCRIPT.replace("NIRANTAR", env!("CARGO_BIN_EXE_nirantar-child"))).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
        let (runs, folder) = (self.clone(), folder.to_owned());
        let (control, clock, mut answers) = (control.clone(), clock.clone(), answers.iter().copied().collect());
        // It waits in a pipe between two questions, and ends with the test's folder or its process.
        std::thread::spawn(move || runs.answer(&folder, &control, &clock, &mut answers));
    }

    fn answer(&self, folder: &Path, control: &Control, clock: &SteppedClock, answers: &mut VecDeque<Answer>) {
        while let Ok(question) = fs::read_to_string(folder.join("question")) {
            assert_eq!(question, "a second factor, please\n");
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(clock.now().wall);
            let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() };
            let words = match answer {
                Some(Answer::LogsIn) => control.login().access_token.expose().to_owned(),
                Some(Answer::Refuses) => "no".to_owned(),
                Some(Answer::Sleeps) | None => "later".to_owned(),
            };
            if fs::write(folder.join("answer"), format!("{words}\n")).is_err() {
                return;
            }
        }
    }
}

const SCRIPT: &str = r#"#!/bin/sh
# Asks the human, waits, and writes what comes.
cd "$(dirname "$0")" || exit 1
echo "a second factor, please" > question
read -r answer < answer
case "$answer" in
no)
    . ./.env
    echo "login refused, signed with $ZERODHA_API_SECRET, in place of $ZERODHA_ACCESS_TOKEN" >&2
    exit 3 ;;
later) exec sleep 1000 ;;
esac
printf '%s\n' "$answer" | NIRANTAR token set --store .env
"#;
