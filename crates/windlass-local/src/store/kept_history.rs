//! What the last hour and the last day were like, and how long jobs of each function take, kept beside the jobs: a start
//! of the server goes on with it.
//!
//! What the controller counts is committed with the next change of a job. That is the change that was counted, or an earlier
//! one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, params};
use windlass_core::estimate::{EndedJobs, RunTimes};
use windlass_core::history::{Counted, History, HistoryReport, KeptSlot};
use windlass_core::{Job, JobStatus};

use super::rows::{json, parsed};

/// The counts, of which the database has those of the last commit.
pub(super) struct KeptHistory(Mutex<Kept>);

struct Kept {
    history: History,
    times: RunTimes,
}

/// What of it the database lacks.
pub(super) struct Unsaved {
    slots: Vec<KeptSlot>,
    times: Vec<(String, Option<EndedJobs>)>,
}

impl KeptHistory {
    /// As it was committed last.
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut statement = db.prepare("SELECT seconds, start, counts FROM history")?;
        let slots = statement.query_map([], |row| {
            Ok(KeptSlot { seconds: row.get(0)?, from: row.get(1)?, counts: parsed(row, 2)? })
        })?;
        let history = History::from_slots(slots.collect::<Result<_, _>>()?);
        let mut statement = db.prepare("SELECT function, jobs FROM run_times")?;
        let times = statement.query_map([], |row| Ok((row.get(0)?, parsed(row, 1)?)))?;
        let times = RunTimes::from_functions(times.collect::<Result<Vec<_>, _>>()?);
        Ok(Self(Mutex::new(Kept { history, times })))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A panic leaves at most one job that is counted in one slot of two.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what has happened to a job since it was `before`.
    pub(super) fn count_change(&self, before: &Job, status: &JobStatus, now: Timestamp) {
        let mut kept = self.lock();
        kept.history.count(Counted::of_status(&before.status), status, now);
        if status.is_finished() && !before.status.is_finished() {
            kept.times.count(&before.spec.function, status);
        }
    }

    /// How long jobs have held their CPUs.
    pub(super) fn run_times(&self) -> RunTimes {
        self.lock().times.clone()
    }

    pub(super) fn report(&self, now: Timestamp) -> HistoryReport {
        self.lock().history.report(None, now)
    }

    /// What the database lacks.
    pub(super) fn take_changed(&self) -> Unsaved {
        let mut kept = self.lock();
        Unsaved { slots: kept.history.take_changed(), times: kept.times.take_changed() }
    }

    /// The database still lacks this.
    pub(super) fn give_back(&self, unsaved: &Unsaved) {
        let mut kept = self.lock();
        kept.history.give_back(&unsaved.slots);
        kept.times.give_back(&unsaved.times);
    }
}

/// Writes it. Slots that are too old to be told of are deleted, and functions that were forgotten.
pub(super) fn save(db: &Connection, unsaved: &Unsaved) -> rusqlite::Result<()> {
    for slot in &unsaved.slots {
        db.prepare_cached(
            "INSERT INTO history (seconds, start, counts) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET counts = excluded.counts",
        )?
        .execute(params![slot.seconds, slot.from, json(&slot.counts)?])?;
        db.prepare_cached("DELETE FROM history WHERE seconds = ?1 AND start < ?2")?
            .execute(params![slot.seconds, slot.oldest()])?;
    }
    for (function, jobs) in &unsaved.times {
        match jobs {
            Some(jobs) => db
                .prepare_cached(
                    "INSERT OR REPLACE INTO run_times (function, jobs) VALUES (?1, ?2)",
                )?
                .execute(params![function, json(jobs)?])?,
            None => db
                .prepare_cached("DELETE FROM run_times WHERE function = ?1")?
                .execute(params![function])?,
        };
    }
    Ok(())
}
