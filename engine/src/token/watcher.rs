//! Tells when somebody else changed a store.
//!
//! The system's file events say *when* to look, and every two seconds it looks anyway: events do not cross bind mounts
//! and network file systems, and a watch on a folder is lost with the folder. What counts is only the content: a
//! sighting is sent when the owned values differ from those last seen.
//!
//! Promise: any way of writing the file is seen, once; a missing or empty token is no sighting (somebody is writing);
//! malformed content is reported once and ends nothing; what goes through the [`Writer`] is never sighted. Works on
//! real files, and so in real time, whatever clock the engine runs on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::store::{Change, Store, StoreError, Stored, Written, folder_of, follow};

/// How often the content is compared without any event.
const COMPARE_EVERY: Duration = Duration::from_secs(2);
/// How long events must be silent before the file is read, so that truncate-then-write is read once.
const SETTLE: Duration = Duration::from_millis(20);
/// How many times events may put the reading off: a folder that never rests is read anyway.
const MAX_SETTLES: usize = 10;
/// Folders that appear one in another while they are being watched; the comparison finds what is deeper.
const MAX_FOLDER_LOOKS: usize = 16;

/// What the watcher saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// The store holds a token, and something of what it holds is new: a candidate.
    Changed(Stored),
    /// The store cannot be read or makes no sense; what was last read stays good. Once per content.
    Malformed(StoreError),
}

/// Watches one store.
#[derive(Debug)]
pub struct Watcher {
    store: Arc<dyn Store>,
    memory: Arc<Mutex<Memory>>,
    events: Arc<Notify>,
    folders: Mutex<Folders>,
}

impl Watcher {
    /// Reads the store (see [`WatcherHandle::first`]) and from then on sends what changes, until the handle is dropped
    /// or the receiver is. While the channel is full it does not look.
    ///
    /// Must be called inside a tokio runtime with time.
    #[must_use]
    pub fn spawn(store: Arc<dyn Store>, sender: mpsc::Sender<Sighting>) -> WatcherHandle {
        Self::comparing_every(COMPARE_EVERY, store, sender)
    }

    fn comparing_every(span: Duration, store: Arc<dyn Store>, sender: mpsc::Sender<Sighting>) -> WatcherHandle {
        let events = Arc::new(Notify::new());
        let mut folders = Folders::new(&events);
        folders.watch(store.path());
        let first = store.read();
        let mut memory = Memory::default();
        drop(memory.compare(first.clone()));
        let memory = Arc::new(Mutex::new(memory));
        let writer = Writer { store: Arc::clone(&store), memory: Arc::clone(&memory) };
        let watcher = Arc::new(Self { store, memory, events, folders: Mutex::new(folders) });
        WatcherHandle { first, writer, task: tokio::spawn(watcher.run(span, sender)) }
    }

    async fn run(self: Arc<Self>, span: Duration, sender: mpsc::Sender<Sighting>) {
        let mut compare = tokio::time::interval(span);
        compare.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, and the store was read just now.
        compare.tick().await;
        loop {
            tokio::select! {
                () = self.events.notified() => self.settle().await,
                _ = compare.tick() => {}
                () = sender.closed() => return,
            }
            // Room first, then the look: while the channel is full, what happens adds up to one sighting.
            let Ok(room) = sender.reserve().await else { return };
            let looking = Arc::clone(&self);
            if let Ok(Some(sighting)) = tokio::task::spawn_blocking(move || looking.look()).await {
                room.send(sighting);
            }
        }
    }

    async fn settle(&self) {
        for _ in 0..MAX_SETTLES {
            if tokio::time::timeout(SETTLE, self.events.notified()).await.is_err() {
                return;
            }
        }
    }

    /// Watches the folders the path leads through now, and only then reads: what happens after the reading is an event.
    fn look(&self) -> Option<Sighting> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).watch(self.store.path());
        let mut memory = lock(&self.memory);
        let read = self.store.read();
        memory.compare(read)
    }
}

/// A running watcher; dropping it ends the watch.
#[derive(Debug)]
pub struct WatcherHandle {
    first: Result<Stored, StoreError>,
    writer: Writer,
    task: JoinHandle<()>,
}

impl WatcherHandle {
    /// What the store held when the watch began. Nothing between this and the first sighting is missed.
    ///
    /// # Errors
    /// What reading it said; it is not reported again as a sighting.
    pub const fn first(&self) -> &Result<Stored, StoreError> {
        &self.first
    }

