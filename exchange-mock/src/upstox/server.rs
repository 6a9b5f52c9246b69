//! The server itself: the core on a socket, and the task that posts notices.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use nirantar_brokers::Secret;
use nirantar_brokers::time::{Busy, Clock};
use tokio::sync::mpsc;

use super::{Control, NotifierUrl, Settings, UpstoxCore, notifier};
use crate::rest::{Handle, RestServer};

/// Notices that may wait for a notifier that is slow.
const MOST_WAITING: usize = 64;

/// An Upstox server on a socket, its time the wall time of any clock. Dropping it ends it at once.
#[derive(Debug)]
pub struct UpstoxServer {
    rest: RestServer<UpstoxCore>,
}

/// A notice to post. It holds a stepped clock still until the notifier has answered.
struct Waiting {
    to: NotifierUrl,
    notice: Secret,
    _busy: Busy,
}

impl UpstoxServer {
    /// Listens on `listen`; port 0 takes a free one. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on, like a port in use.
    pub async fn start(listen: SocketAddr, settings: Settings, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let rest = RestServer::start(listen, UpstoxCore::new(settings), Arc::clone(&clock)).await?;
        let (send, receive) = mpsc::channel(MOST_WAITING);
        let handle = rest.handle();
        handle.with(|core, _| {
            core.post = Some(Box::new(move |to, notice| {
                if send.try_send(Waiting { to, notice, _busy: clock.busy() }).is_err() {
                    tracing::warn!("too many notices wait for the notifier: one is dropped");
                }
            }));
        });
        handle.spawn(post(receive, handle.clone()));
        Ok(Self { rest })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.rest.addr()
    }

    /// A handle that throws switches, grants approvals, and reads the log.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(self.rest.handle())
    }

    /// Ends every connection and waits until all is torn down.
    pub async fn shutdown(self) {
        self.rest.shutdown().await;
    }
}

async fn post(mut waiting: mpsc::Receiver<Waiting>, handle: Handle<UpstoxCore>) {
    while let Some(next) = waiting.recv().await {
        let taken = notifier::deliver(&next.to, &next.notice).await;
        handle.with(|core, _| core.log.notices.count(taken));
    }
}
