//! The guides' matrix: from what the market does and what is known of a token to what a trader sees. Pure.

use chrono::{Datelike as _, NaiveDate, Weekday};
use nirantar_brokers::Exchange;
use nirantar_brokers::time::Timestamp;
use nirantar_exchange_mock::{Calendar, Phase};

use super::probe::State;

/// What the market does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MarketNow {
    /// Of shares at NSE.
    pub(crate) phase: Phase,
    /// The same for a trader, with what prices do.
    pub(crate) words: String,
}

/// What shares at NSE do at that moment.
pub(crate) fn market(calendar: &Calendar, at: Timestamp) -> MarketNow {
    let phase = calendar.phase(Exchange::Nse, at);
    let date = at.ist_date();
    let until = |exchange| {
        let close =
            calendar.continuous_on(exchange, date).map(|(_, close)| close.ist_time().format("%H:%M").to_string());
        close.unwrap_or_else(|| "the close".to_owned())
    };
    let words = match phase {
        Phase::PreOpen => format!(
            "pre-open: the exchange collects orders from 09:00 to {}, then finds one opening price; prices stand still \
             until 09:15, and that is no dead feed",
            if date >= PRE_OPEN_TO_NINE_TEN { "09:10" } else { "09:08" }
        ),
        Phase::Continuous => {
            format!("open: shares until {}, futures and options until {}", until(Exchange::Nse), until(Exchange::Nfo))
        }
        Phase::Closing => match calendar.phase(Exchange::Nfo, at) {
            Phase::Continuous => format!(
                "closing auction: shares and indices may stand still until 15:28 while futures and options trade until \
                 {}; that is no dead feed",
                until(Exchange::Nfo)
            ),
            _ => "closed for the day: the closing prices are being made, and no price moves".to_owned(),
        },
        Phase::PostClose => "post-close: trades at the closing price only, so prices stand still".to_owned(),
        Phase::Closed => closed(calendar, at),
    };
    MarketNow { phase, words }
}

/// Since when the exchange collects orders to 09:10 instead of 09:08 (NSE/CMTR/74969).
const PRE_OPEN_TO_NINE_TEN: NaiveDate = match NaiveDate::from_ymd_opt(2026, 9, 7) {
    Some(date) => date,
    None => NaiveDate::MAX,
};

fn closed(calendar: &Calendar, at: Timestamp) -> String {
    let date = at.ist_date();
    let next = calendar.next_open(Exchange::Nse, at);
    let why = match (calendar.holiday(date), date.weekday()) {
        (Some(source), _) => {
            holiday_name(date).map_or_else(|| format!("a holiday ({source})"), |name| format!("a holiday: {name}"))
        }
        (None, Weekday::Sat | Weekday::Sun) => "the weekend".to_owned(),
        _ if next.is_some_and(|next| next.ist_date() == date) => "before the open".to_owned(),
        _ => "after the close".to_owned(),
    };
    let next = next.map(|next| format!(", opens {}", next.to_ist().format("%a %d %b at %H:%M")));
    format!("closed ({why}){}: no price moves, and that is right", next.unwrap_or_default())
}

/// What the exchange's list of 2026 calls the day (NSE/CMTR/71775; 15 January was announced later). The calendar decides
/// which days are holidays; a day it knows and this list does not has no name here.
fn holiday_name(date: NaiveDate) -> Option<&'static str> {
    const NAMES: [(u32, u32, &str); 16] = [
        (1, 15, "Maharashtra municipal elections"),
        (1, 26, "Republic Day"),
        (3, 3, "Holi"),
        (3, 26, "Ram Navami"),
        (3, 31, "Mahavir Jayanti"),
        (4, 3, "Good Friday"),
        (4, 14, "Ambedkar Jayanti"),
        (5, 1, "Maharashtra Day"),
        (5, 28, "Bakri Id"),
        (6, 26, "Muharram"),
        (9, 14, "Ganesh Chaturthi"),
        (10, 2, "Gandhi Jayanti"),
        (10, 20, "Dussehra"),
        (11, 10, "Diwali Balipratipada"),
        (11, 24, "Guru Nanak Jayanti"),
        (12, 25, "Christmas"),
    ];
    let named =
        |(month, day, _): &&(u32, u32, &str)| date.year() == 2026 && (date.month(), date.day()) == (*month, *day);
    NAMES.iter().find(named).map(|(_, _, name)| *name)
}

