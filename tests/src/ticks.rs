//! Frames of a market that never was: a hundred full packets each, changing as real ones do, the same wherever they are
//! made.

use nirantar_brokers::time::Timestamp;

/// Packets of a frame.
pub const PACKETS: usize = 100;
/// Bytes of a full packet.
const LENGTH: usize = 184;
/// Instruments there are.
const INSTRUMENTS: usize = 1_000;

/// Makes the frames, one after the other.
#[derive(Debug)]
pub struct Frames {
    packets: Vec<[u8; LENGTH]>,
    dice: Dice,
    frame: Vec<u8>,
    made: u64,
}

impl Default for Frames {
    fn default() -> Self {
        let mut dice = Dice(7);
        let packets = (0..INSTRUMENTS).map(|number| first(number as u32, &mut dice)).collect();
        Self { packets, dice, frame: Vec::with_capacity(2 + PACKETS * (LENGTH + 2)), made: 0 }
    }
}

impl Frames {
    /// The next frame and when it arrived: 200 a second.
    pub fn make(&mut self) -> (Timestamp, &[u8]) {
        self.frame.clear();
        self.frame.extend_from_slice(&(PACKETS as u16).to_be_bytes());
        // Most frames go through the instruments in order, a few jump.
        let jump = if self.dice.below(8) == 0 { self.dice.below(INSTRUMENTS as u64) } else { 0 };
        let from = (self.made * PACKETS as u64 + jump) as usize;
        let seconds = 1_795_000_000 + (self.made / 200) as u32;
        for offset in 0..PACKETS {
            let Some(packet) = self.packets.get_mut((from + offset) % INSTRUMENTS) else { continue };
            change(packet, seconds, &mut self.dice);
            self.frame.extend_from_slice(&(LENGTH as u16).to_be_bytes());
            self.frame.extend_from_slice(packet);
        }
        self.made += 1;
        let nanos = i64::from(1_795_000_000_u32) * 1_000_000_000 + self.made as i64 * 5_000_000;
        (Timestamp::from_nanos(nanos + self.dice.below(40_000) as i64), &self.frame)
    }
}

fn word(packet: &[u8; LENGTH], at: usize) -> u32 {
    packet.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn set(packet: &mut [u8; LENGTH], at: usize, value: u32) {
    if let Some(bytes) = packet.get_mut(at..at + 4) {
        bytes.copy_from_slice(&value.to_be_bytes());
    }
}

/// The layout of Kite's full packet: token, prices and quantities by words; ten levels of quantity, price and orders.
fn first(number: u32, dice: &mut Dice) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    set(&mut packet, 0, number * 256 + 1);
    let price = 10_000 + dice.below(500_000) as u32;
    for at in [4, 12, 28, 32, 36, 40] {
        set(&mut packet, at, price);
    }
    for level in 0..10_u32 {
        let at = 64 + 12 * level as usize;
        set(&mut packet, at, 1 + dice.below(5_000) as u32);
        let away = 5 * (level % 5 + 1);
        set(&mut packet, at + 4, if level < 5 { price - away } else { price + away });
        set(&mut packet, at + 8, (1 + dice.below(60) as u32) << 16);
    }
    packet
}

/// A trade: last price, quantity, average, volume, both sides, times, and about half of the book.
fn change(packet: &mut [u8; LENGTH], seconds: u32, dice: &mut Dice) {
    let (trade, book) = (dice.roll(), dice.roll());
    let quantity = 1 + (trade & 0xff) as u32;
    let step = 5 * ((trade >> 8) % 3) as u32;
    set(packet, 4, word(packet, 4) + step - 5);
    set(packet, 8, quantity);
    set(packet, 12, word(packet, 12) + (trade >> 16 & 1) as u32);
    set(packet, 16, word(packet, 16) + quantity);
    for (at, more) in [(20, trade >> 20 & 0x7ff), (24, trade >> 32 & 0x7ff)] {
        set(packet, at, (word(packet, at) + more as u32).saturating_sub(900));
    }
    set(packet, 44, seconds);
    set(packet, 60, seconds);
    for level in 0..10 {
        let at = 64 + 12 * level;
        if book >> level & 1 == 0 {
            let new = book.rotate_right(10 + 5 * level as u32);
            set(packet, at, 1 + (new & 0xfff) as u32);
            set(packet, at + 8, (1 + (new >> 12 & 0x3f) as u32) << 16);
        }
        if step != 5 {
            set(packet, at + 4, word(packet, at + 4) + step - 5);
        }
    }
}

/// Quick also in a debug build, where a cipher is not.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.roll() >> 8) % limit.max(1)
    }
}
