//! The server itself: a listener, a task for each connection, and the market pump.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use nirantar_brokers::time::{Busy, Clock};
use tokio::net::TcpListener;

use super::control::Control;
use super::core::KiteExchange;
use super::driver::Driver;
use super::{Settings, web};
use crate::prices::PriceSource;
use crate::rest::serve;

/// A Kite Connect server on a socket: REST, login page and WebSocket on one origin.
///
/// Its market time is the clock's wall time: prices are played, orders matched, tokens killed and rate limits counted
/// by it. The clock may be a stepped one, see [`Clock`] for what its users owe it. Dropping the server ends it at once.
#[derive(Debug)]
pub struct KiteServer {
    address: SocketAddr,
    driver: Arc<Driver>,
}

impl KiteServer {
    /// Listens on `listen` (port 0 takes a free one) and plays `prices`. Prices before the clock's present time have
    /// happened already when this returns.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on, like a port in use.
    pub async fn start(
        listen: SocketAddr,
        settings: Settings,
        clock: Arc<dyn Clock>,
        prices: Box<dyn PriceSource + Send>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let driver = Arc::new(Driver::new(KiteExchange::new(settings, prices), clock));
        let alarm = driver.pump();
        driver.spawn(pump(Arc::clone(&driver), alarm));
        driver.spawn(accept(listener, Arc::clone(&driver)));
        Ok(Self { address, driver })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    /// A handle that makes things go wrong, and reads the log.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.driver))
    }

    /// Ends every connection and waits until all is torn down.
    pub async fn shutdown(self) {
        if let Some(mut tasks) = self.driver.stop() {
            while tasks.join_next().await.is_some() {}
        }
    }
}

impl Drop for KiteServer {
    fn drop(&mut self) {
        drop(self.driver.stop());
    }
}

async fn accept(listener: TcpListener, driver: Arc<Driver>) {
    let router = web::router(Arc::clone(&driver));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => driver.spawn(serve(stream, peer, router.clone())),
            // Out of file descriptors, most likely: give the machine a moment instead of spinning.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

type Alarm = Option<std::pin::Pin<Box<dyn Future<Output = Busy> + Send>>>;

/// Plays the market: wakes for the next price, order expiry, heartbeat or death of a token, whichever is first.
async fn pump(driver: Arc<Driver>, mut alarm: Alarm) {
    loop {
        let _busy = match alarm {
            Some(sleep) => tokio::select! {
                busy = sleep => busy,
                () = driver.look_again.notified() => Busy::idle(),
            },
            None => {
                driver.look_again.notified().await;
                Busy::idle()
            }
        };
        alarm = driver.pump();
    }
}
