//! The one thread that changes the database: what has arrived meanwhile is one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::watch;
use tracing::{error, warn};
use windlass_core::{Error, Job};

use super::change::{Change, Executed, Reply};
use super::job_cache::JobCache;
use super::presence::OpenFiles;
use super::rows;
use crate::event::{Event, EventSender};

/// Most changes of one transaction: bounds the wait of the first.
const MAX_BATCH: usize = 512;

/// How long a change that is in no hurry waits for company, and how often a full disk is tried again.
const SAVE_INTERVAL: Duration = Duration::from_millis(200);

/// The thread's state.
pub(super) struct Writer {
    db: Connection,
    files: OpenFiles,
    cache: Arc<JobCache>,
    events: EventSender,
    failure: watch::Sender<Option<String>>,
    /// Bytes of the database that are in use.
    bytes: Arc<AtomicU64>,
    /// The latest state of jobs that the disk does not have yet, by UID: the disk was full, or there
    /// is no hurry.
    unsaved: HashMap<String, Unsaved>,
    /// When to save them, at the latest.
    save_at: Option<Instant>,
}

struct Unsaved {
    job: Arc<Job>,
    /// Watchers have seen it.
    shown: bool,
}

impl Writer {
    pub(super) fn new(
        db: Connection,
        files: OpenFiles,
        cache: Arc<JobCache>,
        events: EventSender,
        failure: watch::Sender<Option<String>>,
        bytes: Arc<AtomicU64>,
    ) -> Self {
        Self { db, files, cache, events, failure, bytes, unsaved: HashMap::new(), save_at: None }
    }

    /// Runs until the last sender is dropped, or the disk fails.
    pub(super) fn run(mut self, changes: &Receiver<Change>) {
        self.measure();
        while let Some(batch) = self.next_batch(changes) {
            if let Err(why) = self.commit(batch) {
                // After a failed write nobody knows what the disk holds: another try could seem to
                // succeed and lose what was acknowledged. A new start reads what is there.
                error!(%why, "the store failed; the server must stop");
                self.failure.send_replace(Some(why));
                return;
            }
        }
        if !self.unsaved.is_empty()
            && let Err(why) = self.commit(Vec::new())
        {
            error!(%why, "the last changes are not stored; the next start finds them out");
        }
    }

    /// What has arrived. Empty when something unsaved is due.
    fn next_batch(&self, changes: &Receiver<Change>) -> Option<Vec<Change>> {
        let first = match self.save_at {
            None => vec![changes.recv().ok()?],
            Some(at) => match changes.recv_timeout(at.saturating_duration_since(Instant::now())) {
                Ok(change) => vec![change],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return None,
            },
        };
        let more = changes.try_iter().take(MAX_BATCH - 1);
        Some(first.into_iter().chain(more).collect())
    }

    /// Commits a batch, or refuses what can be refused. The error is why the store cannot go on.
    fn commit(&mut self, batch: Vec<Change>) -> Result<(), String> {
        if !batch.is_empty() && batch.iter().all(Change::can_wait) {
            for change in batch {
                match change {
                    Change::Show(shown) => self.cache.show(shown),
                    Change::UpdateSoon(job) => self.save_later(job, true),
                    Change::Look => self.files.check()?,
                    _ => {}
                }
            }
            return Ok(());
        }
        let (executed, committed) = self.transact(batch);
        match committed {
            Ok(()) => {
                // Nobody is told of what went to a file that was removed.
                self.files.check()?;
                self.save_at = None;
                self.measure();
                for unsaved in self.unsaved.drain().map(|(_, unsaved)| unsaved) {
                    if !unsaved.shown {
                        self.cache.publish(&unsaved.job);
                    }
                }
                executed.into_iter().for_each(|executed| self.on_committed(executed));
                Ok(())
            }
            Err(error) => {
                let Some(why) = passing_reason(&error) else { return Err(error.to_string()) };
                self.files.check()?;
                warn!(%error, "{why}: submissions are refused");
                self.save_at = Some(Instant::now() + SAVE_INTERVAL);
                executed.into_iter().for_each(|executed| self.on_refused(executed, why));
                Ok(())
            }
        }
    }

    fn measure(&self) {
        match rows::bytes(&self.db) {
            Ok(bytes) => self.bytes.store(bytes, Ordering::Relaxed),
            Err(error) => warn!(%error, "the database cannot be measured"),
        }
    }

