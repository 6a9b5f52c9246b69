//! Session, profile and funds (`kite.md` 1.2, 1.3 and 2.9).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::json;
use crate::time::Timestamp;
use crate::{AccessToken, Money, Secret};

/// `lowercase_hex(SHA-256(api_key + token + api_secret))`: proves that whoever sends a request token (or a refresh
/// token) knows the app's secret.
#[must_use]
pub fn checksum(api_key: &str, token: &Secret, api_secret: &Secret) -> String {
    let mut hash = Sha256::new();
    for part in [api_key, token.expose(), api_secret.expose()] {
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whose account it is, and what it may trade.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the field names are Kite's own, described in kite.md 1.2")]
pub struct Profile {
    pub user_id: String,
    #[serde(default)]
    pub user_name: String,
    #[serde(default)]
    pub user_shortname: String,
    #[serde(default)]
    pub email: String,
    #[serde(default)]
    pub user_type: String,
    #[serde(default)]
    pub broker: String,
    #[serde(default)]
    pub exchanges: Vec<String>,
    #[serde(default)]
    pub products: Vec<String>,
    #[serde(default)]
    pub order_types: Vec<String>,
    #[serde(default)]
    pub avatar_url: Option<String>,
    #[serde(default)]
    pub meta: Option<Meta>,
}

/// The demat account's consent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Empty, `consent` or `physical`.
    #[serde(default)]
    pub demat_consent: String,
}

impl Profile {
    /// The profile of an individual who may trade everything this engine trades.
    #[must_use]
    pub fn individual(user_id: &str, user_name: &str) -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            user_id: user_id.to_owned(),
            user_name: user_name.to_owned(),
            user_shortname: user_name.split(' ').next().unwrap_or_default().to_owned(),
            email: String::new(),
            user_type: "individual".to_owned(),
            broker: "ZERODHA".to_owned(),
            exchanges: words(&["NSE", "BSE", "NFO", "BFO", "CDS", "BCD", "MCX"]),
            products: words(&["CNC", "NRML", "MIS"]),
            order_types: words(&["MARKET", "LIMIT", "SL", "SL-M"]),
            avatar_url: None,
            meta: Some(Meta::default()),
        }
    }

    /// What the probe wants to know.
    #[must_use]
    pub fn to_profile(self) -> crate::Profile {
        crate::Profile { user_id: self.user_id, user_name: self.user_name }
    }
}

/// What a login yields. `Debug` shows no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the field names are Kite's own, described in kite.md 1.2")]
pub struct Session {
    #[serde(flatten)]
    pub profile: Profile,
    #[serde(default)]
    pub api_key: String,
    #[serde(with = "json::secret")]
    pub access_token: Secret,
    #[serde(default = "nothing", with = "json::secret")]
    pub public_token: Secret,
    #[serde(default = "nothing", with = "json::secret")]
    pub enctoken: Secret,
    /// Empty for individuals.
    #[serde(default = "nothing", with = "json::secret")]
    pub refresh_token: Secret,
    #[serde(default)]
    pub silo: String,
    /// Python's SDK insists on it.
    #[serde(default, with = "json::time")]
    pub login_time: Option<Timestamp>,
}

impl Session {
    /// The session in our words. `None` without a token or an owner. A refresh token of `""` is none.
    #[must_use]
    pub fn to_session(self) -> Option<crate::Session> {
        session(self.profile.user_id, self.access_token, self.refresh_token, self.login_time)
    }
}

/// What a renewal yields. `Debug` shows no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// Whose it is.
    pub user_id: String,
    /// The new token.
    #[serde(with = "json::secret")]
    pub access_token: Secret,
    /// For the next renewal.
    #[serde(default = "nothing", with = "json::secret")]
    pub refresh_token: Secret,
}

impl Renewed {
    /// The session in our words. `None` without a token or an owner.
    #[must_use]
    pub fn to_session(self) -> Option<crate::Session> {
        session(self.user_id, self.access_token, self.refresh_token, None)
    }
}

/// Funds of both segments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Margins {
    /// Equity and derivatives.
    pub equity: Segment,
    /// Commodities.
    #[serde(default)]
    pub commodity: Option<Segment>,
}

/// Funds of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Whether it may be traded.
    #[serde(default)]
    pub enabled: bool,
    /// What new orders may use.
    #[serde(with = "json::money")]
    pub net: Money,
    /// What there is.
    #[serde(default)]
    pub available: Available,
    /// What is in use.
    #[serde(default)]
    pub utilised: Utilised,
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the field names are Kite's own, described in kite.md 2.9")]
pub struct Available {
    #[serde(with = "json::money")]
    pub adhoc_margin: Money,
    #[serde(with = "json::money")]
    pub cash: Money,
    #[serde(with = "json::money")]
    pub opening_balance: Money,
    #[serde(with = "json::money")]
    pub live_balance: Money,
    #[serde(with = "json::money")]
    pub collateral: Money,
    #[serde(with = "json::money")]
    pub intraday_payin: Money,
}

/// What is in use; `debits` is the sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the field names are Kite's own, described in kite.md 2.9")]
pub struct Utilised {
    #[serde(with = "json::money")]
    pub debits: Money,
    #[serde(with = "json::money")]
    pub exposure: Money,
    #[serde(with = "json::money")]
    pub m2m_realised: Money,
    #[serde(with = "json::money")]
    pub m2m_unrealised: Money,
    #[serde(with = "json::money")]
    pub option_premium: Money,
    #[serde(with = "json::money")]
    pub payout: Money,
    #[serde(with = "json::money")]
    pub span: Money,
    #[serde(with = "json::money")]
    pub holding_sales: Money,
    #[serde(with = "json::money")]
    pub turnover: Money,
    #[serde(with = "json::money")]
    pub liquid_collateral: Money,
    #[serde(with = "json::money")]
    pub stock_collateral: Money,
    #[serde(with = "json::money")]
    pub delivery: Money,
}

impl Segment {
    /// A segment with these funds.
    #[must_use]
    pub fn from_margins(margins: &crate::Margins) -> Self {
        Self {
            enabled: true,
            net: margins.available,
            available: Available {
                cash: margins.cash,
                opening_balance: margins.cash,
                live_balance: margins.available,
                ..Available::default()
            },
            utilised: Utilised { debits: margins.used, ..Utilised::default() },
        }
    }

    /// The funds in our words.
    #[must_use]
    pub fn to_margins(&self) -> crate::Margins {
        crate::Margins { cash: self.available.cash, available: self.net, used: self.utilised.debits }
    }
}

fn session(user_id: String, token: Secret, refresh: Secret, login_time: Option<Timestamp>) -> Option<crate::Session> {
    if user_id.is_empty() || token.is_empty() {
        return None;
    }
    Some(crate::Session {
        user_id,
        access_token: AccessToken::new(token.expose()),
        refresh_token: (!refresh.is_empty()).then_some(refresh),
        login_time,
        expires_at: None,
    })
}

fn nothing() -> Secret {
    Secret::new("")
}
