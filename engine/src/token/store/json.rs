//! The JSON formats: the Kite guide's `broker-config.json`, and token files such as `data/upstox_tokens.json`.
//!
//! Reads the top level of one object, strictly (a key of ours twice is a flaw: programs differ in which one they take).
//! Writes only the bytes of an owned value, or adds a missing pair in the style of the last one; numbers of other
//! people's keys, odd spacing and nested objects are never touched, because they are never written anew.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use nirantar_brokers::{AccessToken, Secret};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::expiry::{self, Spelling};
use super::text::{BYTE_ORDER_MARK, line_end, line_of, splice, unfit};
use super::{Change, Flaw, Format, Stored};

/// A JSON object that holds one account's token; see [`broker_config`](Self::broker_config) and
/// [`tokens`](Self::tokens).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonFormat {
    dialect: Dialect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    BrokerConfig,
    Tokens,
}

impl JsonFormat {
    /// `broker-config.json` as the Kite guide has it: `api_secret` holds the *access token* (where an `access_token`
    /// that is not empty stands beside it, that one counts, and an `api_secret` of another value is left alone: it may
    /// be the app's own); `refresh_token`,
    /// `expires_at` or `token_expires_at`, `user_id` or `client_id`, `api_key`. The app's own secret is not in it.
    #[must_use]
    pub const fn broker_config() -> Self {
        Self { dialect: Dialect::BrokerConfig }
    }

    /// A token file: `access_token`, `refresh_token`, `expires_at` (or `token_expires_at`), `user_id`, `api_key`,
    /// `api_secret`, `redirect_uri`.
    #[must_use]
    pub const fn tokens() -> Self {
        Self { dialect: Dialect::Tokens }
    }

