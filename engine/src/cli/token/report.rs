//! How `token status` shows what it found: a table for people, an object for programs.

use nirantar_brokers::time::Timestamp;
use serde_json::{Value, json};

use super::matrix::{MarketNow, symptom};
use super::probe::{Standing, State};
use super::running::Running;
use crate::config::ConfigError;

/// What was found, of every account.
#[derive(Debug)]
pub(super) struct Report {
    standings: Vec<Standing>,
    market: MarketNow,
    running: Option<Running>,
}

impl Report {
    pub(super) const fn of(standings: Vec<Standing>, market: MarketNow, running: Option<Running>) -> Self {
        Self { standings, market, running }
    }

    /// The object when there is no configuration to look at accounts by.
    pub(super) fn unreadable(error: &ConfigError) -> Value {
        json!({
            "ok": false,
            "accounts": [],
            "error": {
                "file": error.file.display().to_string(),
                "line": error.line,
                "key": error.key,
                "message": error.problem.to_string(),
            },
        })
    }

    pub(super) fn all_live(&self) -> bool {
        self.standings.iter().all(|standing| standing.state == State::Live)
    }

    pub(super) fn json(&self) -> Value {
        let account = |standing: &Standing| {
            json!({
                "name": standing.account,
                "broker": standing.broker,
                "state": standing.state.as_str(),
                "token": standing.token.map(|token| token.to_string()),
                "user_id": standing.user_id,
                "expires_at": standing.expires_at.map(Timestamp::to_rfc3339_ist),
                "missing": standing.missing,
                "why": standing.why,
                "symptom": symptom(standing.state, self.market.phase),
                "engine": self.engine(standing),
                "next": standing.next,
                "login_url": standing.login_url,
            })
        };
        json!({
            "ok": self.all_live(),
            "accounts": self.standings.iter().map(account).collect::<Vec<_>>(),
            "market": { "phase": self.market.phase.as_str(), "words": self.market.words },
            "error": null,
        })
    }

    fn engine(&self, standing: &Standing) -> Option<&str> {
        self.running.as_ref().and_then(|running| running.of(&standing.account))
    }

    /// A row for each account, and below the table what is to be done.
    pub(super) fn table(&self) -> String {
        let mut rows = vec![["account", "broker", "state", "user", "token", "good until (IST)"].map(str::to_owned)];
        rows.extend(self.standings.iter().map(|standing| {
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            [
                standing.account.clone(),
                standing.broker.to_owned(),
                standing.state.as_str().to_owned(),
                standing.user_id.clone(),
                or_dash(standing.token.map(|token| token.to_string())),
                or_dash(standing.expires_at.map(|at| at.to_string())),
            ]
        }));
        let mut text = String::new();
        for row in &rows {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
                format!("{cell:<width$}", width = width.unwrap_or(0))
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text.push_str(&format!("\nthe market is {}\n", self.market.words));
        if let Some(Running::Silent(why)) = &self.running {
            text.push_str(&format!("a running nirantar was asked and did not answer: {why}\n"));
        }
        for standing in &self.standings {
            text.push_str(&format!("\n{} is {}", standing.account, standing.state.as_str()));
            if let Some(why) = &standing.why {
                text.push_str(&format!(": {why}"));
            }
            text.push('\n');
            text.push_str(&format!("  what you see: {}\n", symptom(standing.state, self.market.phase)));
            if let Some(engine) = self.engine(standing) {
                text.push_str(&format!("  nirantar run: {engine}\n"));
            }
            for missing in &standing.missing {
                text.push_str(&format!("  missing: {missing}\n"));
            }
            text.push_str(&format!("  next: {}\n", standing.next));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::Fingerprint;

    use super::*;

    fn standing(state: State) -> Standing {
        Standing {
            account: "main".to_owned(),
            broker: "kite",
            state,
            token: Some(Fingerprint::of("hunter2")),
            user_id: "AB1234".to_owned(),
            expires_at: Timestamp::parse_ist("2026-11-21 07:30:00"),
            missing: vec!["ZERODHA_ACCESS_TOKEN in .env".to_owned()],
            why: Some("the broker said so".to_owned()),
            next: "log in".to_owned(),
            login_url: None,
        }
    }

    fn report(standings: Vec<Standing>) -> Report {
        let at = Timestamp::parse_ist("2026-11-20 09:03:00").unwrap();
        let market = super::super::matrix::market(&nirantar_exchange_mock::Calendar::nse(), at);
        Report::of(standings, market, None)
    }

    #[test]
    fn the_table_lines_up_and_says_what_to_do_about_what_is_not_live() {
        let table = report(vec![standing(State::Live), standing(State::Dead)]).table();
        let lines: Vec<&str> = table.lines().collect();
        let column = |line: &str, word: &str| line.find(word).unwrap();
        assert_eq!(column(lines[0], "state"), column(lines[1], "live"));
        assert_eq!(column(lines[0], "good until"), column(lines[2], "2026-11-21 07:30:00"));
        assert!(table.contains("the market is pre-open") && table.contains("no dead feed"), "{table}");
        assert_eq!(table.matches("what you see: ").count(), 2, "{table}");
        assert!(table.contains("main is dead: the broker said so"), "{table}");
    }

    #[test]
    fn ok_means_that_every_token_is_live() {
        assert_eq!(report(vec![standing(State::Live)]).json()["ok"], json!(true));
        let mixed = report(vec![standing(State::Live), standing(State::Unreachable)]).json();
        assert_eq!(mixed["ok"], json!(false));
        assert_eq!(mixed["accounts"][1]["state"], json!("unreachable"));
        assert_eq!(mixed["accounts"][0]["expires_at"], json!("2026-11-21T07:30:00+05:30"));
    }
}
