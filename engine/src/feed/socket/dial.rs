//! From an address to an open WebSocket, or to the words of the server that refused it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use nirantar_brokers::{HttpResponse, SocketRequest};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response};

use super::websocket::WebSocket;
use super::{FeedAddress, handshake};

/// The most of a refusal's body that is read, in bytes.
const MAX_REFUSAL: usize = 64 * 1024;
/// How long the rest of a refusal is waited for. Wall time.
const REFUSAL: Duration = Duration::from_secs(1);

/// The bytes below the WebSocket.
pub(super) type Stream = MaybeTlsStream<TcpStream>;

/// Why there is no WebSocket.
#[derive(Debug)]
pub(super) enum NoSocket {
    /// The server answered something else than an upgrade.
    Refused(HttpResponse),
    /// No whole answer.
    Lost(String),
}

/// The TCP connection. `within` is wall time, as for everything here.
pub(super) async fn connect(address: &FeedAddress, within: Duration) -> Result<TcpStream, NoSocket> {
    let dialling = TcpStream::connect((address.host(), address.port()));
    let stream = match timeout(within, dialling).await {
        Ok(connected) => connected.map_err(|error| lost("could not connect", error))?,
        Err(_) => return Err(NoSocket::Lost(format!("no connection within {} s", within.as_secs()))),
    };
    stream.set_nodelay(true).map_err(|error| lost("could not connect", error))?;
    Ok(stream)
}

/// The encryption, where the address asks for it.
pub(super) async fn encrypt(address: &FeedAddress, stream: TcpStream) -> Result<Stream, NoSocket> {
    if !address.is_secure() {
        return Ok(MaybeTlsStream::Plain(stream));
    }
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    // The provider is named, not looked up: a second one anywhere in the program would make the look-up panic.
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| lost("TLS", error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(address.host().to_owned()).map_err(|error| lost("TLS", error))?;
    let encrypted = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    Ok(MaybeTlsStream::Rustls(encrypted.map_err(|error| lost("TLS", error))?))
}

/// The WebSocket handshake. The stream is borrowed, so that the rest of a refusal can be read from it.
pub(super) async fn upgrade<'a>(
    address: &FeedAddress,
    request: &SocketRequest,
    stream: &'a mut Stream,
) -> Result<WebSocket<&'a mut Stream>, tungstenite::Error> {
    let request = client_request(address, request)?;
    let first = handshake::shake(&request, stream).await?;
    Ok(WebSocket::new(stream, &first))
}

/// Reads what a server had to say instead of an upgrade, as far as it is said and bounded.
pub(super) async fn refusal(response: Response, stream: &mut (impl AsyncRead + Unpin)) -> HttpResponse {
    let (head, tail) = response.into_parts();
    let header = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let declared = header(CONTENT_LENGTH).and_then(|length| length.trim().parse::<usize>().ok());
    let wanted = declared.unwrap_or(MAX_REFUSAL).min(MAX_REFUSAL);
    let mut body = tail.unwrap_or_default();
    body.truncate(wanted);
    let rest = u64::try_from(wanted - body.len()).unwrap_or(0);
    let mut bounded = stream.take(rest);
    // However it ends, what was read is what is known.
    let _ = timeout(REFUSAL, bounded.read_to_end(&mut body)).await;
    HttpResponse {
        status: head.status.as_u16(),
        content_type: header(CONTENT_TYPE).map(str::to_owned),
        retry_after: header(RETRY_AFTER).and_then(|wait| wait.trim().parse().ok()).map(Duration::from_secs),
        body,
    }
}

fn client_request(address: &FeedAddress, request: &SocketRequest) -> Result<Request, tungstenite::Error> {
    let no_url = tungstenite::Error::Url(tungstenite::error::UrlError::NoPathOrQuery);
    let mut client = address.url(request).ok_or(no_url)?.into_client_request()?;
    for (name, value) in &request.headers {
        let mut value = HeaderValue::from_str(value)?;
        value.set_sensitive(true);
        client.headers_mut().insert(HeaderName::from_bytes(name.as_bytes())?, value);
    }
    Ok(client)
}

fn lost(what: &str, error: impl std::fmt::Display) -> NoSocket {
    NoSocket::Lost(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn head(length: Option<usize>, tail: &[u8]) -> Response {
        let mut response = Response::new(Some(tail.to_vec()));
        *response.status_mut() = http::StatusCode::FORBIDDEN;
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }

    #[tokio::test]
    async fn a_refusal_is_read_to_its_end_though_it_comes_in_pieces() {
        let (mut server, mut client) = tokio::io::duplex(64);
        server.write_all(b"failed.").await.unwrap();
        let answer = refusal(head(Some(22), b"Authentication "), &mut client).await;
        assert_eq!((answer.status, answer.body.as_slice()), (403, b"Authentication failed.".as_slice()));
    }

    #[tokio::test]
    async fn a_refusal_without_end_is_cut_off() {
        for declared in [None, Some(usize::MAX)] {
            let answer = refusal(head(declared, b"x"), &mut tokio::io::repeat(b'y')).await;
            assert_eq!(answer.body.len(), MAX_REFUSAL, "{declared:?}");
        }
        let answer = refusal(head(Some(3), b"12345"), &mut tokio::io::repeat(b'y')).await;
        assert_eq!(answer.body, b"123");
    }
}
