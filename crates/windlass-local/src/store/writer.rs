//! The one thread that changes the database: what has arrived meanwhile is one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::watch;
use tracing::{error, warn};
use uuid::Uuid;
use windlass_core::{Error, Job};

use super::change::{Change, Executed, Reply};
use super::files_still_there::OpenFiles;
use super::job_cache::JobCache;
use super::kept_history::{self, KeptHistory};
use super::repeated_errors::RepeatedErrors;
use super::rows::{self, job_uid};
use super::transaction::{MAX_CHANGES, PATIENCE, Transacted, Transaction, latest, submit};
use crate::event::{Event, EventSender, Refusal};

/// How long a change that is in no hurry waits for company, and how often a full disk is tried again.
const SAVE_INTERVAL: Duration = Duration::from_millis(200);

/// Who hears what the thread has done.
pub(super) struct Hearers {
    /// Shows jobs to whoever watches them.
    pub(super) cache: Arc<JobCache>,
    pub(super) events: EventSender,
    /// Why the disk has failed, once it has.
    pub(super) failure: watch::Sender<Option<String>>,
    /// Bytes of the database that are in use.
    pub(super) bytes: Arc<AtomicU64>,
}

/// The thread's state.
pub(super) struct Writer {
    db: Connection,
    files: OpenFiles,
    hearers: Hearers,
    history: Arc<KeptHistory>,
    /// The latest state of jobs that the disk does not have yet, by UID: the disk was full, or there
    /// is no hurry.
    unsaved: HashMap<String, Unsaved>,
    /// When to save them, at the latest.
    save_at: Option<Instant>,
    /// UIDs of jobs that had begun and could not be stored, until the controller has heard of it: what
    /// it still says of them is not to be shown.
    refused: HashSet<String>,
    errors: RepeatedErrors,
    /// How long a transaction waits for the ends of jobs that it has begun.
    pub(super) patience: Duration,
}

struct Unsaved {
    job: Arc<Job>,
    /// Watchers have seen it.
    shown: bool,
    /// The controller is to hear when it is stored.
    leaves: bool,
}

impl Writer {
    pub(super) fn new(
        db: Connection,
        files: OpenFiles,
        hearers: Hearers,
        history: Arc<KeptHistory>,
    ) -> Self {
        let (unsaved, save_at, refused) = (HashMap::new(), None, HashSet::new());
        let patience = PATIENCE;
        let errors = RepeatedErrors::default();
        Self { db, files, hearers, history, unsaved, save_at, refused, errors, patience }
    }

    /// Runs until the last sender is dropped, or the disk fails.
    pub(super) fn run(mut self, changes: &Receiver<Change>) {
        self.measure();
        while let Some(batch) = self.next_batch(changes) {
            if let Err(why) = self.commit(batch, changes) {
                // After a failed write nobody knows what the disk holds: another try could seem to
                // succeed and lose what was acknowledged. A new start reads what is there.
                error!(%why, "the store failed; the server must stop");
                self.hearers.failure.send_replace(Some(why));
                return;
            }
        }
        if !self.unsaved.is_empty()
            && let Err(why) = self.commit(Vec::new(), changes)
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
        let more = changes.try_iter().take(MAX_CHANGES - 1);
        Some(first.into_iter().chain(more).collect())
    }