    /// The way to write to the store without being told of it.
    #[must_use]
    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }
}

impl Drop for WatcherHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Writes to a watched store. Clones write to the same one.
#[derive(Clone, Debug)]
pub struct Writer {
    store: Arc<dyn Store>,
    memory: Arc<Mutex<Memory>>,
}

impl Writer {
    /// Writes as [`Store::write`] does; the watcher takes the change as seen. Blocks; not for an async thread.
    ///
    /// # Errors
    /// Those of [`Store::write`].
    pub fn write(&self, change: &Change) -> Result<Written, StoreError> {
        // Held across the write, so that the watcher cannot read the file before it knows whose change it is.
        let mut memory = lock(&self.memory);
        let written = self.store.write(change)?;
        memory.ours(change, &written.stored);
        Ok(written)
    }
}

/// What was last seen.
#[derive(Debug, Default)]
struct Memory {
    stored: Stored,
    error: Option<StoreError>,
}

impl Memory {
    fn compare(&mut self, read: Result<Stored, StoreError>) -> Option<Sighting> {
        match read {
            Ok(stored) => {
                self.error = None;
                if stored.access_token.is_none() || stored == self.stored {
                    return None;
                }
                self.stored = stored.clone();
                Some(Sighting::Changed(stored))
            }
            // Not there yet, or between two names.
            Err(StoreError::NotFound { .. }) => None,
            Err(error) if self.error.as_ref() == Some(&error) => None,
            Err(error) => {
                self.error = Some(error.clone());
                Some(Sighting::Malformed(error))
            }
        }
    }

    /// Takes our own change as seen, and nothing else that the write may have found in the file.
    fn ours(&mut self, change: &Change, stored: &Stored) {
        let before = std::mem::take(&mut self.stored);
        self.stored = stored.clone();
        let first = before.access_token.is_none() && change.access_token.is_some();
        if first {
            return;
        }
        if change.access_token.is_none() {
            self.stored.access_token = before.access_token;
        }
        if change.refresh_token.is_none() {
            self.stored.refresh_token = before.refresh_token;
        }
        if change.expires_at.is_none() {
            self.stored.expires_at = before.expires_at;
        }
        self.stored.user_id = before.user_id;
        self.stored.api_key = before.api_key;
        self.stored.api_secret = before.api_secret;
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folders whose events are listened to.
struct Folders {
    /// None where the system refuses (no inotify instances left): the comparison goes on alone.
    notifier: Option<RecommendedWatcher>,
    /// Each with what tells it from a later folder of the same name.
    watched: BTreeMap<PathBuf, Identity>,
}

impl Folders {
    fn new(events: &Arc<Notify>) -> Self {
        let events = Arc::clone(events);
        let notifier = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading is an event too, and must not cause the next.
            let read = event.is_ok_and(|event| match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
                EventKind::Access(_) => true,
                _ => false,
            });
            if !read {
                events.notify_one();
            }
        });
        let notifier = notifier
            .inspect_err(|error| {
                tracing::warn!(%error, "no file events: the token store is compared every {COMPARE_EVERY:?} only");
            })
            .ok();
        Self { notifier, watched: BTreeMap::new() }
    }

    /// Listens to the folders that `path` leads through now, and to no others. Looks again until nothing new appears:
    /// a folder made between the look and the watch causes no event.
    fn watch(&mut self, path: &Path) {
        let Some(notifier) = &mut self.notifier else { return };
        for _ in 0..MAX_FOLDER_LOOKS {
            let names = follow(path).map_or_else(|_| vec![path.to_owned()], |followed| followed.names);
            let wanted: BTreeMap<PathBuf, Identity> = names.iter().filter_map(|name| existing_folder(name)).collect();
            if wanted == self.watched {
                return;
            }
            for gone in self.watched.iter().filter(|(folder, identity)| wanted.get(*folder) != Some(*identity)) {
                // Fails where the folder is gone and its watch with it.
                let _ = notifier.unwatch(gone.0);
            }
            self.watched.retain(|folder, identity| wanted.get(folder) == Some(identity));
            for (folder, identity) in wanted {
                if !self.watched.contains_key(&folder) && notifier.watch(&folder, RecursiveMode::NonRecursive).is_ok() {
                    self.watched.insert(folder, identity);
                }
            }
        }
    }
}

