//! The feed's sockets, and the ticks that come out of them.

use std::sync::Arc;

use nirantar_brokers::time::{Busy, Now};
use nirantar_brokers::{Book, Detail, FeedEvent, InstrumentKey, Quantity, Tick, WireMessage};

use super::task::Task;
use crate::core::{Event, Input};
use crate::feed::{
    self, Admission, Events, SocketEvent, SocketHandle, SocketId, SocketNews, SocketPlan, TickEvent, open_socket,
};
use crate::session::Generation;

impl Task {
    pub(super) fn feed(&mut self, output: feed::Output) {
        match output {
            feed::Output::Connect { socket, generation } => self.connect(socket, generation),
            feed::Output::Disconnect { socket } => {
                self.state.sockets.remove(&socket);
            }
            feed::Output::Subscribe { socket, instruments, mode } => {
                if let Some(tap) = &self.tap {
                    let named = instruments.iter().filter_map(|token| Some((*token, self.core.name(*token)?)));
                    named.for_each(|(token, instrument)| tap.name(token, Arc::clone(instrument)));
                }
                let frames = self.trading.as_ref().map(|broker| broker.subscribe(&instruments, mode));
                self.send_frames(socket, frames.unwrap_or_default());
            }
            feed::Output::Unsubscribe { socket, instruments } => {
                let frames = self.trading.as_ref().map(|broker| broker.unsubscribe(&instruments));
                self.send_frames(socket, frames.unwrap_or_default());
            }
            feed::Output::Failed { failures, retry_in, why } => {
                let wait = retry_in.as_secs_f32();
                tracing::warn!("the feed's connection failed ({failures} lately): {why}; trying again in {wait:.1} s");
            }
            feed::Output::FeedRefused(refusal) => {
                let words = format!(
                    "the token is good but the feed refuses it: {}; check the market data plan. Orders are not affected",
                    refusal.failure
                );
                self.announce(Event::Alarm { at: self.clock.now().wall, words });
            }
            // The core keeps these for itself.
            feed::Output::Probe { .. }
            | feed::Output::Gap(_)
            | feed::Output::Status(_)
            | feed::Output::LeftOut { .. } => {}
        }
    }

    pub(super) fn socket(&mut self, event: SocketEvent) -> Busy {
        let SocketEvent { socket, port, received, what, busy } = event;
        match what {
            SocketNews::Connected => self.tell(Input::Feed(feed::Input::Connected { socket })),
            SocketNews::Refused(failure) => self.tell(Input::Feed(feed::Input::Refused { socket, failure })),
            SocketNews::Lost(why) => self.tell(Input::Feed(feed::Input::Lost { socket, why })),
            SocketNews::Closed => self.tell(Input::Feed(feed::Input::Closed { socket })),
            SocketNews::Events { events, .. } if self.core.accepts(socket) => {
                // The supervisor judges every tick before it hears of the frame, which may close a socket.
                let mut judged = std::mem::take(&mut self.state.judged);
                events.stamps(|stamp| judged.push(self.core.admit(socket, stamp)));
                let first_packet = self.number(socket, judged.len());
                self.tell(Input::Feed(feed::Input::Frame { socket, ticks: judged.len() }));
                self.hand_on(port, received, first_packet, events, &judged);
                judged.clear();
                self.state.judged = judged;
            }
            SocketNews::Events { .. } => {}
        }
        busy
    }

    /// What a quote call says of instruments after a gap.
    pub(super) fn hand_on_snapshot(&mut self, generation: Generation, ticks: Vec<(InstrumentKey, Tick)>) {
        let received = self.clock.now();
        for (instrument, tick) in ticks {
            let origin = Origin { source: feed::Source::Snapshot { generation }, socket_port: 0, packet: 0, received };
            self.hand_on_tick(Arc::new(instrument), tick, origin);
        }
    }

