//! One transaction: the changes that arrived together, and those that a waited call has still to bring.
//!
//! A job whose caller waits for its end begins as soon as its row is in the transaction: then its name
//! is its own. Its end often comes within a millisecond. So a transaction of such jobs waits a moment
//! for their ends and has both in one commit, unless somebody waits for the commit itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use windlass_core::Job;

use super::change::{Change, Executed, NewJob};
use crate::event::{Event, EventSender};

/// Most changes of one transaction: bounds the wait of the first.
pub(super) const MAX_CHANGES: usize = 512;

/// How long a transaction waits for the ends of jobs that it has begun. A program that is started for a
/// job takes less. A function that takes longer runs beside the commit.
pub(super) const PATIENCE: Duration = Duration::from_millis(5);

/// How long an end waits for other ends.
const COMPANY: Duration = Duration::from_micros(500);

/// A transaction that is open.
pub(super) struct Transaction<'a> {
    db: &'a Connection,
    events: &'a EventSender,
    opened: Instant,
    executed: Vec<Executed>,
    failed: Option<rusqlite::Error>,
    /// UIDs of the jobs that have begun and whose end is not here.
    begun: HashSet<String>,
    /// When the first end came of one that had begun.
    ended: Option<Instant>,
    /// Somebody waits for the commit itself.
    is_urgent: bool,
}

/// What was done, and whether it was committed.
pub(super) type Transacted = (Vec<Executed>, rusqlite::Result<()>);

impl<'a> Transaction<'a> {
    /// Opens it. What did not work is known at the commit.
    pub(super) fn open(db: &'a Connection, events: &'a EventSender) -> Self {
        let failed = db.execute_batch("BEGIN IMMEDIATE").err();
        let (executed, begun, ended) = (Vec::new(), HashSet::new(), None);
        let (opened, is_urgent) = (Instant::now(), false);
        Self { db, events, opened, executed, failed, begun, ended, is_urgent }
    }

    /// Runs statements of nobody's change.
    pub(super) fn run(&mut self, statements: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
        if self.failed.is_none() {
            self.failed = statements(self.db).err();
        }
    }

    /// Executes a change. A job that is waited for begins.
    pub(super) fn execute(&mut self, change: Change) {
        match &change {
            Change::Insert { new, .. } if new.is_waited_for => {}
            // An end that is not one of those waited for has a caller of its own.
            Change::Update { job, reply: None } if self.begun.remove(&job.metadata.uid) => {
                self.ended.get_or_insert_with(Instant::now);
            }
            change => self.is_urgent |= !change.can_wait(),
        }
        let (executed, result) = change.execute(self.db, self.failed.is_some());
        self.failed = self.failed.take().or(result.err());
        let executed = match executed {
            Executed::Inserted(new, reply) if new.is_waited_for && self.failed.is_none() => {
                let job = submit(*new, false, self.events);
                self.begun.insert(job.metadata.uid.clone());
                Executed::Begun(job, reply)
            }
            executed => executed,
        };
        self.executed.push(executed);
    }

    /// How much longer it waits for ends, of so long in all. `None` when it is time to commit.
    pub(super) fn waits(&self, patience: Duration) -> Option<Duration> {
        let is_full = self.executed.len() >= MAX_CHANGES;
        if self.begun.is_empty() || self.is_urgent || is_full || self.failed.is_some() {
            return None;
        }
        let left = patience.checked_sub(self.opened.elapsed())?;
        match self.ended {
            None => Some(left),
            Some(ended) => COMPANY.checked_sub(ended.elapsed()).map(|company| company.min(left)),
        }
    }

    /// Commits it, or undoes all of it.
    pub(super) fn commit(self) -> Transacted {
        let committed = match self.failed {
            None => self.db.execute_batch("COMMIT"),
            Some(error) => Err(error),
        };
        if committed.is_err() && !self.db.is_autocommit() {
            // A failure may have rolled back already; the error that counts is the first.
            self.db.execute_batch("ROLLBACK").unwrap_or_default();
        }
        (self.executed, committed)
    }
}

/// Gives a new job to the controller, with its place in the backlog.
pub(super) fn submit(new: NewJob, is_stored: bool, events: &EventSender) -> Arc<Job> {
    let NewJob { job, limits, reservation, .. } = new;
    let job = Arc::new(job);
    reservation.keep();
    events.send(Event::Submitted { job: Arc::clone(&job), limits, is_stored });
    job
}

/// What each job has become in a transaction at last, by UID.
pub(super) fn latest(executed: &[Executed]) -> HashMap<String, Arc<Job>> {
    let jobs = executed.iter().filter_map(|executed| match executed {
        Executed::Updated(job, ..) | Executed::UpdatedSoon(job) => Some(job),
        _ => None,
    });
    jobs.map(|job| (job.metadata.uid.clone(), Arc::clone(job))).collect()
}
