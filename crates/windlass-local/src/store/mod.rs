//! Where jobs are kept: a SQLite database in the data directory.
//!
//! One [writer] thread commits what arrived meanwhile in one transaction, so that a flood of
//! submissions shares its waits for the disk. What a caller is told was committed before. Changes
//! reach watchers through the [job_cache], after their commit.
//!
//! The database is the only truth. A job that waits is nowhere else, so that a deep queue costs
//! little memory.

mod change;
mod files_still_there;
mod holds;
mod job_cache;
mod kept_history;
mod repeated_errors;
mod rows;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;
mod transaction;
mod watch_files;
mod writer;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{broadcast, oneshot};
use uuid::Uuid;
use windlass_core::estimate::RunTimes;
use windlass_core::history::HistoryReport;
use windlass_core::jobs::{Filter, Page};
use windlass_core::live::Shown;
use windlass_core::{Error, Job, JobStatus};

use change::Change;
pub(crate) use change::NewJob;
use files_still_there::OpenFiles;
use job_cache::JobCache;
pub(crate) use job_cache::JobWatcher;
use kept_history::KeptHistory;
pub(crate) use rows::{DeletedJob, Unfinished, job_uid};
pub use schema::StoreError;
pub(crate) use schema::{LOCK, lock_directory, path as database_path};
pub(crate) use snapshot::{KeptJob, Snapshot, check_restored};
pub(crate) use watch_files::watch_files;
use writer::{Hearers, Writer};

use crate::event::EventSender;

/// Jobs on a page, when the caller does not say, and at most.
const MAX_PAGE_JOBS: usize = 500;

/// Connections for reading that are kept; more are opened while more are needed.
const MAX_IDLE_READERS: usize = 2;

/// The jobs of a data directory.
pub(crate) struct Store {
    cache: Arc<JobCache>,
    history: Arc<KeptHistory>,
    /// `None` once it was closed.
    writer: Mutex<Option<mpsc::Sender<Change>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    readers: Mutex<Vec<Connection>>,
    path: std::path::PathBuf,
    bytes: Arc<AtomicU64>,
}

/// The reason, when the store cannot go on.
pub(crate) type StoreFailure = tokio::sync::watch::Receiver<Option<String>>;

impl Store {
    /// Opens the store of a data directory, which is made when there is none. `durable`: a commit
    /// waits for the disk. `events` hears of new jobs.
    pub(crate) fn open(
        data: &Path,
        durable: bool,
        events: EventSender,
    ) -> Result<(Self, StoreFailure), StoreError> {
        let path = schema::path(data);
        let connection = schema::open(&path, durable)?;
        let history =
            KeptHistory::load(&connection).map_err(|error| schema::wrong(&path, &error))?;
        let history = Arc::new(history);
        let files = OpenFiles::of_database(&path).map_err(|error| StoreError::io(&path, error))?;
        let cache = Arc::new(JobCache::default());
        let (sender, receiver) = mpsc::channel();
        let (failure, watch) = tokio::sync::watch::channel(None);
        let bytes = Arc::new(AtomicU64::new(0));
        let hearers =
            Hearers { cache: Arc::clone(&cache), events, failure, bytes: Arc::clone(&bytes) };
        let writer = Writer::new(connection, files, hearers, Arc::clone(&history));
        let thread = std::thread::Builder::new()
            .name("windlass-store".into())
            .spawn(move || writer.run(&receiver))
            .map_err(|error| StoreError::io(&path, error))?;
        let store = Self {
            cache,
            history,
            writer: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            readers: Mutex::default(),
            path,
            bytes,
        };
        Ok((store, watch))
    }

