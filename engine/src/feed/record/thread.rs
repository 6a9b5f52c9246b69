//! The thread that writes a recording.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use nirantar_brokers::recording::Encoder;
use nirantar_brokers::time::{Clock as _, Monotonic, SystemClock, Timestamp};
use nirantar_brokers::{BrokerToken, InstrumentKey};

use super::{Shared, Tapped};

/// A block is written once it holds so much, and before that as soon as nothing more waits.
const BLOCK: usize = 256 << 10;
/// How often the disk is told to keep what was written: what a dying machine costs at most. Wall time.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What the thread works with.
pub(super) struct Writing {
    file: File,
    frames: Receiver<Tapped>,
    names: Receiver<(BrokerToken, Arc<InstrumentKey>)>,
    shared: Arc<Shared>,
    encoder: Encoder,
    block: Vec<u8>,
    /// Frames in the block that is made, and their bytes as they came.
    collected: (u64, u64),
    /// The disk's own time, not the market's.
    clock: SystemClock,
    /// When the oldest of what is not on the disk for certain was written.
    unsynced: Option<Monotonic>,
}

impl Writing {
    pub(super) fn new(
        file: File,
        frames: Receiver<Tapped>,
        names: Receiver<(BrokerToken, Arc<InstrumentKey>)>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            file,
            frames,
            names,
            shared,
            encoder: Encoder::new(),
            block: Vec::new(),
            collected: (0, 0),
            clock: SystemClock::start(),
            unsynced: None,
        }
    }

    pub(super) fn run(mut self) {
        if let Err(why) = self.write_all() {
            let (frames, _) = self.collected;
            self.shared.lost.fetch_add(frames, Ordering::SeqCst);
            tracing::error!("the recording has failed, and ends here: {why}");
            *self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_string());
            // What still comes is counted, and lost.
            while let Ok(Tapped::Frame { bytes, .. }) = self.frames.recv() {
                self.shared.queued_bytes.fetch_sub(bytes.len(), Ordering::SeqCst);
                self.shared.lost.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Until the end is asked for, or nobody is left who could hand over a frame.
    fn write_all(&mut self) -> io::Result<()> {
        while let Some(first) = self.wait()? {
            let mut next = Ok(first);
            while let Ok(Tapped::Frame { at, connection, kind, bytes }) = next {
                self.say_names();
                self.say_lost(at);
                self.shared.queued_bytes.fetch_sub(bytes.len(), Ordering::SeqCst);
                self.encoder.frame(at, connection, kind, &bytes);
                self.collected.0 += 1;
                self.collected.1 += bytes.len() as u64;
                next = if self.encoder.pending() < BLOCK { self.frames.try_recv() } else { Err(TryRecvError::Empty) };
            }
            self.write_block()?;
            if matches!(next, Ok(Tapped::End)) {
                break;
            }
        }
        self.say_names();
        self.write_block()?;
        self.file.sync_data()
    }

    /// The next of the queue; `None` when nothing more will come. Syncs when it is time.
    fn wait(&mut self) -> io::Result<Option<Tapped>> {
        loop {
            let left = self.unsynced.map(|since| SYNC_EVERY.saturating_sub(self.clock.now().mono.since(since)));
            let next = match left {
                None => self.frames.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(Duration::ZERO) => Err(RecvTimeoutError::Timeout),
                Some(left) => self.frames.recv_timeout(left),
            };
            match next {
                Ok(Tapped::End) | Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Ok(frame) => return Ok(Some(frame)),
                Err(RecvTimeoutError::Timeout) => {
                    self.file.sync_data()?;
                    self.unsynced = None;
                }
            }
        }
    }

    /// Names come before the frames that need them: they were sent before.
    fn say_names(&mut self) {
        while let Ok((token, instrument)) = self.names.try_recv() {
            self.encoder.name(token, &instrument);
        }
    }

    fn say_lost(&mut self, at: Timestamp) {
        let lost = self.shared.untold.swap(0, Ordering::SeqCst);
        if lost > 0 {
            tracing::warn!("{lost} frames were not recorded: the disk is too slow");
            self.encoder.lost(at, lost);
        }
    }

    fn write_block(&mut self) -> io::Result<()> {
        self.block.clear();
        self.encoder.block(&mut self.block);
        if self.block.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.block)?;
        self.unsynced.get_or_insert(self.clock.now().mono);
        let (frames, bytes) = std::mem::take(&mut self.collected);
        self.shared.raw_bytes.fetch_add(bytes, Ordering::SeqCst);
        self.shared.file_bytes.fetch_add(self.block.len() as u64, Ordering::SeqCst);
        // Last: who sees the frame counted may read it.
        self.shared.frames.fetch_add(frames, Ordering::SeqCst);
        Ok(())
    }
}
