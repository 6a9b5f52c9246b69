//! Everybody who reads a frame, for `decode` (how long it takes them) and `allocations` (how often they allocate).
//!
//! A peer does what its own client does with a frame in its hand, up to values with every field in them. Two of them keep
//! that to themselves, so their loop over the packets stands here and their parser does the rest.
//!
//! Ours comes in two forms. *Packets* are what a frame is read as: every number of the packet an integer in memory, a
//! price in the wire's own unit, scaled when it is read. *Ticks* are what a strategy gets: every price scaled, every
//! quantity and time a type of its own. The others' values compare with either: they scale to doubles.
//!
//! `as_tick_raw` of kiteticker-async-manager decodes nothing (each number is turned when it is read), so it is shown with
//! every number read once and nothing kept, and is no peer of the table.

use std::hint::black_box;

use nirantar_brokers::kite::wire::packet::{self, Packet, Part};

use crate::common::PACKETS;

pub(crate) type Read = fn(&[u8], &mut Scratch);

const PAGE: usize = 4096;

/// Memory that a reader may keep between frames.
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    packets: Vec<Packet>,
}

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) read: Read,
}

pub(crate) const MEMCPY: usize = 0;
pub(crate) const VECTOR: usize = 1;
pub(crate) const PORTABLE: usize = 2;
/// Where the peers of others begin, and the official one among them.
pub(crate) const OTHERS: usize = 6;
pub(crate) const OFFICIAL: usize = 9;

pub(crate) const PEERS: [Peer; 11] = [
    Peer { name: "memcpy of the frame", read: memcpy },
    Peer { name: "nirantar, packets", read: |frame, _| packet::visit(frame, see) },
    Peer { name: "nirantar, packets, portable path", read: |frame, _| packet::visit_portable(frame, see) },
    Peer { name: "nirantar, packets kept in a buffer", read: kept },
    Peer { name: "nirantar, ticks", read: |frame, _| packet::visit(frame, see_tick) },
    Peer { name: "nirantar, ticks, portable path", read: |frame, _| packet::visit_portable(frame, see_tick) },
    Peer { name: "kiteticker-async 0.1.1", read: kiteticker_async },
    Peer { name: "kiteticker-async-manager 0.4.1", read: kiteticker_async_manager },
    Peer { name: "kiteconnect-rs 0.1.0", read: kiteconnect_rs },
    Peer { name: "kiteconnect 1.0.1 (official)", read: official },
    Peer { name: "(raw view of the manager, all read once)", read: raw_view },
];

impl Scratch {
    pub(crate) fn for_frame(frame: &[u8]) -> Self {
        Self { bytes: vec![0; frame.len() + PAGE], packets: Vec::with_capacity(PACKETS) }
    }
}

/// To where it is quickest: half a page off the frame's own place in its page, so that no load waits for a store that
/// only looks as if it were to the same place.
fn memcpy(frame: &[u8], scratch: &mut Scratch) {
    let apart = (frame.as_ptr().addr() + PAGE / 2).wrapping_sub(scratch.bytes.as_ptr().addr()) % PAGE;
    if let Some(to) = scratch.bytes[apart..].get_mut(..frame.len()) {
        to.copy_from_slice(frame);
    }
    black_box(&scratch.bytes);
}

/// The whole packet has to be in memory here.
#[inline(always)]
fn see(part: Part<&Packet>) {
    if let Part::Packet(packet) = part {
        black_box(packet);
    }
}

#[inline(always)]
fn see_tick(part: Part<&Packet>) {
    if let Part::Packet(packet) = part {
        black_box(&packet.tick());
    }
}

fn kept(frame: &[u8], scratch: &mut Scratch) {
    scratch.packets.clear();
    packet::visit(frame, |part| {
        if let Part::Packet(packet) = part {
            scratch.packets.push(*packet);
        }
    });
    black_box(&scratch.packets);
}

/// The bodies of a frame's packets, as the two clients that keep their own loop to themselves cut them.
fn bodies(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (count, mut rest) = frame.split_at(2);
    (0..u16::from_be_bytes([count[0], count[1]])).map(move |_| {
        let (length, behind) = rest.split_at(2);
        let (body, behind) = behind.split_at(usize::from(u16::from_be_bytes([length[0], length[1]])));
        rest = behind;
        body
    })
}

fn kiteticker_async(frame: &[u8], _: &mut Scratch) {
    use kiteticker_async::{Tick, TickMessage};
    let mut ticks = Vec::new();
    for body in bodies(frame) {
        let content = Tick::from(body);
        ticks.push(TickMessage { instrument_token: content.instrument_token, content });
    }
    black_box(&ticks);
}

fn kiteticker_async_manager(frame: &[u8], _: &mut Scratch) {
    use kiteticker_async_manager::{Tick, TickMessage};
    let mut ticks = Vec::with_capacity(PACKETS);
    for body in bodies(frame) {
        if let Ok(content) = Tick::try_from(body) {
            ticks.push(TickMessage { instrument_token: content.instrument_token, content });
        }
    }
    black_box(&ticks);
}

fn kiteconnect_rs(frame: &[u8], _: &mut Scratch) {
    black_box(kiteconnect_rs::Ticker::parse_binary(frame).is_ok_and(|ticks| black_box(&ticks).len() == PACKETS));
}

fn official(frame: &[u8], _: &mut Scratch) {
    black_box(&kiteconnect::ticker::parse_binary(frame));
}

fn raw_view(frame: &[u8], _: &mut Scratch) {
    for body in bodies(frame) {
        let Some(view) = kiteticker_async_manager::as_tick_raw(body) else { continue };
        let head = view.header;
        black_box([
            head.instrument_token.get(),
            head.last_traded_qty.get(),
            head.volume_traded.get(),
            head.total_buy_qty.get(),
            head.total_sell_qty.get(),
            head.last_traded_ts.get(),
            head.oi.get(),
            head.oi_day_high.get(),
            head.oi_day_low.get(),
            head.exchange_ts.get(),
        ]);
        black_box([head.last_price.get(), head.avg_traded_price.get()]);
        let prices: [[u8; 4]; 4] = std::array::from_fn(|at| std::array::from_fn(|byte| head.ohlc_be[4 * at + byte]));
        black_box(prices.map(i32::from_be_bytes));
        for level in view.depth.buy.iter().chain(&view.depth.sell) {
            black_box((level.qty.get(), level.price.get(), level.orders.get()));
        }
    }
}
