//! The gate: the last step before the socket (rule 4).
//!
//! An order is routed by the snapshot somebody read a while ago. At the gate it counts itself in, reads the cell once
//! more, and goes on only if generation and venue are still those it was routed by. A change of venue is
//!
//! ```text
//! cell.publish(blocked);      // from here on nobody new passes under the old venue
//! gate.drained().await;       // and now nobody is inside who did
//! ```
//!
//! Promise: after `publish` returned and [`Gate::drained`] resolved (or [`Gate::inside`] gave 0), no [`Pass`] with an
//! earlier venue or generation exists, and none will ever be given.
//!
//! # Why it holds
//! It is the store-buffering pattern: the order writes the count and then reads the cell, the publisher writes the cell
//! and then reads the count, and the one outcome to rule out is that both read the old value. Acquire and release allow
//! that outcome; a sequentially consistent fence between each side's write and read forbids it, whatever the orderings
//! inside the cell. If the order's fence comes first, the publisher sees it inside and waits; if the publisher's comes
//! first, the order's second read sees the new snapshot and turns back. That is why the count comes *before* the second
//! read, and why the fence stands in [`Gate::inside`], after whatever its caller has published. Counting out releases
//! and the count is read with acquire, so all that was done under a pass happened before the drain was seen.
//!
//! `tests/tests/rule_4_loom.rs` compiles this very file over loom's primitives and tries every interleaving.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::sync::{AtomicUsize, Mutex, Ordering, PoisonError, fence};
use super::{Generation, Snapshot, Venue};

/// Where the gate reads the current snapshot: the token cell, or a test's model of it.
pub trait Published {
    /// What was published last. Needs no ordering beyond making the snapshot itself visible: the gate has its fences.
    fn current(&self) -> Arc<Snapshot>;
}

/// The gate. Clones are handles to the same gate.
pub struct Gate<P> {
    shared: Arc<Shared<P>>,
}

impl<P: Published> Gate<P> {
    /// The gate before that cell's venue. One per cell: two would not see each other's orders.
    #[must_use]
    pub fn new(cell: Arc<P>) -> Self {
        Self { shared: Arc::new(Shared { cell, inside: AtomicUsize::new(0), waiting: Mutex::new(Vec::new()) }) }
    }

    /// Asks to send, now, what was routed by a snapshot of that generation and venue. The venue may be any: paper
    /// orders pass the gate as live ones do. Hold the pass for as long as
    /// the bytes may still leave.
    ///
    /// # Errors
    /// [`Stale`], with the snapshot that holds now: route again by it. Nothing may be sent.
    pub fn enter(&self, generation: Generation, venue: Venue) -> Result<Pass<P>, Stale> {
        let counted = CountedIn::new(&self.shared);
        let now = self.shared.cell.current();
        if now.generation == generation && now.venue == venue {
            Ok(Pass { snapshot: now, _counted: counted })
        } else {
            Err(Stale { now })
        }
    }

    /// How many are inside. Zero, read after a publication, means that the change is complete; another number may for
    /// a moment count somebody who is about to be turned back.
    #[must_use]
    pub fn inside(&self) -> usize {
        self.shared.inside()
    }

    /// Resolves at a moment when nobody is inside. Orders that pass under the newly published snapshot count too; a
    /// stay ends when the connection has taken the bytes (of a cancel, which has no body: with the answer or its
    /// timeout). Publishing a blocked venue first admits none.
    #[must_use]
    pub fn drained(&self) -> Drained<P> {
        Drained { shared: Arc::clone(&self.shared) }
    }
}

impl<P> Clone for Gate<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<P> fmt::Debug for Gate<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({} inside)", self.shared.inside())
    }
}

/// Leave to send one order, and the snapshot to send it by: the `Authorization` header must come from here. Whoever
/// waits for [`Gate::drained`] waits until it is dropped.
#[must_use = "dropping the pass leaves the gate"]
pub struct Pass<P> {
    snapshot: Arc<Snapshot>,
    _counted: CountedIn<P>,
}

impl<P> Deref for Pass<P> {
    type Target = Snapshot;
    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl<P> fmt::Debug for Pass<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pass").field(&self.snapshot).finish()
    }
}

/// The session moved on between routing and sending. Nothing was sent.
#[derive(Clone, Debug)]
pub struct Stale {
    /// What holds now.
    pub now: Arc<Snapshot>,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot { state, venue, generation, .. } = &*self.now;
        write!(f, "the session changed before the order was sent: now {state}, {venue}, {generation}")
    }
}

impl std::error::Error for Stale {}

/// The future of [`Gate::drained`].
pub struct Drained<P> {
    shared: Arc<Shared<P>>,
}

impl<P> Future for Drained<P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.shared.inside() == 0 {
            return Poll::Ready(());
        }
        // Leave the waker first and look again afterwards: whoever counts out takes the lock after counting, so either
        // they find the waker or we find their count.
        self.shared.wait(context.waker());
        if self.shared.inside() == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<P> fmt::Debug for Drained<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Drained({} inside)", self.shared.inside())
    }
}

struct Shared<P> {
    cell: Arc<P>,
    inside: AtomicUsize,
    waiting: Mutex<Vec<Waker>>,
}

impl<P> Shared<P> {
    fn inside(&self) -> usize {
        // After whatever the caller published, before the count: see the head of this file.
        fence(Ordering::SeqCst);
        self.inside.load(Ordering::Acquire)
    }

    fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Counts in when made and out when dropped, so that no way out of the gate forgets to.
struct CountedIn<P> {
    shared: Arc<Shared<P>>,
}

impl<P> CountedIn<P> {
    fn new(shared: &Arc<Shared<P>>) -> Self {
        shared.inside.fetch_add(1, Ordering::Relaxed);
        // After the count, before the second read of the cell: see the head of this file.
        fence(Ordering::SeqCst);
        Self { shared: Arc::clone(shared) }
    }
}

impl<P> Drop for CountedIn<P> {
    fn drop(&mut self) {
        // Release: what was done under the pass is done before the count says so. Acquire keeps the look at the wakers
        // after it.
        if self.shared.inside.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.wake();
        }
    }
}
