//! What stands where in a packet: the one table that the decoder and the encoder are both made from.
//!
//! Every packet is a row of big-endian 32-bit words (a level's last word holds a 16-bit number and 16 bits of padding),
//! and the shorter kinds are the beginnings of the longer ones. So decoding is turning words round, whatever the kind,
//! and what a word means is asked only when it is read.

use crate::BrokerToken;

/// The number a word holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Token,
    LastPrice,
    LastQuantity,
    AveragePrice,
    Volume,
    BuyQuantity,
    SellQuantity,
    Open,
    High,
    Low,
    Close,
    /// Last price less close, the one signed number of the wire. Written, and not read: it says nothing new.
    PriceChange,
    LastTradeTime,
    OpenInterest,
    OpenInterestHigh,
    OpenInterestLow,
    ExchangeTime,
}

use Field::*;

/// Of everything that is traded.
pub(super) const SHARE: [Field; 16] = [
    Token,
    LastPrice,
    LastQuantity,
    AveragePrice,
    Volume,
    BuyQuantity,
    SellQuantity,
    Open,
    High,
    Low,
    Close,
    LastTradeTime,
    OpenInterest,
    OpenInterestHigh,
    OpenInterestLow,
    ExchangeTime,
];

/// Of an index. The order of prices differs from a share's.
pub(super) const INDEX: [Field; 8] = [Token, LastPrice, High, Low, Open, Close, PriceChange, ExchangeTime];

/// The words of one level of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LevelField {
    Quantity,
    Price,
    /// In the upper half of its word; the lower is padding.
    Orders,
}

/// Of a level. Five bids stand behind the fields of a full packet, and five offers behind those; best first.
pub(super) const LEVEL: [LevelField; 3] = [LevelField::Quantity, LevelField::Price, LevelField::Orders];

/// Levels of one side of the book.
pub(super) const LEVELS: usize = 5;

/// Words of the longest packet.
pub(super) const WORDS: usize = Kind::Full.words();

/// The kinds of packet. The wire names none: the length decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 184 bytes: everything there is of something that is traded.
    Full,
    /// 44 bytes: the day's numbers of something that is traded.
    Quote,
    /// 8 bytes: last price.
    Ltp,
    /// 28 bytes: the day's numbers of an index.
    IndexQuote,
    /// 32 bytes: an index in full mode.
    IndexFull,
}

impl Kind {
    /// Every kind; the commonest first.
    pub const ALL: [Self; 5] = [Self::Full, Self::Quote, Self::Ltp, Self::IndexQuote, Self::IndexFull];

    /// Of the row it begins, and how many words of it there are.
    const fn row(self) -> (&'static [Field], usize) {
        match self {
            Self::Ltp => (&SHARE, 2),
            Self::Quote => (&SHARE, 11),
            Self::Full => (&SHARE, 16),
            Self::IndexQuote => (&INDEX, 7),
            Self::IndexFull => (&INDEX, 8),
        }
    }

    /// Its words in order, without the book.
    pub(super) fn fields(self) -> impl Iterator<Item = Field> {
        let (row, length) = self.row();
        row.iter().copied().take(length)
    }

    /// Whether the book follows its fields.
    pub(super) const fn has_book(self) -> bool {
        matches!(self, Self::Full)
    }

    /// How many words there are in all.
    pub(super) const fn words(self) -> usize {
        self.row().1 + if self.has_book() { 2 * LEVELS * LEVEL.len() } else { 0 }
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        4 * self.words()
    }

    /// The kind of a packet of that many bytes; `None` for a length that is no kind.
    #[must_use]
    pub fn of_length(bytes: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.bytes() == bytes)
    }
}

/// Where a field stands in a row. Past the end for one that is not there, which no packet can be read with.
pub(super) const fn place(row: &[Field], field: Field) -> usize {
    let mut at = 0;
    while at < row.len() {
        if row[at] as u8 == field as u8 {
            return at;
        }
        at += 1;
    }
    usize::MAX
}

/// Where a field stands in a level.
pub(super) const fn place_in_level(field: LevelField) -> usize {
    let mut at = 0;
    while at < LEVEL.len() {
        if LEVEL[at] as u8 == field as u8 {
            return at;
        }
        at += 1;
    }
    usize::MAX
}

/// What a price on the wire counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Hundredths of a rupee.
    Paise,
    /// Ten-thousandths, as a [`Price`](crate::Price) does.
    Units,
    /// Ten-millionths.
    Fine,
}

impl Scale {
    /// Of a segment: ten-millionths for CDS, ten-thousandths for BCD and NCO (Python and Rust SDKs; JS and Go divide NCO
    /// by 100), paise for the rest.
    pub(super) const fn of(token: BrokerToken) -> Self {
        match segment(token) {
            3 => Self::Fine,
            6 | 12 => Self::Units,
            _ => Self::Paise,
        }
    }

    /// How many of them make a rupee.
    pub(super) const fn divisor(self) -> i64 {
        match self {
            Self::Paise => 100,
            Self::Units => 10_000,
            Self::Fine => 10_000_000,
        }
    }

    /// In units of a [`Price`](crate::Price). Ten-millionths are rounded half up; all results are within 2^32 × 100.
    #[inline(always)]
    pub(super) const fn units(self, raw: u32) -> i64 {
        let raw = raw as i64;
        match self {
            Self::Paise => raw * 100,
            Self::Units => raw,
            Self::Fine => (raw + 500) / 1_000,
        }
    }

    /// The other way, rounded half away from zero; saturating.
    pub(super) const fn raw(self, units: i64) -> i64 {
        match self {
            Self::Paise => units.saturating_add(if units < 0 { -50 } else { 50 }) / 100,
            Self::Units => units,
            Self::Fine => units.saturating_mul(1_000),
        }
    }
}

/// The last byte of a token.
pub(super) const fn segment(token: BrokerToken) -> u32 {
    token.0 & 0xff
}
