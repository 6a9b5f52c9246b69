//! `[alerts]`: who is told, beside the log, when a human is needed.

use nirantar_brokers::Secret;

use super::credentials::Outside;
use super::error::{ConfigError, Problem};
use super::lifecycle::is_redirect as is_sendable;
use super::table::Table;
use super::url::{RootKind, RootUrl};

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

/// Telegram's own service.
const TELEGRAM: &str = "https://api.telegram.org";

/// Reads `[alerts]` and the two variables. A webhook needs no table: its variable is the whole of it.
pub(super) fn read(root: &Table<'_, '_>, outside: &dyn Outside) -> Result<AlertSettings, ConfigError> {
    const KEYS: [&str; 2] = ["telegram_chat", "telegram_url"];
    const SECRETS: &str =
        "secrets stand in the environment, never here: NIRANTAR_TELEGRAM_TOKEN and NIRANTAR_WEBHOOK_URL";
    const CHAT: &str = "the chat's id in quotes, like \"123456789\" or \"@my_alerts\"";
    const URL: &str = "an https:// URL of scheme, host and port only, like \"https://api.telegram.org\" (http:// for a \
                       loopback host only)";
    let variable = |name: &str| outside.variable(name).filter(|text| !text.trim().is_empty());
    let table = root.table("alerts", &KEYS, SECRETS)?;
    let telegram = match &table {
        None => None,
        Some(table) => {
            let url = table.text("telegram_url", URL)?.map(|text| {
                let url = RootUrl::parse(text.value, RootKind::Http).map(|url| url.as_str().to_owned());
                url.ok_or_else(|| table.invalid_as("telegram_url", text.offset, URL, "something else"))
            });
            let url = url.transpose()?.unwrap_or_else(|| TELEGRAM.to_owned());
            let chat = table.parsed("telegram_chat", CHAT, |text| is_chat(text).then(|| text.to_owned()))?;
            let invalid = |problem| table.error("NIRANTAR_TELEGRAM_TOKEN", problem);
            match (chat, variable("NIRANTAR_TELEGRAM_TOKEN")) {
                (None, _) => None,
                (Some(_), None) => {
                    let why = "telegram_chat is written to by a bot, and this is its token (from @BotFather)";
                    return Err(invalid(Problem::VariableMissing { why }));
                }
                (Some(_), Some(token)) if !is_bot_token(&token) => {
                    let expected = "a bot's token as @BotFather gives it, like 123456:ABC-DEF";
                    return Err(invalid(Problem::VariableInvalid { expected }));
                }
                (Some(chat), Some(token)) => Some(TelegramSettings { url, token: Secret::new(token), chat }),
            }
        }
    };
    let webhook = variable("NIRANTAR_WEBHOOK_URL");
    if webhook.as_deref().is_some_and(|url| !is_sendable(url)) {
        let expected = "an https:// URL (http:// for a loopback host only)";
        return Err(root.error("NIRANTAR_WEBHOOK_URL", Problem::VariableInvalid { expected }));
    }
    Ok(AlertSettings { telegram, webhook: webhook.map(Secret::new) })
}

fn is_chat(text: &str) -> bool {
    let id = text.strip_prefix(['-', '@']).unwrap_or(text);
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// It becomes a part of a path: nothing may be in it that ends one.
fn is_bot_token(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_'))
}
