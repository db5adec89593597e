//! The one thread that changes the database: what has arrived meanwhile is one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc as tokio_mpsc, oneshot, watch};
use tracing::{error, warn};
use uuid::Uuid;
use windlass_core::live::Shown;
use windlass_core::{Error, Job, JobLimits};

use super::board::Board;
use super::rows::{self, Expired};
use crate::driver;

/// Most changes of one transaction: bounds the wait of the first.
const MAX_BATCH: usize = 512;

/// How long a change that is in no hurry waits for company, and how often a full disk is tried again.
const SOON: Duration = Duration::from_millis(200);

/// One change.
pub(super) enum Write {
    Insert {
        job: Box<Job>,
        limits: JobLimits,
        reply: Reply<Arc<Job>>,
    },
    Update {
        job: Arc<Job>,
        reply: Option<Reply<()>>,
    },
    UpdateSoon(Arc<Job>),
    Show(Shown),
    /// Commits what is in no hurry.
    Flush {
        reply: Reply<()>,
    },
    Remove {
        uid: Uuid,
        reply: Reply<()>,
    },
    Expire {
        now: Timestamp,
        reply: Reply<Vec<Expired>>,
    },
}

type Reply<T> = oneshot::Sender<Result<T, Error>>;

pub(super) struct Writer {
    db: Connection,
    board: Arc<Board>,
    events: tokio_mpsc::UnboundedSender<driver::Event>,
    broken: watch::Sender<Option<String>>,
    /// Of the database, in use.
    bytes: Arc<AtomicU64>,
    /// What jobs have become and the disk does not have yet: it was full, or there is no hurry. The
    /// latest of each job.
    unsaved: HashMap<String, Unsaved>,
    /// When to save them, at the latest.
    due: Option<Instant>,
}

struct Unsaved {
    job: Arc<Job>,
    /// Watchers have seen it.
    shown: bool,
}

/// What is left to do once the transaction is committed.
enum Done {
    Inserted(Arc<Job>, JobLimits, Reply<Arc<Job>>),
    Taken(Reply<Arc<Job>>, Error),
    /// Whether the job was still there.
    Updated(Arc<Job>, bool, Option<Reply<()>>),
    UpdatedSoon(Arc<Job>),
    Shown(Shown),
    Flushed(Reply<()>),
    Removed(Option<Expired>, Reply<()>),
    Expired(Vec<Expired>, Reply<Vec<Expired>>),
}

impl Writer {
    pub(super) fn new(
        db: Connection,
        board: Arc<Board>,
        events: tokio_mpsc::UnboundedSender<driver::Event>,
        broken: watch::Sender<Option<String>>,
        bytes: Arc<AtomicU64>,
    ) -> Self {
        Self { db, board, events, broken, bytes, unsaved: HashMap::new(), due: None }
    }

    /// Runs until the last sender is dropped, or the disk fails.
    pub(super) fn run(mut self, writes: &Receiver<Write>) {
        self.count();
        while let Some(batch) = self.next(writes) {
            if let Err(error) = self.commit(batch) {
                // After a failed write nobody knows what the disk holds: another try could seem to
                // succeed and lose what was acknowledged. A new start reads what is there.
                error!(%error, "the store failed; the server must stop");
                self.broken.send_replace(Some(error.to_string()));
                return;
            }
        }
        if !self.unsaved.is_empty()
            && let Err(error) = self.commit(Vec::new())
        {
            error!(%error, "the last changes are not stored; the next start finds them out");
        }
    }

