//! What the tasks of a running server share: the core behind one lock, the clock, and a queue to each socket.
//!
//! The contract with a stepped clock (brokers/src/time/stepped.rs), kept here and in [`socket`](super::socket):
//! * `frame_sent(client port)` is called for every text or binary frame, and for the server's closing of a socket,
//!   before it is on its way; `frame_received(client port)` for every text, binary or close frame of the client after
//!   all its effects are done. Pings and pongs are not counted, nor is the answer to a client's close.
//! * A [`Busy`] is held from the reading of the clock until every frame that follows from it is in the kernel's hands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nirantar_brokers::WireMessage;
use nirantar_brokers::time::{Busy, Clock, Timestamp};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::core::{CloseHow, KiteExchange, Output, SocketId};

/// Frames that may wait for a socket whose client does not read; one more and the socket is dropped.
const MAX_WAITING_FRAMES: usize = 4096;

/// One thing to do on a socket, with what holds the clock until it is done.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) what: ToSocket,
    pub(super) busy: Busy,
}

/// What to do on a socket.
#[derive(Debug)]
pub(super) enum ToSocket {
    Frame(WireMessage),
    Close(CloseHow),
}

/// What all tasks share.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Rung when the market pump must look again at when to wake.
    pub(super) look_again: Notify,
    tasks: Mutex<Option<JoinSet<()>>>,
}

#[derive(Debug)]
struct State {
    exchange: KiteExchange,
    queues: BTreeMap<SocketId, Queue>,
    /// Until when the pump sleeps; `None` for ever.
    pump_sleeps_until: Option<Timestamp>,
    /// Holds the clock between ringing for the pump and its having set its new alarm.
    ringing: Option<Busy>,
}

#[derive(Debug)]
struct Queue {
    port: u16,
    send: mpsc::Sender<Outgoing>,
}

impl Driver {
    pub(super) fn new(exchange: KiteExchange, clock: Arc<dyn Clock>) -> Self {
        let state = State { exchange, queues: BTreeMap::new(), pump_sleeps_until: None, ringing: None };
        Self { clock, state: Mutex::new(state), look_again: Notify::new(), tasks: Mutex::new(Some(JoinSet::new())) }
    }

    /// Does something with the exchange at the present market time, and sends what follows from it.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut KiteExchange, Timestamp) -> T) -> T {
        let busy = self.clock.busy();
        let mut state = self.lock();
        let now = self.clock.now().wall;
        let result = act(&mut state.exchange, now);
        self.settle(&mut state, now, &busy);
        result
    }

    /// Looks without doing anything.
    pub(super) fn look<T>(&self, look: impl FnOnce(&KiteExchange) -> T) -> T {
        look(&self.lock().exchange)
    }

    /// Opens a socket with its queue in one step, so that no frame is lost between the two.
    pub(super) fn open<E>(
        &self,
        port: u16,
        open: impl FnOnce(&mut KiteExchange, Timestamp) -> Result<SocketId, E>,
    ) -> Result<(SocketId, mpsc::Receiver<Outgoing>), E> {
        let busy = self.clock.busy();
        let mut state = self.lock();
        let now = self.clock.now().wall;
        let opened = open(&mut state.exchange, now).map(|socket| {
            let (send, receive) = mpsc::channel(MAX_WAITING_FRAMES);
            state.queues.insert(socket, Queue { port, send });
            (socket, receive)
        });
        self.settle(&mut state, now, &busy);
        opened
    }

    /// The socket is gone, by whomever.
    pub(super) fn closed(&self, socket: SocketId) {
        self.with(|exchange, now| exchange.closed(socket, now));
        self.lock().queues.remove(&socket);
    }

    /// Brings the market up to the present and sets the pump's alarm: the future resolves at the next thing to happen,
    /// `None` if nothing ever will by itself.
    pub(super) fn pump(&self) -> Option<std::pin::Pin<Box<dyn Future<Output = Busy> + Send>>> {
        let busy = self.clock.busy();
        let mut state = self.lock();
        let now = self.clock.now();
        state.exchange.advance(now.wall);
        self.deliver(&mut state, now.wall, &busy);
        state.pump_sleeps_until = state.exchange.next_wake();
        // The alarm stands before the clock is let go.
        let alarm = state.pump_sleeps_until.map(|at| self.clock.sleep_until(now.mono_at(at)));
        state.ringing = None;
        alarm
    }

    /// Runs a task until it ends or the server does.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(tasks) = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }

    /// Closes every socket for its client and takes all tasks away; none can be started any more.
    pub(super) fn stop(&self) -> Option<JoinSet<()>> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        for queue in std::mem::take(&mut self.lock().queues).into_values() {
            self.clock.frame_sent(queue.port);
        }
        tasks.abort_all();
        Some(tasks)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a bug of ours; the other sockets are served on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, state: &mut State, now: Timestamp, busy: &Busy) {
        self.deliver(state, now, busy);
        let next = state.exchange.next_wake();
        let sooner = match (next, state.pump_sleeps_until) {
            (Some(next), Some(alarm)) => next < alarm,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if sooner {
            state.ringing = Some(busy.clone());
            self.look_again.notify_one();
        }
    }

    fn deliver(&self, state: &mut State, now: Timestamp, busy: &Busy) {
        for output in state.exchange.drain() {
            let (socket, what) = match output {
                Output::Send { socket, message } => (socket, ToSocket::Frame(message)),
                Output::Close { socket, how } => (socket, ToSocket::Close(how)),
            };
            let Some(queue) = state.queues.get(&socket) else {
                continue;
            };
            let last = matches!(what, ToSocket::Close(_));
            self.clock.frame_sent(queue.port);
            let full = queue.send.try_send(Outgoing { what, busy: busy.clone() }).is_err();
            if full {
                // It did not leave: the drop of the connection is what the client will see, counted here as one.
                tracing::warn!(port = queue.port, "a client does not read; its socket is dropped");
                state.exchange.closed(socket, now);
            }
            if full || last {
                state.queues.remove(&socket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::Form;
    use nirantar_brokers::time::SteppedClock;

    use super::*;
    use crate::kite::Settings;
    use crate::prices::Walk;
    use crate::{Calendar, universe};

    #[test]
    fn a_client_that_does_not_read_loses_its_socket_and_no_memory_is_filled() {
        let start = Timestamp::parse_ist("2021-04-12 09:00:00").unwrap();
        let date = start.ist_date();
        let walk = Walk::new(1, &universe::with_start_prices(date), &Calendar::nse(), date);
        let exchange = KiteExchange::new(Settings::default(), Box::new(walk));
        let driver = Driver::new(exchange, Arc::new(SteppedClock::starting_at(start)));
        let token = driver.with(|exchange, now| exchange.log_in(now)).access_token;
        let query = Form::new().with("api_key", "nirantar").with("access_token", token.expose());
        let (socket, mut queue) = driver.open(4001, |exchange, now| exchange.open(&query, 4001, now)).unwrap();
        for _ in 0..=MAX_WAITING_FRAMES {
            driver.with(|exchange, now| exchange.message(socket, "nonsense", now));
        }
        assert!(driver.look(|exchange| exchange.log().sockets[0].closed.is_some()));
        let waiting = std::iter::from_fn(|| queue.try_recv().ok()).count();
        assert_eq!(waiting, MAX_WAITING_FRAMES);
        assert!(matches!(queue.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)), "the socket's task ends");
    }
}
