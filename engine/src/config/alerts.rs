//! `[alerts]`: who is told, beside the log, when a human is needed.

use nirantar_brokers::Secret;

/// Where alerts go. The log always gets them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertSettings {
    /// A Telegram bot.
    pub telegram: Option<TelegramSettings>,
    /// A URL that takes a JSON object by POST, from `NIRANTAR_WEBHOOK_URL`: such a URL is usually a secret itself.
    pub webhook: Option<Secret>,
}

/// A Telegram bot and the chat it writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelegramSettings {
    /// Root of the Bot API, without a slash at the end: `https://api.telegram.org`.
    pub url: String,
    /// The bot's token, from `NIRANTAR_TELEGRAM_TOKEN`.
    pub token: Secret,
    /// The chat's id.
    pub chat: String,
}