    /// What has arrived. Empty when something unsaved is due.
    fn next(&self, writes: &Receiver<Write>) -> Option<Vec<Write>> {
        let first = match self.due {
            None => vec![writes.recv().ok()?],
            Some(due) => match writes.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(write) => vec![write],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return None,
            },
        };
        let more = writes.try_iter().take(MAX_BATCH - 1);
        Some(first.into_iter().chain(more).collect())
    }

    fn commit(&mut self, batch: Vec<Write>) -> rusqlite::Result<()> {
        let in_no_hurry = |write: &Write| matches!(write, Write::Show(_) | Write::UpdateSoon(_));
        if !batch.is_empty() && batch.iter().all(in_no_hurry) {
            for write in batch {
                match write {
                    Write::Show(shown) => self.board.show(shown),
                    Write::UpdateSoon(job) => self.save_later(job, true),
                    _ => {}
                }
            }
            return Ok(());
        }
        let (done, written) = self.transact(batch);
        match written {
            Ok(()) => {
                self.due = None;
                self.count();
                for unsaved in self.unsaved.drain().map(|(_, unsaved)| unsaved) {
                    if !unsaved.shown {
                        self.board.publish(&unsaved.job);
                    }
                }
                done.into_iter().for_each(|done| self.tell(done));
                Ok(())
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                warn!(%error, "the disk is full: submissions are refused");
                self.due = Some(Instant::now() + SOON);
                done.into_iter().for_each(|done| self.refuse(done));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn count(&self) {
        match rows::bytes(&self.db) {
            Ok(bytes) => self.bytes.store(bytes, Ordering::Relaxed),
            Err(error) => warn!(%error, "the database cannot be measured"),
        }
    }

    /// Keeps what a job has become until the next transaction.
    fn save_later(&mut self, job: Arc<Job>, show: bool) {
        if show {
            self.board.publish(&job);
        }
        self.due.get_or_insert_with(|| Instant::now() + SOON);
        self.unsaved.insert(job.metadata.uid.clone(), Unsaved { job, shown: show });
    }

    /// One transaction. What it did counts only when it was committed.
    fn transact(&self, batch: Vec<Write>) -> (Vec<Done>, rusqlite::Result<()>) {
        let mut done = Vec::with_capacity(batch.len());
        let mut failed = self.db.execute_batch("BEGIN IMMEDIATE").err();
        let newer: HashSet<String> = batch.iter().filter_map(updated).collect();
        for (uid, unsaved) in &self.unsaved {
            if !newer.contains(uid) {
                failed = failed.or_else(|| rows::update(&self.db, &unsaved.job).err());
            }
        }
        for write in batch {
            let error = self.execute(write, failed.is_some(), &mut done).err();
            failed = failed.or(error);
        }
        let written = match failed {
            None => self.db.execute_batch("COMMIT"),
            Some(error) => Err(error),
        };
        if written.is_err() && !self.db.is_autocommit() {
            // A failure may have rolled back already; the error that counts is the first.
            self.db.execute_batch("ROLLBACK").unwrap_or_default();
        }
        (done, written)
    }

    /// Does one change, unless an earlier one has failed; in any case somebody waits for its end.
    fn execute(&self, write: Write, skip: bool, done: &mut Vec<Done>) -> rusqlite::Result<()> {
        let db = &self.db;
        let run = |sql: &dyn Fn() -> rusqlite::Result<()>| if skip { Ok(()) } else { sql() };
        match write {
            Write::Insert { job, limits, reply } => {
                match run(&|| rows::insert(db, &job, &limits)) {
                    Err(error)
                        if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) =>
                    {
                        let name = &job.metadata.name;
                        let why = Error::Conflict(format!("a job {name:?} exists already"));
                        done.push(Done::Taken(reply, why));
                        Ok(())
                    }
                    inserted => {
                        done.push(Done::Inserted(Arc::from(job), limits, reply));
                        inserted
                    }
                }
            }
            Write::Update { job, reply } => {
                let updated = if skip { Ok(false) } else { rows::update(db, &job) };
                let (there, result) = split(updated);
                done.push(Done::Updated(job, there.unwrap_or(false), reply));
                result
            }
            Write::UpdateSoon(job) => {
                done.push(Done::UpdatedSoon(job));
                Ok(())
            }
            Write::Show(shown) => {
                done.push(Done::Shown(shown));
                Ok(())
            }
            Write::Flush { reply } => {
                done.push(Done::Flushed(reply));
                Ok(())
            }
            Write::Remove { uid, reply } => {
                let removed = if skip { Ok(None) } else { rows::remove(db, uid) };
                let (row, result) = split(removed);
                done.push(Done::Removed(row.flatten(), reply));
                result
            }
            Write::Expire { now, reply } => {
                let expired = if skip { Ok(Vec::new()) } else { rows::expire(db, now) };
                let (expired, result) = split(expired);
                done.push(Done::Expired(expired.unwrap_or_default(), reply));
                result
            }
        }
    }

    /// After the commit. Who asked may be gone; what was committed counts all the same.
    fn tell(&mut self, done: Done) {
        match done {
            Done::Inserted(job, limits, reply) => {
                // Before the answer, so that the driver hears of a job before anybody cancels it.
                let event = driver::Event::Submitted { job: Arc::clone(&job), limits };
                self.events.send(event).unwrap_or_default();
                answer(reply, Ok(job));
            }
            Done::Taken(reply, why) => answer(reply, Err(why)),
            Done::Updated(job, there, reply) => {
                // Of the same transaction, and older.
                self.unsaved.remove(&job.metadata.uid);
                if there {
                    self.board.publish(&job);
                }
                if let Some(reply) = reply {
                    answer(reply, Ok(()));
                }
            }
            Done::UpdatedSoon(job) => self.save_later(job, true),
            Done::Shown(shown) => self.board.show(shown),
            Done::Flushed(reply) => answer(reply, Ok(())),
            Done::Removed(row, reply) => {
                if let Some(row) = row {
                    self.board.remove(&row.name);
                }
                answer(reply, Ok(()));
            }
            Done::Expired(rows, reply) => {
                for row in &rows {
                    self.board.remove(&row.name);
                }
                answer(reply, Ok(rows));
            }
        }
    }

    /// Nothing was committed: new things are refused, what jobs have become is kept.
    fn refuse(&mut self, done: Done) {
        let full = || Error::unavailable("the disk of the server is full");
        match done {
            Done::Inserted(_, _, reply) | Done::Taken(reply, _) => answer(reply, Err(full())),
            Done::Updated(job, _, reply) => {
                self.save_later(job, false);
                if let Some(reply) = reply {
                    answer(reply, Err(full()));
                }
            }
            Done::UpdatedSoon(job) => self.save_later(job, true),
            Done::Shown(shown) => self.board.show(shown),
            // What cannot be stored now is shown by the board all the same.
            Done::Flushed(reply) => answer(reply, Ok(())),
            Done::Removed(_, reply) => answer(reply, Err(full())),
            Done::Expired(_, reply) => answer(reply, Err(full())),
        }
    }
}

/// The job that a write replaces whole.
fn updated(write: &Write) -> Option<String> {
    match write {
        Write::Update { job, .. } => Some(job.metadata.uid.clone()),
        _ => None,
    }
}

fn split<T>(result: rusqlite::Result<T>) -> (Option<T>, rusqlite::Result<()>) {
    match result {
        Ok(value) => (Some(value), Ok(())),
        Err(error) => (None, Err(error)),
    }
}

fn answer<T>(reply: Reply<T>, value: Result<T, Error>) {
    // Whoever asked may have given up.
    reply.send(value).unwrap_or_default();
}
