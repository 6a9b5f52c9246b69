//! Rule 10: a secret never appears in anything that is told or written.
//!
//! Most of what is told is made of numbers, names and fingerprints, by its types. What can carry a secret is text that came
//! from outside: those fields are searched.

use std::collections::VecDeque;

use nirantar_brokers::Secret;

use super::{Checked, Violation, broken};
use crate::core::{Event, Output};
use crate::feed;
use crate::orders::What;

#[derive(Debug, Default)]
pub(super) struct Secrets {
    known: VecDeque<Secret>,
}

/// Secrets that are looked for: the newest.
const MOST: usize = 32;

impl Secrets {
    pub(super) fn learn(&mut self, secret: Secret) {
        if self.known.len() == MOST {
            self.known.pop_front();
        }
        self.known.push_back(secret);
    }

    pub(super) fn output(&mut self, output: &Output, checked: &mut Checked) -> Result<(), Violation> {
        let text = match output {
            Output::Journal(record) => match &record.what {
                What::State { message: Some(text), .. } | What::Answer(text) => text,
                _ => return Ok(()),
            },
            Output::Tell(Event::Order { order, .. }) => match &order.message {
                Some(text) => text,
                None => return Ok(()),
            },
            Output::Tell(Event::Answered { words: text, .. } | Event::Alarm { words: text, .. }) => text,
            Output::Tell(Event::NotStored { reason: text, .. }) => text,
            Output::Tell(Event::LoginNeeded { link: Some(text), .. }) => text,
            Output::Feed(feed::Output::Failed { why: text, .. }) => text,
            Output::Feed(feed::Output::FeedRefused(refusal)) => &refusal.failure.message,
            _ => return Ok(()),
        };
        checked.texts += 1;
        match self.known.iter().find(|secret| text.contains(secret.expose())) {
            // The violation itself must not show it either.
            Some(secret) => broken(10, format!("a text shows the secret {}", secret.fingerprint())),
            None => Ok(()),
        }
    }
}