/// What a trader sees with such a token while the market does that.
pub(crate) const fn symptom(state: State, phase: Phase) -> &'static str {
    match (state, phase) {
        (State::Live, Phase::Continuous) => {
            "prices move and orders are taken; where they do not, the token is not the reason"
        }
        (State::Live, Phase::PreOpen) => "the login is good; prices stand still until 09:15",
        (State::Live, Phase::Closing) => "the login is good; prices of shares and indices may stand still",
        (State::Live, Phase::PostClose | Phase::Closed) => {
            "the login is good; prices stand still, the market is closed"
        }
        (State::Expired, _) => {
            "a running nirantar goes by the store and does not use the token, though the broker takes it: no feed and no \
             orders with it"
        }
        (State::Dead | State::Missing | State::Stranger, Phase::PostClose | Phase::Closed) => {
            "no feed and no orders with it; nothing is lost until the market opens"
        }
        (State::Dead | State::Missing | State::Stranger, _) => {
            "the feed is silent and every order is refused; a running nirantar has gone to paper, or refuses orders"
        }
        (State::Refused, _) => {
            "the broker turns requests away for something that no new token mends; a login now would change nothing"
        }
        (State::Unreachable, _) => {
            "the broker does not answer from here: nothing is known of the token, do not log in again"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(at: &str) -> String {
        market(&Calendar::nse(), Timestamp::parse_ist(at).unwrap()).words
    }

    #[test]
    fn frozen_prices_are_explained_before_anybody_calls_the_feed_dead() {
        for (at, said) in [
            ("2026-11-20 09:03:00", &["pre-open", "to 09:10", "no dead feed", "until 09:15"][..]),
            ("2026-08-20 09:03:00", &["to 09:08"]),
            ("2026-11-20 11:00:00", &["open: shares until 15:15", "options until 15:40"]),
            ("2026-11-20 15:20:00", &["closing auction", "15:28", "no dead feed"]),
            ("2026-11-20 15:55:00", &["closing price only"]),
            ("2026-11-20 08:00:00", &["before the open", "opens Fri 20 Nov at 09:15"]),
            ("2026-11-20 20:00:00", &["after the close", "opens Mon 23 Nov"]),
            ("2026-11-21 11:00:00", &["the weekend", "opens Mon 23 Nov at 09:15"]),
            ("2026-11-24 11:00:00", &["a holiday: Guru Nanak Jayanti", "opens Wed 25 Nov"]),
        ] {
            let words = words(at);
            for said in said {
                assert!(words.contains(said), "{at}: `{said}` is not in: {words}");
            }
        }
    }

    #[test]
    fn every_holiday_of_the_calendar_has_its_name() {
        let calendar = Calendar::nse();
        let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        for date in first.iter_days().take(365) {
            assert_eq!(calendar.holiday(date).is_some(), holiday_name(date).is_some(), "{date}");
        }
    }

    #[test]
    fn a_dead_token_is_bad_news_in_market_hours_and_none_at_night() {
        assert!(symptom(State::Dead, Phase::Continuous).contains("every order is refused"));
        assert!(symptom(State::Dead, Phase::Closed).contains("nothing is lost"));
        assert!(symptom(State::Refused, Phase::Continuous).contains("no new token"));
        assert!(symptom(State::Unreachable, Phase::Continuous).contains("do not log in again"));
    }
}