    /// The names of a field, the one that counts first.
    const fn names(self, field: Field) -> &'static [&'static str] {
        match (self.dialect, field) {
            (Dialect::BrokerConfig, Field::AccessToken) => &["access_token", "api_secret"],
            (Dialect::Tokens, Field::AccessToken) => &["access_token"],
            (_, Field::RefreshToken) => &["refresh_token"],
            (_, Field::ExpiresAt) => &["expires_at", "token_expires_at"],
            (Dialect::BrokerConfig, Field::UserId) => &["user_id", "client_id"],
            (Dialect::Tokens, Field::UserId) => &["user_id"],
            (_, Field::ApiKey) => &["api_key"],
            (Dialect::BrokerConfig, Field::ApiSecret) => &[],
            (Dialect::Tokens, Field::ApiSecret) => &["api_secret"],
            (Dialect::BrokerConfig, Field::RedirectUri) => &[],
            (Dialect::Tokens, Field::RedirectUri) => &["redirect_uri"],
        }
    }

    /// What a field is called where the file has none of its names.
    const fn new_name(self, field: Field) -> &'static str {
        match (self.dialect, field) {
            // Where the guide's program will look for it.
            (Dialect::BrokerConfig, Field::AccessToken) => "api_secret",
            (_, Field::AccessToken) => "access_token",
            (_, Field::RefreshToken) => "refresh_token",
            (_, Field::ExpiresAt) => "expires_at",
            (_, Field::UserId) => "user_id",
            (_, Field::ApiKey) => "api_key",
            (_, Field::ApiSecret) => "api_secret",
            (_, Field::RedirectUri) => "redirect_uri",
        }
    }

    fn document<'a>(&self, text: &'a str) -> Result<Document<'a>, Flaw> {
        let document = Document::parse(text)?;
        for name in Field::ALL.into_iter().flat_map(|field| self.names(field)) {
            if let Some(second) = document.pairs.iter().filter(|pair| pair.key == *name).nth(1) {
                return Err(second.flaw(text, "the key only once in the object"));
            }
        }
        Ok(document)
    }

    /// The first value of a field that is not empty.
    fn text_of(&self, text: &str, document: &Document<'_>, field: Field) -> Result<Option<Secret>, Flaw> {
        for name in self.names(field) {
            let Some(pair) = document.pair(name) else { continue };
            if let Some(value) = pair.read(text, field)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

impl Format for JsonFormat {
    fn parse(&self, text: &str) -> Result<Stored, Flaw> {
        let document = self.document(text)?;
        let read = |field| self.text_of(text, &document, field);
        let plain = |field| Ok(read(field)?.map(|value| value.expose().to_owned()));
        let mut stored = Stored {
            access_token: read(Field::AccessToken)?.map(|value| AccessToken::new(value.expose())),
            refresh_token: read(Field::RefreshToken)?,
            user_id: plain(Field::UserId)?,
            api_key: plain(Field::ApiKey)?,
            api_secret: read(Field::ApiSecret)?,
            redirect_uri: plain(Field::RedirectUri)?,
            ..Stored::default()
        };
        for pair in self.names(Field::ExpiresAt).iter().filter_map(|name| document.pair(name)) {
            let Some(value) = pair.read(text, Field::ExpiresAt)? else { continue };
            let (at, _) = expiry::parse(value.expose()).ok_or_else(|| pair.flaw(text, expiry::EXPECTED))?;
            // Of two, the earlier: the other may be left over from the token before.
            stored.expires_at = Some(stored.expires_at.map_or(at, |other| other.min(at)));
        }
        if self.dialect == Dialect::BrokerConfig {
            stored.base_url = document.pair("base_url").and_then(|pair| serde_json::from_str(pair.value).ok());
            stored.burst_size = document.pair("rate_limit").and_then(|pair| {
                let limit: serde_json::Value = serde_json::from_str(pair.value).ok()?;
                limit.get("burst_size")?.as_u64()
            });
        }
        Ok(stored)
    }

    fn apply(&self, text: &str, change: &Change) -> Result<String, Flaw> {
        let document = self.document(text)?;
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        let mut added: Vec<(&str, String)> = Vec::new();
        let values = [
            (Field::AccessToken, change.access_token.as_ref().map(AccessToken::expose)),
            (Field::RefreshToken, change.refresh_token.as_ref().map(Secret::expose)),
        ];
        for (field, value) in values {
            let Some(value) = value else { continue };
            if let Some(reason) = unfit(value) {
                let key = self.new_name(field).to_owned();
                return Err(Flaw::Unfit { key, reason });
            }
            let quoted = quote(value);
            let standing: Vec<_> = self.names(field).iter().filter_map(|name| document.pair(name)).collect();
            let before = self.text_of(text, &document, field)?;
            for pair in &standing {
                let stands = pair.read(text, field)?;
                // Beside an `access_token`, an `api_secret` with another value may be the app's own secret.
                if stands == before && stands.as_ref().map(Secret::expose) != Some(value) {
                    edits.push((pair.value_at.clone(), quoted.clone()));
                }
            }
            if standing.is_empty() {
                added.push((self.new_name(field), quoted));
            }
        }
        if let Some(at) = change.expires_at {
            let standing: Vec<_> = self.names(Field::ExpiresAt).iter().filter_map(|name| document.pair(name)).collect();
            for pair in &standing {
                let spelling = pair.read(text, Field::ExpiresAt)?.and_then(|value| expiry::parse(value.expose()));
                let written = spelling.map_or(Spelling::Rfc3339, |(_, spelling)| spelling).write(at);
                let bare = spelling.is_some() && !pair.value.starts_with('"');
                edits.push((pair.value_at.clone(), if bare { written } else { quote(&written) }));
            }
            if standing.is_empty() {
                added.push((self.new_name(Field::ExpiresAt), quote(&Spelling::Rfc3339.write(at))));
            }
        }
        if !added.is_empty() {
            edits.push(document.adding(text, &added));
        }
        Ok(splice(text, edits))
    }

    fn label(&self) -> String {
        "STORE".to_owned()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    AccessToken,
    RefreshToken,
    ExpiresAt,
    UserId,
    ApiKey,
    ApiSecret,
    RedirectUri,
}

impl Field {
    const ALL: [Self; 7] = [
        Self::AccessToken,
        Self::RefreshToken,
        Self::ExpiresAt,
        Self::UserId,
        Self::ApiKey,
        Self::ApiSecret,
        Self::RedirectUri,
    ];
}

/// The object of a text, by where its parts stand. No `Debug`: the values may be secrets.
struct Document<'a> {
    /// Just behind the opening brace. `None`: there is no object yet.
    open: Option<usize>,
    pairs: Vec<Pair<'a>>,
}

struct Pair<'a> {
    key: Cow<'a, str>,
    key_at: Range<usize>,
    /// As it stands in the text.
    value: &'a str,
    value_at: Range<usize>,
}

impl<'a> Document<'a> {
    fn parse(text: &'a str) -> Result<Self, Flaw> {
        let body = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        // A file that somebody made to be filled.
        if body.trim_matches([' ', '\t', '\n', '\r']).is_empty() {
            return Ok(Self { open: None, pairs: Vec::new() });
        }
        let mut parser = serde_json::Deserializer::from_str(body);
        let pairs = RawPairs::deserialize(&mut parser).and_then(|pairs| parser.end().map(|()| pairs));
        let RawPairs(pairs) = pairs.map_err(|error| {
            let expected = if error.is_data() { "a JSON object: { … }" } else { "JSON" };
            Flaw::Malformed { line: error.line().max(1), key: None, expected }
        })?;
        let at = |raw: &'a RawValue| {
            let start = raw.get().as_ptr().addr().saturating_sub(text.as_ptr().addr());
            start..start + raw.get().len()
        };
        let pairs = pairs.into_iter().map(|(key, value)| Pair {
            // A key that is no Unicode is nobody's we know.
            key: serde_json::from_str::<String>(key.get()).map_or(Cow::Borrowed(key.get()), Cow::Owned),
            key_at: at(key),
            value: value.get(),
            value_at: at(value),
        });
        Ok(Self { open: text.find('{').map(|brace| brace + 1), pairs: pairs.collect() })
    }

    fn pair(&self, key: &str) -> Option<&Pair<'a>> {
        self.pairs.iter().find(|pair| pair.key == key)
    }

    /// The edit that adds pairs behind the last one, with the blanks it has.
    fn adding(&self, text: &str, added: &[(&str, String)]) -> (Range<usize>, String) {
        let Some(open) = self.open else {
            let end = line_end(text);
            let lines: Vec<String> = added.iter().map(|(key, value)| format!("  \"{key}\": {value}")).collect();
            return (text.len()..text.len(), format!("{{{end}{}{end}}}{end}", lines.join(&format!(",{end}"))));
        };
        let Some((last, before)) = self.pairs.split_last() else {
            let inside = text.get(open..).and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
            let end = line_end(text);
            let gap = if inside.contains('\n') { format!("{end}  ") } else { String::new() };
            let between = if gap.is_empty() { ", ".to_owned() } else { format!(",{gap}") };
            let pairs: Vec<String> = added.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
            return (open..open, gap + &pairs.join(&between));
        };
        let behind = before.last().map_or(open, |pair| pair.value_at.end);
        let gap = text.get(behind..last.key_at.start).unwrap_or_default();
        let gap = gap.rsplit_once(',').map_or(gap, |(_, gap)| gap);
        let colon = text.get(last.key_at.end..last.value_at.start).unwrap_or(": ");
        // `{"one": 1}` says by its colon that it likes blanks.
        let gap = if gap.is_empty() && before.is_empty() && colon.ends_with(' ') { " " } else { gap };
        let pairs = added.iter().map(|(key, value)| format!(",{gap}\"{key}\"{colon}{value}"));
        (last.value_at.end..last.value_at.end, pairs.collect())
    }
}

impl Pair<'_> {
    fn flaw(&self, text: &str, expected: &'static str) -> Flaw {
        Flaw::Malformed { line: line_of(text, self.key_at.start), key: Some(self.key.to_string()), expected }
    }

    /// The value, if there is one: of a number its digits. Empty and `null` are none.
    fn read(&self, text: &str, field: Field) -> Result<Option<Secret>, Flaw> {
        if self.value == "null" {
            return Ok(None);
        }
        if self.value.starts_with('"') {
            let value: String = serde_json::from_str(self.value).map_err(|_| self.flaw(text, "Unicode text"))?;
            return Ok(Some(Secret::new(value)).filter(|value| !value.expose().trim().is_empty()));
        }
        let number = self.value.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        match field {
            Field::ExpiresAt | Field::UserId if number => Ok(Some(Secret::new(self.value))),
            Field::ExpiresAt => Err(self.flaw(text, expiry::EXPECTED)),
            _ => Err(self.flaw(text, "text in double quotes")),
        }
    }
}

fn quote(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

/// The pairs of an object, in order, repeats included, as they stand in the text.
struct RawPairs<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawPairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = RawPairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawPairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(RawPairs(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