    fn connect(&mut self, socket: SocketId, generation: Generation) {
        let Some(broker) = self.trading.clone() else { return };
        let snapshot = self.cell.load();
        let Some(token) = snapshot.token.as_ref().filter(|_| snapshot.generation == generation) else {
            tracing::error!("no token of {generation} to open the feed with");
            return;
        };
        let plan = SocketPlan {
            socket,
            address: self.feed_address.clone(),
            request: broker.connect(token.token()),
            codec: broker,
            redactor: self.vault.redactor(),
            clock: Arc::clone(&self.clock),
            io_timeout: SocketPlan::IO_TIMEOUT,
            tap: self.tap.clone(),
        };
        let handle = open_socket(plan, self.socket_events.0.clone());
        self.state.sockets.insert(socket, Carrier { handle, packets: 0 });
    }

    /// Counts so many ticks of a socket, and says the number of the first of them.
    fn number(&mut self, socket: SocketId, ticks: usize) -> u64 {
        let Some(carrier) = self.state.sockets.get_mut(&socket) else { return 0 };
        let first = carrier.packets + 1;
        carrier.packets += ticks as u64;
        first
    }

    fn send_frames(&mut self, socket: SocketId, frames: Vec<WireMessage>) {
        let sent = self.state.sockets.get(&socket).map(|carrier| carrier.handle.send(frames));
        if let Some(Err(error)) = sent {
            self.state.sockets.remove(&socket);
            self.tell(Input::Feed(feed::Input::Lost { socket, why: error.to_string() }));
        }
    }

    fn hand_on(&mut self, port: u16, received: Now, first_packet: u64, events: Events, judged: &[Admission]) {
        let generation = self.core.standing().route.generation;
        let mut packets = (first_packet..).zip(judged);
        events.visit(|event| match event {
            FeedEvent::Tick(tick) => {
                let Some((packet, judged)) = packets.next() else { return };
                let source = match judged {
                    Admission::Tick => feed::Source::Live { generation },
                    Admission::Snapshot => feed::Source::Snapshot { generation },
                    Admission::Drop => return,
                };
                if let Some(instrument) = self.core.name(tick.token).map(Arc::clone) {
                    self.hand_on_tick(instrument, tick, Origin { source, socket_port: port, packet, received });
                }
            }
            FeedEvent::Order(row) => self.tell(Input::Update { book: Book::Live, row: row.into() }),
            FeedEvent::Notice(words) => tracing::info!("the broker says: {words}"),
            FeedEvent::Error(words) => tracing::warn!("the broker's feed complains: {words}"),
            FeedEvent::Garbage(what) => tracing::warn!("bytes on the feed that make no sense: {what}"),
            FeedEvent::Heartbeat => {}
        });
        self.drain_paper();
    }

    /// To the paper exchange, to whoever judges by prices, and to the strategies.
    pub(super) fn hand_on_tick(&mut self, instrument: Arc<InstrumentKey>, tick: Tick, origin: Origin) {
        let Origin { source, socket_port, packet, received } = origin;
        let (trades, depth) = match &tick.detail {
            Detail::Full(quote, full) => (quote.trades, full.depth.as_ref()),
            Detail::Quote(quote) => (quote.trades, None),
            Detail::Ltp => (None, None),
        };
        let volume = trades.map_or(Quantity::ZERO, |trades| trades.volume);
        self.paper.tick(&instrument, tick.last_price, volume, depth, received.wall);
        self.mark_tick(&instrument, tick.last_price, received.wall);
        self.hub.publish(TickEvent { tick, instrument, source, socket_port, packet, received });
    }
}

/// A socket, and how many ticks have come on it.
#[derive(Debug)]
pub(super) struct Carrier {
    handle: SocketHandle,
    packets: u64,
}

/// Where a tick comes from.
pub(super) struct Origin {
    pub(super) source: feed::Source,
    pub(super) socket_port: u16,
    pub(super) packet: u64,
    pub(super) received: Now,
}
