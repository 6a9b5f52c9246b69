//! The live feed at Kite (`kite.md` 4).

use super::wire::packet::{self, Part};
use super::wire::rest::BadRow;
use super::wire::text::{BadText, ClientText, ServerText};
use super::{Kite, reply, version_header};
use crate::{
    AccessToken, BrokerToken, Endpoint, Failure, Feed, FeedEvent, Form, HttpResponse, Mode, SocketRequest, Stamp,
    WireMessage,
};

impl Feed for Kite {
    fn connect(&self, token: &AccessToken) -> SocketRequest {
        let query = Form::new().with("api_key", &self.api_key).with_secret("access_token", token.secret());
        SocketRequest { path: "/".to_owned(), query, headers: version_header() }
    }

    /// 401 and 403 are suspect, never conclusive: a plan without market data is refused in the same words.
    fn refused(&self, response: &HttpResponse) -> Failure {
        reply::refused_by_code(Endpoint::Feed, response)
    }

    /// Subscribes, then says the mode: which one a bare subscription gets is not documented.
    fn subscribe(&self, instruments: &[BrokerToken], mode: Mode) -> Vec<WireMessage> {
        frames(instruments, |tokens| vec![ClientText::Subscribe(tokens.clone()), ClientText::Mode(mode, tokens)])
    }

    fn unsubscribe(&self, instruments: &[BrokerToken]) -> Vec<WireMessage> {
        frames(instruments, |tokens| vec![ClientText::Unsubscribe(tokens)])
    }

    fn decode(&self, message: &WireMessage, out: &mut Vec<FeedEvent>) {
        match message {
            WireMessage::Binary(frame) => packet::decode(frame, out),
            WireMessage::Text(text) => out.push(said(ServerText::decode(text))),
        }
    }

    fn decode_binary(&self, frame: &[u8], each: &mut dyn FnMut(FeedEvent)) {
        packet::visit(frame, |part| each(part.into()));
    }

    fn stamps(&self, frame: &[u8], each: &mut dyn FnMut(Stamp)) {
        packet::visit(frame, |part| {
            if let Part::Packet(packet) = part {
                each(packet.stamp());
            }
        });
    }
}

fn frames(instruments: &[BrokerToken], requests: impl FnOnce(Vec<BrokerToken>) -> Vec<ClientText>) -> Vec<WireMessage> {
    if instruments.is_empty() {
        return Vec::new();
    }
    requests(instruments.to_vec()).iter().map(|request| WireMessage::Text(request.encode())).collect()
}

fn said(text: Result<ServerText, BadText>) -> FeedEvent {
    match text {
        Ok(ServerText::Order(order)) => match order.to_row() {
            Ok(row) => FeedEvent::Order(Box::new(row)),
            Err(bad @ BadRow::Foreign { .. }) => FeedEvent::Notice(format!("order {}: {bad}", order.order_id)),
            Err(BadRow::Unreadable { .. }) => FeedEvent::Garbage("an order update that cannot be read"),
        },
        Ok(ServerText::Error(words)) => FeedEvent::Error(words),
        Ok(ServerText::Message(words)) => FeedEvent::Notice(words),
        Ok(ServerText::Other(kind)) => {
            FeedEvent::Notice(format!("a message of type `{}`", kind.chars().take(40).collect::<String>()))
        }
        Err(BadText::Order) => FeedEvent::Garbage("an order update that cannot be read"),
        Err(_) => FeedEvent::Garbage("a text frame that is no message"),
    }
}
