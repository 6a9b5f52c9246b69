//! A port of this machine that a test names before anybody listens on it.

use std::net::SocketAddr;
use std::{fmt, io};

use tokio::net::TcpSocket;

/// A port of loopback, bound and not listened on for as long as this is held. The system gives it to nobody who asks for
/// any port, which it does with one that is closed again; a server that names it may listen on it, since both allow
/// the address to be used again, as tokio's listeners do. Until one listens, whoever connects is refused.
#[derive(Debug)]
pub struct ReservedPort {
    address: SocketAddr,
    _held: TcpSocket,
}

impl ReservedPort {
    /// One that was free.
    ///
    /// # Errors
    /// The system's, where it has none.
    pub fn new() -> io::Result<Self> {
        let held = TcpSocket::new_v4()?;
        held.set_reuseaddr(true)?;
        held.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        Ok(Self { address: held.local_addr()?, _held: held })
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Its number.
impl fmt::Display for ReservedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.port().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use tokio::net::TcpListener;

    use super::ReservedPort;

    #[tokio::test]
    async fn a_reserved_port_refuses_until_whoever_names_it_listens() -> std::io::Result<()> {
        let port = ReservedPort::new()?;
        let refused = TcpStream::connect(port.address()).map(|_| ()).map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
        let listener = TcpListener::bind(port.address()).await?;
        TcpStream::connect(port.address())?;
        assert_eq!(listener.local_addr()?, port.address());
        Ok(())
    }

    #[tokio::test]
    async fn nobody_who_asks_for_any_port_gets_a_reserved_one() -> std::io::Result<()> {
        let ports = (0..2_000).map(|_| ReservedPort::new()).collect::<Result<Vec<_>, _>>()?;
        let mut numbers: Vec<u16> = ports.iter().map(|port| port.address().port()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ports.len());
        for _ in 0..200 {
            let any = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
            assert!(!numbers.contains(&any.port()), "{any} was reserved");
        }
        Ok(())
    }
}
