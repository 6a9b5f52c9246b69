//! The client's half of the WebSocket handshake (RFC 6455, section 4.1), on a stream.
//!
//! tungstenite has one, which writes the whole request to the log at TRACE; a broker's feed carries the token in its
//! address, and no secret may appear in anything that is written (rule 10). So the request is sent here, and
//! tungstenite only reads the answer and takes over after it.

use std::io;

use http::StatusCode;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError, UrlError};
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Sends the request and reads the answer's head. Returns what came after it: the first bytes of the WebSocket.
///
/// # Errors
/// `Error::Http`: the server answered something else than an upgrade; the response holds the beginning of its body.
/// Everything else: no answer, or one that makes no sense.
pub(super) async fn shake(
    request: &Request,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<Vec<u8>, Error> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    stream.write_all(&written(request)?).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    let (head, response) = loop {
        if let Some(parsed) = Response::try_parse(&answer)? {
            break parsed;
        }
        if answer.len() >= MAX_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the head of the answer has no end").into());
        }
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(ProtocolError::HandshakeIncomplete.into());
        }
    };
    let tail = answer.split_off(head.min(answer.len()));
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::Http(Box::new(response.map(|_| Some(tail)))));
    }
    let headers = response.headers();
    if !has_token(headers, &UPGRADE, "websocket") {
        return Err(ProtocolError::MissingUpgradeWebSocketHeader.into());
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(ProtocolError::MissingConnectionUpgradeHeader.into());
    }
    let accepted = headers.get(SEC_WEBSOCKET_ACCEPT).and_then(|accept| accept.to_str().ok());
    if key.is_none() || accepted != key.as_deref() {
        return Err(ProtocolError::SecWebSocketAcceptKeyMismatch.into());
    }
    Ok(tail)
}

/// The request as it goes over the wire. Some servers know these headers in one spelling only.
fn written(request: &Request) -> Result<Vec<u8>, Error> {
    let target = request.uri().path_and_query().ok_or(UrlError::NoPathOrQuery)?;
    let mut bytes = format!("GET {target} HTTP/1.1\r\n").into_bytes();
    for (name, value) in request.headers() {
        let spelled = match name {
            name if *name == HOST => "Host",
            name if *name == CONNECTION => "Connection",
            name if *name == UPGRADE => "Upgrade",
            name if *name == SEC_WEBSOCKET_KEY => "Sec-WebSocket-Key",
            name if *name == http::header::SEC_WEBSOCKET_VERSION => "Sec-WebSocket-Version",
            other => other.as_str(),
        };
        bytes.extend_from_slice(spelled.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let listed = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

    use super::*;

    fn request() -> Request {
        "ws://127.0.0.1:9/?access_token=t".into_client_request().unwrap()
    }

    /// What becomes of a handshake that is answered like that; `{key}` stands for the right key.
    async fn answered(answer: &str) -> (Result<Vec<u8>, Error>, String) {
        let request = request();
        let key = derive_accept_key(request.headers()[SEC_WEBSOCKET_KEY].as_bytes());
        let (mut client, mut server) = tokio::io::duplex(MAX_HEAD * 4);
        server.write_all(answer.replace("{key}", &key).as_bytes()).await.unwrap();
        server.shutdown().await.unwrap();
        let result = shake(&request, &mut client).await;
        drop(client);
        let mut sent = String::new();
        server.read_to_string(&mut sent).await.unwrap();
        (result, sent)
    }

    const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Accept: {key}\r\n\r\n";

    #[tokio::test]
    async fn an_upgrade_hands_on_the_first_frame_that_came_with_it() {
        let (tail, sent) = answered(&format!("{UPGRADED}frame")).await;
        assert_eq!(tail.unwrap(), b"frame");
        assert!(sent.starts_with("GET /?access_token=t HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains("\r\nSec-WebSocket-Version: 13\r\n") && sent.ends_with("\r\n\r\n"), "{sent}");
    }

    #[tokio::test]
    async fn a_refusal_brings_the_beginning_of_its_body() {
        let (refused, _) = answered("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
        let Err(Error::Http(response)) = refused else { panic!("{refused:?}") };
        assert_eq!((response.status().as_u16(), response.body().as_deref()), (403, Some(b"no".as_slice())));
    }

    #[tokio::test]
    async fn an_answer_of_somebody_else_is_no_upgrade() {
        for answer in [
            UPGRADED.replace("{key}", "another"),
            UPGRADED.replace("WebSocket", "h2c"),
            UPGRADED.replace(", Upgrade", ""),
            "HTTP/1.1 101 Switching".to_owned(),
            "SSH-2.0-OpenSSH\r\n".to_owned(),
            String::new(),
            format!("HTTP/1.1 101 X\r\nA: {}", "x".repeat(MAX_HEAD * 2)),
        ] {
            let shown: String = answer.chars().take(60).collect();
            assert!(answered(&answer).await.0.is_err(), "{shown}");
        }
    }
}
