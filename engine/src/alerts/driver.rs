//! The tasks: one listens to each account's events, one feeds each sink.
//!
//! On a stepped clock a listener holds time still while it looks at an event, as every listener does, and a sink never
//! does: what it sends takes as long as it takes, in real time, while the market goes on. Only the waits between two
//! tries are by the clock. So a webhook that hangs cannot stop a market, nor an engine.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use nirantar_brokers::time::Clock;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::outbox::{Delivery, Next, Outbox};
use super::sinks::Sink;
use super::{Alert, BadSink, Watch};
use crate::config::AlertSettings;
use crate::engine::{EventMessage, Events, Redaction};

/// How long [`Alerts::stop`] takes at most, in real time.
const FLUSH: Duration = Duration::from_millis(1_500);
/// Events that are still looked at when a listener is told to stop.
const LAST_EVENTS: usize = 1 << 14;

/// An account whose events are listened to.
#[derive(Debug)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// What happens in its engine. Subscribe before the engine starts: a login may be due from the first moment on.
    pub events: Events,
    /// Its engine's secrets, which no alert shows.
    pub redaction: Redaction,
    /// The broker's own login page, where it has one ([`Engine::login_url`](crate::engine::Engine::login_url)): named
    /// beside a link that no phone can open.
    pub login_page: Option<String>,
}

/// Alerts under way. Dropping it ends them at once; [`Alerts::stop`] lets them finish.
pub struct Alerts {
    posts: Arc<Posts>,
    listeners: JoinSet<()>,
    senders: JoinSet<()>,
    stopping: watch::Sender<bool>,
}

/// Everything an alert passes on its way to the sinks.
struct Posts {
    clock: Arc<dyn Clock>,
    redactions: Vec<Redaction>,
    all: Vec<Arc<Post>>,
}

/// One sink and its outbox.
struct Post {
    sink: Sink,
    outbox: Mutex<Outbox>,
    /// Something was pushed, or there is no more time.
    news: Notify,
}

impl Alerts {
    /// Starts to listen to these accounts and to send what they tell to the sinks of the settings. Without sinks nothing
    /// runs. Must be called inside a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// [`BadSink`]: nothing runs.
    pub fn start(settings: &AlertSettings, accounts: Vec<Account>, clock: Arc<dyn Clock>) -> Result<Self, BadSink> {
        let post = |sink| Arc::new(Post { sink, outbox: Mutex::default(), news: Notify::new() });
        let all: Vec<Arc<Post>> = Sink::all(settings)?.into_iter().map(post).collect();
        let redactions = accounts.iter().map(|account| account.redaction.clone()).collect();
        let posts = Arc::new(Posts { clock, redactions, all });
        let (stopping, stop) = watch::channel(false);
        let (mut listeners, mut senders) = (JoinSet::new(), JoinSet::new());
        // With nobody to tell, listening would only cost time. Accounts dropped here hold no clock.
        if !posts.all.is_empty() {
            for account in accounts {
                listeners.spawn(listen(account, Arc::clone(&posts), stop.clone()));
            }
        }
        for post in &posts.all {
            senders.spawn(deliver(Arc::clone(post), Arc::clone(&posts.clock)));
        }
        Ok(Self { posts, listeners, senders, stopping })
    }

    /// Sends an alert that is no engine's event. It is not looked at for repetition.
    pub fn raise(&self, alert: &Alert) {
        self.posts.push(alert);
    }

    /// Stops: what was told so far is sent, as far as 1.5 s allow; what is left is counted in the log. Stop the engines
    /// first, so that their last words are among it.
    pub async fn stop(self) {
        self.stop_within(FLUSH).await;
    }

    /// The same within `span`, in real time.
    pub(crate) async fn stop_within(mut self, span: Duration) {
        // They may have ended by themselves, with their engines.
        let _ = self.stopping.send(true);
        let finish = async {
            while self.listeners.join_next().await.is_some() {}
            let now = self.posts.clock.now().mono;
            for post in &self.posts.all {
                post.outbox().close(now);
                post.news.notify_one();
            }
            while self.senders.join_next().await.is_some() {}
        };
        // Out of time or not: what is left is counted.
        let _ = tokio::time::timeout(span, finish).await;
        for post in &self.posts.all {
            let left = post.outbox().undelivered();
            if left > 0 {
                tracing::warn!("{left} alerts were not delivered to {}", post.sink.name());
            }
        }
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sinks: Vec<&str> = self.posts.all.iter().map(|post| post.sink.name()).collect();
        f.debug_struct("Alerts").field("sinks", &sinks).finish_non_exhaustive()
    }
}

impl Posts {
    /// Takes the secrets out of an alert and puts it into every outbox. Never waits.
    fn push(&self, alert: &Alert) {
        let clean = |text: &str| {
            let clean = self.redactions.iter().fold(text.to_owned(), |text, redaction| redaction.clean(&text));
            self.all.iter().fold(clean, |text, post| post.sink.clean(&text))
        };
        let alert = alert.cleaned(clean);
        let now = self.clock.now().mono;
        for post in &self.all {
            post.outbox().push(alert.clone(), now);
            post.news.notify_one();
        }
    }
}

impl Post {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens until the engine is gone or there is no more time.
async fn listen(account: Account, posts: Arc<Posts>, mut stop: watch::Receiver<bool>) {
    let Account { name, mut events, login_page, .. } = account;
    let mut watch = Watch::new(name).login_page(login_page);
    let mut hear = |message| {
        let now = posts.clock.now();
        let alert = match message {
            EventMessage::Event(event) => watch.on(&event, now),
            EventMessage::Lagged(count) => watch.missed(count, now),
        };
        if let Some(alert) = alert {
            posts.push(&alert);
        }
    };
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            message = events.next() => match message {
                Some(message) => hear(message),
                None => return,
            },
        }
    }
    for _ in 0..LAST_EVENTS {
        // What is there already; nothing more is waited for.
        match tokio::task::unconstrained(events.next()).now_or_never() {
            Some(Some(message)) => hear(message),
            Some(None) | None => return,
        }
    }
}

/// Sends what one outbox holds, one after the other, until it is closed and empty.
async fn deliver(post: Arc<Post>, clock: Arc<dyn Clock>) {
    loop {
        let (next, closing) = {
            let mut outbox = post.outbox();
            (outbox.next(clock.now()), outbox.is_closing())
        };
        match next {
            Next::Send(alert) => {
                let delivery = post.sink.send(&alert).await;
                report(post.sink.name(), &alert, &delivery);
                post.outbox().done(&delivery, clock.now().mono);
            }
            Next::Wait(at) => tokio::select! {
                // The clock goes on at once: nothing that is sent holds it still.
                _ = clock.sleep_until(at) => {}
                () = post.news.notified() => {}
            },
            Next::Idle if closing => return,
            Next::Idle => post.news.notified().await,
        }
    }
}

fn report(sink: &str, alert: &Alert, delivery: &Delivery) {
    let kind = alert.kind;
    match delivery {
        Delivery::Delivered => tracing::debug!("alert {kind} delivered to {sink}"),
        Delivery::Failed { words, .. } => tracing::warn!("alert {kind} could not be delivered to {sink}: {words}"),
        Delivery::Refused { words } => {
            tracing::error!("{sink} refuses the alert {kind}: {words}: check its settings under [alerts]");
        }
    }
}
