//! The login and approval server: where a human logs in, a broker's notifier posts, and a monitor asks.
//!
//! | path | what |
//! |---|---|
//! | `GET /api/auth/login[/ACCOUNT]` | sends the browser to the broker, with a state of ten minutes |
//! | `GET /api/auth/callback[/ACCOUNT]`, `/callback`, `/api/{zerodha,kite,fyers,upstox}/callback` | finishes the login |
//! | `POST /api/auth/notify/PATH` | a token granted on the phone, on an unguessable path |
//! | `GET /api/system/health` | how every account stands, as JSON; 503 when trading should be possible and is not |
//! | `GET /live` | 200 while the process runs |
//! | `POST /api/operator/ACCOUNT/{renew,confirm,resume,reduce-only,halt}` | the operator's word |
//! | `POST /api/operator/ACCOUNT/acknowledge/ORDER` | an operator has looked at an order that was unresolved |
//!
//! Promises: a redirect without a state of ours is not used (it may be somebody else's login); a state works once; status
//! and operator routes need the shared secret where there is one, and answer this machine alone where there is none; no
//! page, reply or log shows a code, a state or a token; a login whose browser goes away is finished all the same.
//!
//! This module is a driver; `states`, `access` and `pages` are values.

mod access;
mod health;
mod operator;
mod pages;
mod proof;
mod routes;
mod states;

#[cfg(feature = "cli")]
pub(crate) use routes::CALLBACKS;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nirantar_brokers::time::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

use crate::config::ServerSettings;
use crate::engine::Engine;
use access::Access;
use states::LoginStates;

/// Connections served at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 64;
/// How long a client may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long `stop` waits for logins that are being exchanged: their codes are spent, their tokens not yet stored.
const LAST_LOGINS: Duration = Duration::from_millis(1_500);
/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address is reachable from other machines, and nobody has said that it may be.
    #[error("{listen} can be reached from other machines: listen on 127.0.0.1, or say so with beyond_loopback = true")]
    BeyondLoopback {
        /// Where it should listen.
        listen: SocketAddr,
    },
    /// Other machines reach it, and there is no secret.
    #[error(
        "{listen} can be reached from other machines: set NIRANTAR_SERVER_SECRET, which status and operator routes ask for"
    )]
    NoSecret {
        /// Where it should listen.
        listen: SocketAddr,
    },
    /// A secret can be guessed.
    #[error("{name} is too short to be safe: use at least 16 characters, like those of `openssl rand -hex 16`")]
    Guessable {
        /// The variable that holds it.
        name: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {reason}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// The system's words.
        reason: io::Error,
    },
}

/// A running server. Dropping it ends it at once.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    login: String,
    accepting: JoinHandle<()>,
    stopping: Arc<Notify>,
    app: Arc<App>,
}

