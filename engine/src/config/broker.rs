//! The brokers by name, and where each is when the file does not say.

/// A broker by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BrokerName {
    /// Zerodha's Kite Connect: `kite`.
    Kite,
    /// FYERS: `fyers`. Its sessions are kept; orders and feed are not spoken yet.
    Fyers,
    /// Upstox: `upstox`. Its sessions are kept; orders and feed are not spoken yet.
    Upstox,
}

impl BrokerName {
    /// Every broker that can be configured.
    pub const ALL: [Self; 3] = [Self::Kite, Self::Fyers, Self::Upstox];

    /// The name in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kite => "kite",
            Self::Fyers => "fyers",
            Self::Upstox => "upstox",
        }
    }

    /// REST root, feed root, login root and key prefix where the file gives none.
    pub(super) const fn defaults(self) -> Defaults {
        match self {
            // kite.md, section 0.
            Self::Kite => Defaults {
                rest_url: "https://api.kite.trade",
                feed_url: "wss://ws.kite.trade",
                login_url: Some("https://kite.zerodha.com"),
                key_prefix: "ZERODHA",
            },
            // fyers.md, section 0.
            Self::Fyers => Defaults {
                rest_url: "https://api-t1.fyers.in",
                feed_url: "wss://socket.fyers.in",
                login_url: None,
                key_prefix: "FYERS",
            },
            // upstox.md, section 1.
            Self::Upstox => Defaults {
                rest_url: "https://api.upstox.com",
                feed_url: "wss://api.upstox.com",
                login_url: None,
                key_prefix: "UPSTOX",
            },
        }
    }
}

/// What stands where the file says nothing.
pub(super) struct Defaults {
    pub(super) rest_url: &'static str,
    pub(super) feed_url: &'static str,
    /// `None`: the login page is on the REST service's own root.
    pub(super) login_url: Option<&'static str>,
    pub(super) key_prefix: &'static str,
}
