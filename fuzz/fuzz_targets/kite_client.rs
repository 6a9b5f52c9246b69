//! Kite as its client sees it: any body under any status is an answer or a failure, whatever was asked; a failure blames a
//! token only where one was sent; and any frame of the feed, text and binary, is events. The first byte picks the status, the
//! rest is the body.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use nirantar_brokers::kite::{App, Kite};
use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{
    AccessToken, Auth as _, Broker as _, BrokerOrderId, BrokerToken, Call, Cause, Exchange, FeedEvent, HttpResponse,
    InstrumentKey, Interval, Lost, Outcome, Refusal, Secret, Trading, WireMessage,
};

/// The statuses that Kite is known to answer with, and some that nobody does.
const STATUSES: [u16; 10] = [200, 302, 400, 401, 403, 405, 410, 429, 500, 502];
const LONGEST_MESSAGE: usize = 340;

/// Plays the answer and looks at what every call has to keep.
fn decoded<T>(call: Call<T>, response: &HttpResponse) -> Option<T> {
    let outcome: Outcome<T> = match call {
        Call::Ready(outcome) => outcome,
        Call::Http { decode, .. } => decode(Ok(response.clone())),
    };
    match outcome {
        Ok(answer) => {
            assert!((200..300).contains(&response.status), "a success under HTTP {}", response.status);
            Some(answer)
        }
        Err(failure) => {
            assert!(failure.message.chars().count() <= LONGEST_MESSAGE, "{failure}");
            None
        }
    }
}

fn of_session<T>(call: Call<T>, response: &HttpResponse) -> Option<T> {
    match call {
        Call::Http { decode, .. } => match decode(Ok(response.clone())) {
            Ok(answer) => Some(answer),
            Err(failure) => {
                assert!(
                    !matches!(failure.cause, Cause::Refused(_)),
                    "a session's refusal is laid on a token: {failure}"
                );
                None
            }
        },
        Call::Ready(outcome) => outcome.ok(),
    }
}

fn trading(kite: &Arc<dyn Trading>, response: &HttpResponse) {
    let (now, id) = (Now::default(), BrokerOrderId::new("151220000000000"));
    let reliance = [InstrumentKey::new(Exchange::Nse, "RELIANCE")];
    if let Some(number) = decoded(kite.cancel(&id, now), response) {
        assert!(!number.0.is_empty(), "an order without a number");
    }
    let rows = decoded(kite.book(now), response).into_iter().chain(decoded(kite.history(&id, now), response)).flatten();
    for row in rows {
        assert!(!row.order_id.0.is_empty(), "an order without a number");
    }
    decoded(kite.trades(now), response);
    decoded(kite.positions(now), response);
    decoded(kite.holdings(now), response);
    decoded(kite.margins(now), response);
    decoded(kite.quote(&reliance), response);
    decoded(kite.ohlc(&reliance), response);
    decoded(kite.ltp(&reliance), response);
    decoded(kite.instruments(None), response);
    let (from, to) = (Timestamp::from_unix_seconds(1_790_000_000), Timestamp::from_unix_seconds(1_790_100_000));
    decoded(kite.historical(BrokerToken(738_561), Interval::Minute, from, to), response);
    let failure = kite.refused(response);
    assert_ne!(failure.cause, Cause::Refused(Refusal::Conclusive), "a handshake proves a dead token");
    assert!(failure.message.chars().count() <= LONGEST_MESSAGE, "{failure}");
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else { return };
    let status = STATUSES[usize::from(*first) % STATUSES.len()];
    let retry_after = (status == 429).then_some(Duration::from_secs(3));
    let response = HttpResponse { status, content_type: None, retry_after, body: body.to_vec() };
    let kite = Kite::new(App::Approved, "key", Some(Secret::new("secret")));
    let code = Secret::new("code");
    for call in [kite.exchange(&code), kite.renew(&code)] {
        if let Some(session) = of_session(call, &response) {
            assert!(!session.access_token.expose().is_empty(), "a session without a token");
        }
    }
    of_session(kite.invalidate(&AccessToken::new("token")), &response);
    if let Some(owner) = decoded(kite.probe(), &response) {
        assert!(!owner.user_id.is_empty(), "nobody's token");
    }
    if let Call::Http { decode, .. } = kite.exchange(&code) {
        let lost = decode(Err(Lost::NoReply("cut".to_owned())));
        assert_eq!(lost.map_err(|failure| failure.cause).err(), Some(Cause::Unknown), "the code may be spent");
    }
    let Some(client) = kite.trading() else { return };
    trading(&client, &response);

    let mut said = Vec::new();
    client.decode(&WireMessage::Binary(body.to_vec()), &mut said);
    said.clear();
    if let Ok(text) = std::str::from_utf8(body) {
        client.decode(&WireMessage::Text(text.to_owned()), &mut said);
        assert_eq!(said.len(), 1, "a text frame says one thing");
        assert!(!matches!(said[0], FeedEvent::Tick(_) | FeedEvent::Heartbeat), "text is no tick");
    }
});