impl Server {
    /// Listens, for these accounts. Must be called inside a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`ServerError`]: nothing listens.
    pub async fn start(
        settings: &ServerSettings,
        engines: Vec<Arc<Engine>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ServerError> {
        check(settings)?;
        let listen = settings.listen;
        let failed = |reason| ServerError::Listen { listen, reason };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let login = settings.login_links(address).unwrap_or_default();
        let app = Arc::new(App {
            engines,
            clock,
            login: login.clone(),
            access: Access::new(settings),
            notifier: settings.notifier.clone(),
            states: Arc::default(),
            exchanges: Mutex::default(),
        });
        let stopping = Arc::new(Notify::new());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&app), Arc::clone(&stopping)));
        Ok(Self { address, login, accepting, stopping, app })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Where a human logs in, as a browser must be sent to it: the one account, or a page to choose from. It holds no
    /// secret, and works again and again.
    #[must_use]
    pub fn login_page(&self) -> &str {
        &self.login
    }

    /// Stops: takes no more connections, ends those there are, and waits up to 1.5 s for logins that are being exchanged.
    pub async fn stop(mut self) {
        self.stopping.notify_one();
        // It has nothing to say but that it has ended.
        let _ = (&mut self.accepting).await;
        let mut last = std::mem::take(&mut *self.app.exchanges.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async { while last.join_next().await.is_some() {} };
        // By real time: whoever ends a process waits by it.
        if tokio::time::timeout(LAST_LOGINS, all).await.is_err() {
            tracing::warn!("a login was still being exchanged and was given up: its token may be lost, log in again");
        }
        last.shutdown().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What every route works with.
#[derive(Debug)]
struct App {
    engines: Vec<Arc<Engine>>,
    clock: Arc<dyn Clock>,
    /// The login page, as a browser must be sent to it.
    login: String,
    access: Access,
    notifier: Option<nirantar_brokers::Secret>,
    states: Arc<Mutex<LoginStates>>,
    /// Logins between code and token: they go on when the browser goes away.
    exchanges: Mutex<JoinSet<()>>,
}

impl App {
    /// The account of that name, with its number.
    fn account(&self, name: &str) -> Option<(usize, &Arc<Engine>)> {
        self.engines.iter().enumerate().find(|(_, engine)| engine.name() == name)
    }
}

fn check(settings: &ServerSettings) -> Result<(), ServerError> {
    let listen = settings.listen;
    if !listen.ip().to_canonical().is_loopback() {
        if !settings.beyond_loopback {
            return Err(ServerError::BeyondLoopback { listen });
        }
        if settings.secret.as_ref().is_none_or(nirantar_brokers::Secret::is_empty) {
            return Err(ServerError::NoSecret { listen });
        }
    }
    let secrets = [("NIRANTAR_SERVER_SECRET", &settings.secret), ("NIRANTAR_NOTIFIER_PATH", &settings.notifier)];
    for (name, secret) in secrets {
        if secret.as_ref().is_some_and(|secret| secret.expose().chars().count() < crate::config::SHORTEST_SECRET) {
            return Err(ServerError::Guessable { name });
        }
    }
    Ok(())
}

/// Serves until told to stop. When it returns no connection holds an engine any more.
async fn accept(listener: TcpListener, app: Arc<App>, stopping: Arc<Notify>) {
    // Dropped with this task, which ends them.
    let mut connections = JoinSet::new();
    tokio::select! {
        () = stopping.notified() => {}
        () = accept_into(&mut connections, &listener, app) => {}
    }
    drop(listener);
    connections.shutdown().await;
}

async fn accept_into(connections: &mut JoinSet<()>, listener: &TcpListener, app: Arc<App>) {
    let router = routes::router(app);
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                let router = router.clone();
                connections.spawn(async move {
                    serve(stream, peer, router).await;
                    drop(place);
                });
            }
            // Out of file descriptors, most likely: give the machine a moment instead of spinning.
            Err(error) => {
                tracing::warn!(%error, "the login server cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves one TCP connection until it ends.
async fn serve(stream: TcpStream, peer: SocketAddr, router: axum::Router) {
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        routes.call(request.map(axum::body::Body::new))
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%peer, %error, "a connection to the login server ended badly");
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::Secret;

    use super::*;

    fn refused(change: impl FnOnce(&mut ServerSettings)) -> String {
        let mut settings = ServerSettings::default();
        change(&mut settings);
        check(&settings).unwrap_err().to_string()
    }

    #[test]
    fn it_refuses_to_be_reached_from_elsewhere_without_being_told_so_and_given_a_secret() {
        let wide = "0.0.0.0:5000".parse().unwrap();
        assert!(refused(|settings| settings.listen = wide).contains("beyond_loopback = true"));
        for secret in [None, Some(Secret::new(""))] {
            let words = refused(|settings| {
                (settings.listen, settings.beyond_loopback, settings.secret) = (wide, true, secret);
            });
            assert!(words.contains("NIRANTAR_SERVER_SECRET"), "{words}");
        }
        let good = ServerSettings {
            listen: wide,
            beyond_loopback: true,
            secret: Some(Secret::new("0123456789abcdef")),
            ..ServerSettings::default()
        };
        assert!(check(&good).is_ok());
        assert!(check(&ServerSettings::default()).is_ok());
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused_without_being_shown() {
        let words = refused(|settings| settings.notifier = Some(Secret::new("hunter2")));
        assert!(words.contains("NIRANTAR_NOTIFIER_PATH") && !words.contains("hunter2"), "{words}");
        let words = refused(|settings| settings.secret = Some(Secret::new("hunter2")));
        assert!(words.contains("NIRANTAR_SERVER_SECRET"), "{words}");
    }
}