impl fmt::Debug for Folders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.watched.keys()).finish()
    }
}

/// Inode and birth: file systems give a number to the next folder at once.
type Identity = (u64, Option<SystemTime>);

/// The folder a file is in, or the nearest above it that exists: where the missing one will appear.
fn existing_folder(file: &Path) -> Option<(PathBuf, Identity)> {
    let folder = std::path::absolute(folder_of(file)).ok()?;
    let existing = folder.ancestors().find_map(|folder| folder.canonicalize().ok())?;
    let found = std::fs::metadata(&existing).ok()?;
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let number = 0;
    Some((existing, (number, found.created().ok())))
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::time::Timestamp;
    use nirantar_brokers::{AccessToken, Fingerprint};

    use super::super::store::{EnvFormat, EnvStore};
    use super::*;

    fn stored(token: &str) -> Stored {
        let access_token = (!token.is_empty()).then(|| AccessToken::new(token));
        Stored { access_token, user_id: Some("AB1234".to_owned()), ..Stored::default() }
    }

    fn malformed(content: &str) -> StoreError {
        let content = Fingerprint::of(content);
        StoreError::Malformed { path: ".env".into(), line: 1, key: None, expected: "sense", content }
    }

    #[test]
    fn only_a_new_value_is_a_sighting() {
        let mut memory = Memory::default();
        assert_eq!(memory.compare(Ok(stored(""))), None);
        assert_eq!(memory.compare(Ok(stored("a"))), Some(Sighting::Changed(stored("a"))));
        assert_eq!(memory.compare(Ok(stored("a"))), None);
        assert_eq!(memory.compare(Ok(Stored::default())), None, "somebody truncated it and will write");
        assert_eq!(memory.compare(Ok(stored("a"))), None);
        assert_eq!(memory.compare(Err(StoreError::NotFound { path: ".env".into() })), None);
        assert_eq!(memory.compare(Ok(stored("b"))), Some(Sighting::Changed(stored("b"))));
    }

    #[tokio::test]
    async fn an_event_is_enough_also_for_folders_that_appear_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one/two/.env");
        let store = Arc::new(EnvStore::new(&path, EnvFormat::new("ZERODHA")));
        let (sender, mut sightings) = mpsc::channel(1);
        let never = Duration::from_secs(86_400);
        let handle = Watcher::comparing_every(never, Arc::clone(&store) as Arc<dyn Store>, sender);
        for token in ["a", "b"] {
            std::fs::create_dir_all(folder_of(&path)).unwrap();
            std::fs::write(&path, format!("ZERODHA_ACCESS_TOKEN={token}\n")).unwrap();
            let seen = tokio::time::timeout(Duration::from_secs(20), sightings.recv()).await.unwrap();
            let access_token = Some(AccessToken::new(token));
            assert_eq!(seen, Some(Sighting::Changed(Stored { access_token, ..Stored::default() })));
        }
        drop(handle);
    }

    #[test]
    fn malformed_content_is_reported_once_each_and_the_last_good_value_stays() {
        let mut memory = Memory::default();
        drop(memory.compare(Ok(stored("a"))));
        assert_eq!(memory.compare(Err(malformed("x"))), Some(Sighting::Malformed(malformed("x"))));
        assert_eq!(memory.compare(Err(malformed("x"))), None);
        assert_eq!(memory.compare(Err(malformed("y"))), Some(Sighting::Malformed(malformed("y"))));
        assert_eq!(memory.compare(Ok(stored("a"))), None);
        assert_eq!(memory.compare(Err(malformed("y"))), Some(Sighting::Malformed(malformed("y"))), "broken again");
    }

    #[test]
    fn our_own_change_is_no_sighting_and_hides_nobody_elses() {
        let mut memory = Memory::default();
        let change = Change { access_token: Some(AccessToken::new("a")), ..Change::default() };
        memory.ours(&change, &stored("a"));
        assert_eq!(memory.compare(Ok(stored("a"))), None, "the rest of the file was there before");

        let expiry = Some(Timestamp::from_unix_seconds(1));
        let change = Change { expires_at: expiry, ..Change::default() };
        let merged = Stored { expires_at: expiry, ..stored("theirs") };
        memory.ours(&change, &merged);
        assert_eq!(memory.compare(Ok(merged.clone())), Some(Sighting::Changed(merged)));
    }
}
