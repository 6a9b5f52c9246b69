//! The server itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use nirantar_brokers::time::Clock;

use super::{Control, FyersExchange, Settings};
use crate::rest::RestServer;

/// A FYERS server on a socket: login page and REST on one origin. Its time is the clock's wall time, also in the `Date`
/// of every response; the clock may be a stepped one. Dropping the server ends it at once.
#[derive(Debug)]
pub struct FyersServer(RestServer<FyersExchange>);

impl FyersServer {
    /// Listens on `listen` (port 0 takes a free one).
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on, like a port in use.
    pub async fn start(listen: SocketAddr, settings: Settings, clock: Arc<dyn Clock>) -> io::Result<Self> {
        RestServer::start(listen, FyersExchange::new(settings), clock).await.map(Self)
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// A handle that makes things go wrong, and reads the log.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(self.0.handle())
    }

    /// Ends every connection and waits until all is torn down.
    pub async fn shutdown(self) {
        self.0.shutdown().await;
    }
}