    /// Commits a batch, with what `changes` bring meanwhile, or refuses what can be refused. The error
    /// is why the store cannot go on.
    fn commit(&mut self, batch: Vec<Change>, changes: &Receiver<Change>) -> Result<(), String> {
        let sifted = batch.into_iter().filter_map(|change| sift(&mut self.refused, change));
        let batch: Vec<_> = sifted.collect();
        if !batch.is_empty() && batch.iter().all(Change::can_wait) {
            for change in batch {
                match change {
                    Change::Show(shown) => self.hearers.cache.show(shown),
                    Change::UpdateSoon(job) => self.save_later(job, true),
                    Change::CheckFiles => self.files.check()?,
                    Change::Leave { uid, version } => self.tell_stored(uid, version),
                    _ => {}
                }
            }
            return Ok(());
        }
        let (executed, committed) = self.transact(batch, changes);
        match committed {
            Ok(()) => {
                // Nobody is told of what went to a file that was removed.
                self.files.check()?;
                self.save_at = None;
                self.errors = RepeatedErrors::default();
                self.measure();
                for unsaved in self.unsaved.drain().map(|(_, unsaved)| unsaved) {
                    if !unsaved.shown {
                        self.hearers.cache.publish(&unsaved.job);
                    }
                    if unsaved.leaves
                        && let Ok(uid) = job_uid(&unsaved.job)
                    {
                        let version = unsaved.job.metadata.resource_version.clone();
                        self.hearers.events.send(Event::Stored { uid, version });
                    }
                }
                self.on_all_committed(executed);
                Ok(())
            }
            Err(error) => {
                let Some(why) = passing_reason(&error) else { return Err(error.to_string()) };
                self.files.check()?;
                if self.errors.is_due(why, Instant::now()) {
                    warn!(%error, "{why}: submissions are refused");
                }
                self.save_at = Some(Instant::now() + SAVE_INTERVAL);
                let latest = latest(&executed);
                for executed in executed {
                    self.on_refused(executed, why, &latest);
                }
                Ok(())
            }
        }
    }

    fn measure(&self) {
        match rows::bytes(&self.db) {
            Ok(bytes) => self.hearers.bytes.store(bytes, Ordering::Relaxed),
            Err(error) => warn!(%error, "the database cannot be measured"),
        }
    }

    /// Keeps what a job has become until the next transaction.
    fn save_later(&mut self, job: Arc<Job>, show: bool) {
        if show {
            self.hearers.cache.publish(&job);
        }
        self.save_at.get_or_insert_with(|| Instant::now() + SAVE_INTERVAL);
        self.unsaved.insert(job.metadata.uid.clone(), Unsaved { job, shown: show, leaves: false });
    }

    /// One transaction. What it did counts only when it was committed.
    fn transact(&mut self, batch: Vec<Change>, changes: &Receiver<Change>) -> Transacted {
        let Self { db, hearers, history, unsaved, refused, patience, .. } = self;
        let mut transaction = Transaction::open(db, &hearers.events);
        let newer: HashSet<&str> = batch.iter().filter_map(Change::updated_uid).collect();
        for (uid, unsaved) in unsaved {
            if !newer.contains(uid.as_str()) {
                transaction.run(|db| rows::update(db, &unsaved.job).map(drop));
            }
        }
        batch.into_iter().for_each(|change| transaction.execute(change));
        while let Some(patience) = transaction.waits(*patience)
            && let Ok(change) = changes.recv_timeout(patience)
        {
            sift(refused, change).into_iter().for_each(|change| transaction.execute(change));
        }
        let unsaved_counts = history.take_changed();
        transaction.run(|db| kept_history::save(db, &unsaved_counts));
        let (executed, committed) = transaction.commit();
        if committed.is_err() {
            history.give_back(&unsaved_counts);
        }
        (executed, committed)
    }

    /// After a commit: what is shown first, then who is told.
    fn on_all_committed(&mut self, executed: Vec<Executed>) {
        let latest = latest(&executed);
        let mut begun = Vec::new();
        for executed in executed {
            match executed {
                Executed::Begun(job, reply) => {
                    let job = latest.get(&job.metadata.uid).map_or(job, Arc::clone);
                    begun.push(Executed::Begun(job, reply));
                }
                // A later change of the same transaction has it.
                Executed::UpdatedSoon(job) if !is_latest(&latest, &job) => {}
                executed => self.on_committed(executed),
            }
        }
        begun.into_iter().for_each(|begun| self.on_committed(begun));
    }

