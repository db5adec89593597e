//! What the last hour and the last day were like, kept beside the jobs: a start of the server goes on with it.
//!
//! What the controller counts is committed with the next change of a job. That is the change that was counted, or an earlier
//! one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, params};
use windlass_core::JobStatus;
use windlass_core::history::{Counted, History, HistoryReport, KeptSlot};

use super::rows::{json, parsed};

/// The counts, of which the database has those of the last commit.
pub(super) struct KeptHistory(Mutex<History>);

impl KeptHistory {
    /// As it was committed last.
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut statement = db.prepare("SELECT seconds, start, counts FROM history")?;
        let slots = statement.query_map([], |row| {
            Ok(KeptSlot { seconds: row.get(0)?, from: row.get(1)?, counts: parsed(row, 2)? })
        })?;
        Ok(Self(Mutex::new(History::of(slots.collect::<Result<_, _>>()?))))
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        // A panic leaves at most one job that is counted in one slot of two.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, before: Counted, status: &JobStatus, now: Timestamp) {
        self.lock().count(before, status, now);
    }

    pub(super) fn report(&self, now: Timestamp) -> HistoryReport {
        self.lock().report(None, now)
    }

    /// What the database lacks.
    pub(super) fn take_changed(&self) -> Vec<KeptSlot> {
        self.lock().take_changed()
    }

    /// The database still lacks this.
    pub(super) fn give_back(&self, slots: &[KeptSlot]) {
        self.lock().give_back(slots);
    }
}

/// Writes slots, and deletes those of their length that are too old to be told of.
pub(super) fn save(db: &Connection, slots: &[KeptSlot]) -> rusqlite::Result<()> {
    for slot in slots {
        db.prepare_cached(
            "INSERT INTO history (seconds, start, counts) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET counts = excluded.counts",
        )?
        .execute(params![slot.seconds, slot.from, json(&slot.counts)?])?;
        db.prepare_cached("DELETE FROM history WHERE seconds = ?1 AND start < ?2")?
            .execute(params![slot.seconds, slot.oldest()])?;
    }
    Ok(())
}
