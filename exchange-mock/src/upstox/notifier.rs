//! Posting a notice to the app's notifier: one plain HTTP request, as the broker makes it (unsigned, once; whether the
//! real one tries again is not published).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use nirantar_brokers::{Fingerprint, Secret};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a notifier may take, in real time whatever the clock.
const PATIENCE: Duration = Duration::from_secs(10);

/// The address of a notifier: `http://HOST[:PORT]/PATH`. Its path is all that guards it, so it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct NotifierUrl {
    /// `HOST:PORT`.
    authority: String,
    path: Secret,
}

/// A text that is no [`NotifierUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the address of a notifier on plain HTTP, like http://127.0.0.1:8080/notify/PATH")]
pub struct BadNotifier;

impl NotifierUrl {
    /// The whole address.
    pub(super) fn expose(&self) -> String {
        format!("http://{}{}", self.authority, self.path.expose())
    }
}

impl FromStr for NotifierUrl {
    type Err = BadNotifier;

    fn from_str(text: &str) -> Result<Self, BadNotifier> {
        // Printable ASCII alone: nothing that could end a header.
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        let rest = text.strip_prefix("http://").filter(|_| plain).ok_or(BadNotifier)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        if host.is_empty() || authority.contains('@') {
            return Err(BadNotifier);
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority, path: Secret::new(path) })
    }
}

impl fmt::Debug for NotifierUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NotifierUrl({}, path {})", self.authority, Fingerprint::of(self.path.expose()))
    }
}

/// Posts the notice and says whether the notifier took it with a 2xx.
pub(super) async fn deliver(to: &NotifierUrl, notice: &Secret) -> bool {
    let attempt = tokio::time::timeout(PATIENCE, post(to, notice)).await;
    match attempt {
        Ok(Ok(status)) if (200..300).contains(&status) => true,
        Ok(Ok(status)) => {
            tracing::warn!(notifier = ?to, status, "the notifier did not take the notice");
            false
        }
        Ok(Err(error)) => {
            tracing::warn!(notifier = ?to, %error, "the notifier cannot be reached");
            false
        }
        Err(_) => {
            tracing::warn!(notifier = ?to, "the notifier does not answer");
            false
        }
    }
}

/// The status of the answer; 0 for one that is no HTTP.
async fn post(to: &NotifierUrl, notice: &Secret) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(&to.authority).await?;
    let body = notice.expose();
    let request = Secret::new(format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        to.path.expose(),
        to.authority,
        body.len(),
    ));
    stream.write_all(request.expose().as_bytes()).await?;
    // The status is in the first line; what follows is of no interest.
    let mut head = [0; 16];
    let mut filled = 0;
    while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest).await? {
            0 => break,
            read => filled += read,
        }
    }
    let line = String::from_utf8_lossy(&head);
    let status = line.strip_prefix("HTTP/1.").and_then(|line| line.get(2..5)).and_then(|status| status.parse().ok());
    Ok(status.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notifiers_address_is_read_whole_and_printed_without_its_path() {
        let url: NotifierUrl = "http://127.0.0.1:8080/n/unguessable?a=1".parse().unwrap();
        assert_eq!(url.expose(), "http://127.0.0.1:8080/n/unguessable?a=1");
        assert!(!format!("{url:?}").contains("unguessable"));
        assert_eq!("http://localhost".parse::<NotifierUrl>().unwrap().expose(), "http://localhost:80/");
        for bad in
            ["", "https://h/", "http://", "http://:80/", "http://u@h/", "http://h/\r\nX: y", "http://h/é", "h:1/"]
        {
            assert_eq!(bad.parse::<NotifierUrl>(), Err(BadNotifier), "{bad}");
        }
    }
}