    /// Commits a new job. `Conflict` when its name is taken. One that is waited for begins meanwhile, and
    /// is given as it was committed last.
    pub(crate) async fn insert(&self, new: NewJob) -> Result<Arc<Job>, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Change::Insert { new: Box::new(new), reply });
        answer.await.map_err(|_| stopped())?
    }

    /// Commits what a job has become. The caller owns it; the writer keeps the order.
    pub(crate) fn update(&self, job: Arc<Job>, reply: Option<oneshot::Sender<Result<(), Error>>>) {
        self.send(Change::Update { job, reply });
    }

    /// Shows what a job has become at once and commits it soon, with something else if possible.
    pub(crate) fn update_soon(&self, job: Arc<Job>) {
        self.send(Change::UpdateSoon(job));
    }

    /// Tells the controller once this version of a job is stored, by [`Event::Stored`](crate::event::Event::Stored).
    pub(crate) fn leave(&self, uid: Uuid, version: &str) {
        self.send(Change::Leave { uid, version: version.to_owned() });
    }

    /// Shows a change to watchers that is not worth a commit: progress. It keeps its place among
    /// the updates.
    pub(crate) fn show(&self, shown: Shown) {
        self.send(Change::Show(shown));
    }

    /// Counts what has happened to a job. It is committed with the job's next change.
    pub(crate) fn count_change(&self, before: &Job, status: &JobStatus, now: Timestamp) {
        self.history.count_change(before, status, now);
    }

    /// What the last hour and the last day were like.
    pub(crate) fn history(&self, now: Timestamp) -> HistoryReport {
        self.history.report(now)
    }

    /// How long jobs have held their CPUs.
    pub(crate) fn run_times(&self) -> RunTimes {
        self.history.run_times()
    }

    /// Name and function of these jobs, as far as they are there.
    pub(crate) async fn names_and_functions(
        self: &Arc<Self>,
        uids: Vec<Uuid>,
    ) -> Result<Vec<(Uuid, String, String)>, Error> {
        self.in_thread(move |store| store.read(|db| rows::names_and_functions(db, &uids))).await
    }

    /// Keeps whether a queue is on hold, or forgets what was kept. Answers after the commit.
    pub(crate) async fn hold(&self, queue: &str, hold: Option<bool>) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Change::Hold { queue: queue.to_owned(), hold, reply });
        answer.await.map_err(|_| stopped())?
    }

    /// Forgets that the API had said this of a queue, if it has said nothing else since.
    pub(crate) fn settle_hold(&self, queue: String, hold: bool) {
        self.send(Change::SettleHold { queue, hold });
    }

    /// Which queues the API has put on hold or resumed.
    pub(crate) fn holds(&self) -> Result<BTreeMap<String, bool>, Error> {
        self.read(holds::all)
    }

    /// Nothing more is said of a job that was begun and could not be stored.
    pub(crate) fn forget(&self, uid: Uuid) {
        self.send(Change::Forget(uid));
    }

    /// Deletes a job.
    pub(crate) fn remove(&self, uid: Uuid, reply: oneshot::Sender<Result<(), Error>>) {
        self.send(Change::Remove { uid, reply });
    }

    /// Deletes jobs whose time is over, not all at once. Gives what was deleted.
    pub(crate) async fn expire(&self, now: Timestamp) -> Result<Vec<DeletedJob>, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Change::Expire { now, reply });
        answer.await.map_err(|_| stopped())?
    }

    /// When the next finished job's time is over.
    pub(crate) fn next_expiry(&self) -> Result<Option<Timestamp>, Error> {
        self.read(rows::next_expiry)
    }

    /// One job as it was committed, or shown since.
    pub(crate) async fn get(self: &Arc<Self>, name: &str) -> Result<Arc<Job>, Error> {
        if let Some(job) = self.cache.get(name) {
            return Ok(job);
        }
        let owned = name.to_owned();
        let found = self.in_thread(move |store| store.read(|db| rows::by_name(db, &owned))).await?;
        found.map(Arc::new).ok_or_else(|| Error::no_job(name))
    }

    /// One job by its UID, read in the calling thread.
    pub(crate) fn load(&self, uid: Uuid) -> Result<Option<Job>, Error> {
        self.read(|db| rows::by_uid(db, uid))
    }

    /// Jobs in the order of their names.
    pub(crate) async fn list(self: &Arc<Self>, filter: &Filter) -> Result<Page, Error> {
        self.flush().await?;
        let filter = filter.clone();
        self.in_thread(move |store| {
            let limit = match filter.limit as usize {
                0 => MAX_PAGE_JOBS,
                limit => limit.min(MAX_PAGE_JOBS),
            };
            let mut items = store.read(|db| rows::list(db, &filter, limit + 1))?;
            let more = items.len() > limit;
            items.truncate(limit);
            // With the progress that was shown since.
            for item in &mut items {
                match store.cache.get(&item.metadata.name) {
                    Some(shown) if shown.metadata.uid == item.metadata.uid => {
                        *item = Arc::unwrap_or_clone(shown);
                    }
                    _ => {}
                }
            }
            let continue_from = items.last().filter(|_| more).map(|job| job.metadata.name.clone());
            Ok(Page { items, continue_from })
        })
        .await
    }

    /// Waits until the store's thread has done what it was given so far. A full disk is no error.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let (reply, flushed) = oneshot::channel();
        self.send(Change::Flush { reply });
        flushed.await.map_err(|_| stopped())?
    }

    /// The changes of one job; the first item is the job as it is.
    pub(crate) async fn watch(self: &Arc<Self>, name: &str) -> Result<JobWatcher, Error> {
        let watcher = JobCache::watch(&self.cache, name);
        if !watcher.has_value() {
            let owned = name.to_owned();
            let found =
                self.in_thread(move |store| store.read(|db| rows::by_name(db, &owned))).await?;
            let Some(job) = found else {
                return Err(Error::no_job(name));
            };
            self.cache.fill(Arc::new(job));
        }
        Ok(watcher)
    }

    /// What happens to any job from now on.
    pub(crate) fn changes(&self) -> broadcast::Receiver<windlass_core::changes::Change> {
        self.cache.changes()
    }

    /// All jobs that have not ended, the oldest first, without their specs.
    pub(crate) fn unfinished(&self) -> Result<Vec<Unfinished>, Error> {
        self.read(rows::unfinished)
    }

    /// Which of these UIDs are jobs, of all that the store was given so far. Blocks.
    pub(crate) fn exist(&self, uids: &[Uuid]) -> Result<Vec<bool>, Error> {
        let (reply, flushed) = oneshot::channel();
        self.send(Change::Flush { reply });
        flushed.blocking_recv().map_err(|_| stopped())??;
        self.read(|db| uids.iter().map(|uid| rows::exists(db, *uid)).collect())
    }

    /// Digests of all the blobs that jobs name. Blocks.
    pub(crate) fn named_blobs(&self) -> Result<HashSet<String>, Error> {
        self.read(rows::named_blobs)
    }

    /// Bytes of the database that are in use, after the last commit.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Gives back the memory in which pages of the database are kept.
    pub(crate) async fn release_memory(&self) -> Result<(), Error> {
        lock(&self.readers).clear();
        let (reply, released) = oneshot::channel();
        self.send(Change::ReleaseMemory { reply });
        released.await.map_err(|_| stopped())?
    }

    /// Commits what was given so far and closes the database.
    pub(crate) fn close(&self) {
        // The last connection that is closed moves the log into the file.
        lock(&self.readers).clear();
        lock(&self.writer).take();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }

    fn send(&self, change: Change) {
        // A writer that has stopped says so to whoever waits for an answer, by dropping it.
        let closed = lock(&self.writer).as_ref().is_none_or(|writer| writer.send(change).is_err());
        if closed {
            tracing::debug!("the store is closed");
        }
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let connection = match lock(&self.readers).pop() {
            Some(connection) => connection,
            None => schema::open_reader(&self.path).map_err(|error| unreadable(&error))?,
        };
        let found = query(&connection).map_err(|error| unreadable(&error));
        let mut readers = lock(&self.readers);
        if readers.len() < MAX_IDLE_READERS {
            readers.push(connection);
        }
        found
    }

    /// Reads in a thread of its own: a disk may take its time.
    async fn in_thread<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || read(&store));
        read.await.map_err(|error| Error::Bug(error.to_string()))?
    }
}

/// What is asked of a server that has stopped.
pub(crate) fn stopped() -> Error {
    Error::unavailable("the server stops")
}

fn unreadable(error: &rusqlite::Error) -> Error {
    Error::unavailable(format!("the store cannot be read: {error}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Each change under these locks is one assignment, so that a panic leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