    /// After the commit. Who asked may be gone; what was committed counts all the same.
    fn on_committed(&mut self, executed: Executed) {
        match executed {
            Executed::Inserted(new, reply) => {
                // Before the answer, so that the controller hears of a job before anybody cancels it.
                let job = submit(*new, true, &self.hearers.events);
                self.hearers.cache.announce(&job);
                answer(reply, Ok(job));
            }
            Executed::Begun(job, reply) => {
                // Who has gone watches nothing.
                if !reply.is_closed() {
                    self.hearers.cache.keep(&job);
                }
                answer(reply, Ok(job));
            }
            Executed::NameTaken(reply, why) => answer(reply, Err(why)),
            Executed::Updated(job, is_there, reply) => {
                // Of the same transaction, and older.
                self.unsaved.remove(&job.metadata.uid);
                if is_there {
                    self.hearers.cache.publish(&job);
                }
                if let Some(reply) = reply {
                    answer(reply, Ok(()));
                }
            }
            Executed::UpdatedSoon(job) => self.save_later(job, true),
            Executed::Shown(shown) => self.hearers.cache.show(shown),
            Executed::Flushed(reply) | Executed::Held(reply) => answer(reply, Ok(())),
            Executed::Left(uid, version) => self.tell_stored(uid, version),
            Executed::Nothing => {}
            Executed::Removed(deleted, reply) => {
                if let Some(deleted) = deleted {
                    self.hearers.cache.remove(&deleted);
                }
                answer(reply, Ok(()));
            }
            Executed::Expired(deleted, reply) => {
                for job in &deleted {
                    self.hearers.cache.remove(job);
                }
                answer(reply, Ok(deleted));
            }
        }
    }

    /// Tells the controller that this version is stored, now or once it is.
    fn tell_stored(&mut self, uid: Uuid, version: String) {
        let key = uid.to_string();
        match self.unsaved.get_mut(&key) {
            Some(unsaved) => unsaved.leaves = true,
            None if self.refused.contains(&key) => {}
            None => self.hearers.events.send(Event::Stored { uid, version }),
        }
    }

    /// A job that has begun could not be stored: the controller ends it and then tells its caller.
    fn on_not_stored(&mut self, job: &Job, last: Option<&Arc<Job>>, refusal: Refusal) {
        let Ok(uid) = job_uid(job) else { return refusal.answer_caller() };
        self.refused.insert(job.metadata.uid.clone());
        let attempt = last.and_then(|job| job.status.attempt).unwrap_or(0);
        self.hearers.events.send(Event::NotStored { uid, attempt, refusal });
    }

    /// Nothing was committed: new things are refused, what jobs have become is kept.
    fn on_refused(&mut self, executed: Executed, why: &str, latest: &HashMap<String, Arc<Job>>) {
        let refused = || Error::unavailable(why);
        match executed {
            Executed::Inserted(_, reply) | Executed::NameTaken(reply, _) => {
                answer(reply, Err(refused()))
            }
            Executed::Begun(job, reply) => {
                let refusal = Refusal { reply, error: refused() };
                self.on_not_stored(&job, latest.get(&job.metadata.uid), refusal);
            }
            Executed::Updated(job, ..) | Executed::UpdatedSoon(job)
                if self.refused.contains(&job.metadata.uid) => {}
            Executed::Shown(shown) if self.refused.contains(&shown.job.metadata.uid) => {}
            Executed::Updated(job, _, reply) => {
                self.save_later(job, false);
                if let Some(reply) = reply {
                    answer(reply, Err(refused()));
                }
            }
            Executed::UpdatedSoon(job) => self.save_later(job, true),
            Executed::Shown(shown) => self.hearers.cache.show(shown),
            // What cannot be stored now is shown by the cache all the same.
            Executed::Flushed(reply) => answer(reply, Ok(())),
            Executed::Left(uid, version) => self.tell_stored(uid, version),
            Executed::Nothing => {}
            Executed::Removed(_, reply) | Executed::Held(reply) => answer(reply, Err(refused())),
            Executed::Expired(_, reply) => answer(reply, Err(refused())),
        }
    }
}

/// Leaves out what is said of a job that could not be stored. Nobody waits for it, because nobody could
/// ask for anything of a job that was never shown.
fn sift(refused: &mut HashSet<String>, change: Change) -> Option<Change> {
    if let Change::Forget(uid) = &change {
        refused.remove(&uid.to_string());
    }
    let is_refused = change.job().is_some_and(|job| refused.contains(&job.metadata.uid));
    (!is_refused).then_some(change)
}

/// Whether nothing has changed this job later in the transaction.
fn is_latest(latest: &HashMap<String, Arc<Job>>, job: &Arc<Job>) -> bool {
    latest.get(&job.metadata.uid).is_none_or(|last| Arc::ptr_eq(last, job))
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
