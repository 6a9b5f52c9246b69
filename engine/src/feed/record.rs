//! Recording what comes over the feed's sockets, while it comes.
//!
//! Each socket's task hands every frame to a [`Tap`], which never waits: it copies the frame into a bounded queue. A thread
//! of its own takes all that is queued, makes one block of it and writes it at once, so that what a kill can cost is what
//! came during one write. If the disk is too slow the queue is full, and frames are lost to the recording: counted, said,
//! and written into the file where they are missing ([`Entry::Lost`](nirantar_brokers::recording::Entry::Lost)). The
//! socket never waits for it.
//!
//! What the file looks like: [`nirantar_brokers::recording`]. It survives the death of the process at any moment, and that
//! of the machine up to the last second. A file that is there already is gone on with.

mod file;
mod thread;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use nirantar_brokers::recording::{FrameKind, RecordingError, Torn};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{BrokerToken, InstrumentKey};

use super::SocketId;

/// Frames that may wait to be written.
const QUEUE: usize = 8_192;
/// Bytes that may wait to be written: the most memory a slow disk can cost.
const QUEUED_BYTES: usize = 64 << 20;

/// Why a recording cannot begin. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file cannot be opened, or not be written.
    #[error("{file}: cannot be written: {why}", file = file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// The system's words.
        why: std::io::Error,
    },
    /// Another process records into it.
    #[error("{file}: another process is recording into it: give another file", file = file.display())]
    InUse {
        /// Which.
        file: PathBuf,
    },
    /// There is a file, and it is no recording that could be gone on with.
    #[error("{file}: {why}; give another file", file = file.display())]
    NotARecording {
        /// Which.
        file: PathBuf,
        /// What is wrong with it, and where.
        why: RecordingError,
    },
    /// It is of another wire.
    #[error("{file}: is a recording of {found}: give another file for {wanted}", file = file.display())]
    OtherBroker {
        /// Which.
        file: PathBuf,
        /// Whose wire it holds.
        found: String,
        /// Whose was to be recorded.
        wanted: String,
    },
}

/// How far a recording has come. Since it was begun; what the file held before is not counted.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recorded {
    /// Frames that are in the file.
    pub frames: u64,
    /// Frames that are not, because the disk was too slow, or failed.
    pub lost: u64,
    /// Bytes of the frames in the file as they came.
    pub raw_bytes: u64,
    /// Bytes they take there.
    pub file_bytes: u64,
    /// The disk has failed, in its words: nothing more is recorded.
    pub failed: Option<String>,
}

/// What threads tell each other.
#[derive(Debug, Default)]
struct Shared {
    frames: AtomicU64,
    lost: AtomicU64,
    raw_bytes: AtomicU64,
    file_bytes: AtomicU64,
    /// Lost, and not yet written down as such.
    untold: AtomicU64,
    queued_bytes: AtomicUsize,
    failed: Mutex<Option<String>>,
}

impl Shared {
    fn recorded(&self) -> Recorded {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        Recorded {
            frames: of(&self.frames),
            lost: of(&self.lost),
            raw_bytes: of(&self.raw_bytes),
            file_bytes: of(&self.file_bytes),
            failed: self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// What goes through the queue.
#[derive(Debug)]
enum Tapped {
    Frame { at: Timestamp, connection: u64, kind: FrameKind, bytes: Vec<u8> },
    End,
}

/// Where frames are handed to a recording. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Tap {
    queue: mpsc::SyncSender<Tapped>,
    names: mpsc::Sender<(BrokerToken, Arc<InstrumentKey>)>,
    shared: Arc<Shared>,
}

impl Tap {
    /// Takes a frame that arrived then on that socket. Never waits: what does not fit into the queue is lost, and counted.
    pub fn frame(&self, at: Timestamp, socket: SocketId, kind: FrameKind, bytes: &[u8]) {
        let waiting = self.shared.queued_bytes.fetch_add(bytes.len(), Ordering::SeqCst);
        let frame = || Tapped::Frame { at, connection: socket.0, kind, bytes: bytes.to_vec() };
        if waiting > QUEUED_BYTES || self.queue.try_send(frame()).is_err() {
            self.shared.queued_bytes.fetch_sub(bytes.len(), Ordering::SeqCst);
            self.shared.untold.fetch_add(1, Ordering::SeqCst);
            self.shared.lost.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Says which instrument a number means from here on: without it a recording can be read and not replayed. Never
    /// waits, and is never lost: there are as many as instruments.
    pub fn name(&self, token: BrokerToken, instrument: Arc<InstrumentKey>) {
        // A recording that has ended names nothing.
        let _ = self.names.send((token, instrument));
    }
}

/// A recording under way. Dropped, it goes on until the last [`Tap`] is gone.
#[derive(Debug)]
pub struct Recorder {
    tap: Tap,
    thread: Option<std::thread::JoinHandle<()>>,
    torn: Option<Torn>,
}

impl Recorder {
    /// Begins to record that broker's wire into `file`, behind what is in it already. A torn tail of an earlier process is
    /// cut off. Reads the whole file that is there, so not for a task that must not wait.
    ///
    /// # Errors
    /// [`RecordError`]: the file is as it was.
    pub fn start(file: &Path, broker: &str) -> Result<Self, RecordError> {
        let (opened, torn) = file::open(file, broker)?;
        let (queue, frames) = mpsc::sync_channel(QUEUE);
        let (names, named) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let writing = thread::Writing::new(opened, frames, named, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("recorder".to_owned()).spawn(move || writing.run());
        let thread = thread.map_err(|why| RecordError::File { file: file.to_path_buf(), why })?;
        Ok(Self { tap: Tap { queue, names, shared }, thread: Some(thread), torn })
    }

    /// Where frames are handed to it.
    #[must_use]
    pub fn tap(&self) -> Tap {
        self.tap.clone()
    }

    /// What was cut off the file that was there.
    #[must_use]
    pub const fn torn(&self) -> Option<Torn> {
        self.torn
    }

    /// How far it has come.
    #[must_use]
    pub fn recorded(&self) -> Recorded {
        self.tap.shared.recorded()
    }

    /// Writes all that was handed to it before, to the disk itself, and ends. Waits for the disk.
    #[must_use]
    pub fn finish(mut self) -> Recorded {
        // A thread that has ended needs no word, and one that has panicked has said so.
        let _ = self.tap.queue.send(Tapped::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.recorded()
    }
}

#[cfg(test)]
mod tests;