    /// Keeps what a job has become until the next transaction.
    fn save_later(&mut self, job: Arc<Job>, show: bool) {
        if show {
            self.cache.publish(&job);
        }
        self.save_at.get_or_insert_with(|| Instant::now() + SAVE_INTERVAL);
        self.unsaved.insert(job.metadata.uid.clone(), Unsaved { job, shown: show });
    }

    /// One transaction. What it did counts only when it was committed.
    fn transact(&self, batch: Vec<Change>) -> (Vec<Executed>, rusqlite::Result<()>) {
        let mut all = Vec::with_capacity(batch.len());
        let mut failed = self.db.execute_batch("BEGIN IMMEDIATE").err();
        let newer: HashSet<&str> = batch.iter().filter_map(Change::updated_uid).collect();
        for (uid, unsaved) in &self.unsaved {
            if !newer.contains(uid.as_str()) {
                failed = failed.or_else(|| rows::update(&self.db, &unsaved.job).err());
            }
        }
        for change in batch {
            let (executed, result) = change.execute(&self.db, failed.is_some());
            all.push(executed);
            failed = failed.or(result.err());
        }
        let committed = match failed {
            None => self.db.execute_batch("COMMIT"),
            Some(error) => Err(error),
        };
        if committed.is_err() && !self.db.is_autocommit() {
            // A failure may have rolled back already; the error that counts is the first.
            self.db.execute_batch("ROLLBACK").unwrap_or_default();
        }
        (all, committed)
    }

    /// After the commit. Who asked may be gone; what was committed counts all the same.
    fn on_committed(&mut self, executed: Executed) {
        match executed {
            Executed::Inserted(job, limits, reply) => {
                // Before the answer, so that the controller hears of a job before anybody cancels it.
                self.events.send(Event::Submitted { job: Arc::clone(&job), limits });
                answer(reply, Ok(job));
            }
            Executed::NameTaken(reply, why) => answer(reply, Err(why)),
            Executed::Updated(job, is_there, reply) => {
                // Of the same transaction, and older.
                self.unsaved.remove(&job.metadata.uid);
                if is_there {
                    self.cache.publish(&job);
                }
                if let Some(reply) = reply {
                    answer(reply, Ok(()));
                }
            }
            Executed::UpdatedSoon(job) => self.save_later(job, true),
            Executed::Shown(shown) => self.cache.show(shown),
            Executed::Flushed(reply) => answer(reply, Ok(())),
            Executed::Looked => {}
            Executed::Removed(deleted, reply) => {
                if let Some(deleted) = deleted {
                    self.cache.remove(&deleted.name);
                }
                answer(reply, Ok(()));
            }
            Executed::Expired(deleted, reply) => {
                for job in &deleted {
                    self.cache.remove(&job.name);
                }
                answer(reply, Ok(deleted));
            }
        }
    }

    /// Nothing was committed: new things are refused, what jobs have become is kept.
    fn on_refused(&mut self, executed: Executed, why: &str) {
        let refused = || Error::unavailable(why);
        match executed {
            Executed::Inserted(_, _, reply) | Executed::NameTaken(reply, _) => {
                answer(reply, Err(refused()))
            }
            Executed::Updated(job, _, reply) => {
                self.save_later(job, false);
                if let Some(reply) = reply {
                    answer(reply, Err(refused()));
                }
            }
            Executed::UpdatedSoon(job) => self.save_later(job, true),
            Executed::Shown(shown) => self.cache.show(shown),
            // What cannot be stored now is shown by the cache all the same.
            Executed::Flushed(reply) => answer(reply, Ok(())),
            Executed::Looked => {}
            Executed::Removed(_, reply) => answer(reply, Err(refused())),
            Executed::Expired(_, reply) => answer(reply, Err(refused())),
        }
    }
}

/// Why nothing can be committed now, where that passes by itself and the disk holds what it held.
fn passing_reason(error: &rusqlite::Error) -> Option<&'static str> {
    use ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed};
    match error.sqlite_error_code()? {
        DiskFull => Some("the disk of the server is full"),
        DatabaseBusy | DatabaseLocked | FileLockingProtocolFailed => {
            Some("another process holds the database of the server")
        }
        _ => None,
    }
}

fn answer<T>(reply: Reply<T>, value: Result<T, Error>) {
    // Whoever asked may have given up.
    reply.send(value).unwrap_or_default();
}
