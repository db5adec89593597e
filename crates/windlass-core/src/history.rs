//! What the last hour and the last day were like, in bounded space: how many jobs have ended and how, and how long
//! jobs have waited.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{JobStatus, Phase};

#[cfg(test)]
mod tests;

/// Length of a slot in seconds, and how many of them are kept: an hour by minutes, a day by quarters of an hour.
const WINDOWS: [(u32, i64); 2] = [(60, 60), (900, 96)];

/// Parts of a doubling that are told apart in a wait: it is told too long by 9 % at most.
const STEPS: f64 = 8.0;

/// What of a job has been counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    start: bool,
    end: bool,
}

impl Counted {
    /// All that a job with this status has had so far.
    pub fn of_status(status: &JobStatus) -> Self {
        Self { start: status.timeline.started.is_some(), end: status.is_finished() }
    }
}

/// Counts of jobs by time. A slot in which nothing happened is not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// By the length of a slot and its beginning, both in seconds.
    slots: BTreeMap<(u32, i64), Counts>,
    /// Those that have changed since they were taken last.
    changed: BTreeSet<(u32, i64)>,
}

/// What happened in one slot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    succeeded: u32,
    failed: u32,
    cancelled: u32,
    /// Failed jobs by reason.
    failures: BTreeMap<String, u32>,
    /// Jobs that have started, by how long they had waited: see [`step_of`].
    waits: BTreeMap<u16, u32>,
}

/// One slot, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptSlot {
    /// Its length in seconds.
    pub seconds: u32,
    /// When it began, in seconds since 1970.
    pub from: i64,
    /// What happened in it.
    pub counts: Counts,
}

impl KeptSlot {
    /// When the oldest slot began that is kept beside this one.
    pub fn oldest(&self) -> i64 {
        let kept = WINDOWS.iter().find(|(seconds, _)| *seconds == self.seconds);
        first_of(self.seconds, kept.map_or(1, |(_, kept)| *kept), self.from)
    }
}

impl History {
    /// Counts what has happened to a job beside what was counted before.
    pub fn count(&mut self, before: Counted, status: &JobStatus, now: Timestamp) {
        let (after, timeline) = (Counted::of_status(status), &status.timeline);
        // Only the first attempt waits for its turn alone.
        let waited = timeline.created.zip(timeline.started).filter(|_| timeline.earlier.is_empty());
        if after.start
            && !before.start
            && let Some((from, to)) = waited
        {
            let step = step_of(to.duration_since(from).as_millis());
            self.change(to, now, |counts| *counts.waits.entry(step).or_default() += 1);
        }
        if after.end && !before.end {
            let failure = status.failure.as_ref().map(|failure| failure.reason.as_str());
            self.change(timeline.finished.unwrap_or(now), now, |counts| match status.phase {
                Some(Phase::Succeeded) => counts.succeeded += 1,
                Some(Phase::Cancelled) => counts.cancelled += 1,
                _ => {
                    counts.failed += 1;
                    let reason = failure.unwrap_or_default().to_owned();
                    *counts.failures.entry(reason).or_default() += 1;
                }
            });
        }
    }

    fn change(&mut self, at: Timestamp, now: Timestamp, change: impl Fn(&mut Counts)) {
        let (at, now) = (at.min(now).as_second(), now.as_second());
        for (seconds, kept) in WINDOWS {
            let (key, first) = ((seconds, begin(seconds, at)), first_of(seconds, kept, now));
            if key.1 < first {
                continue;
            }
            if !self.slots.contains_key(&key) {
                self.slots.retain(|(length, from), _| *length != seconds || *from >= first);
            }
            change(self.slots.entry(key).or_default());
            self.changed.insert(key);
        }
    }

    /// Whether anything of it is told of now.
    pub fn has_any(&self, now: Timestamp) -> bool {
        let seconds = now.as_second();
        WINDOWS.iter().any(|(length, kept)| {
            self.slots
                .range((*length, first_of(*length, *kept, seconds))..=(*length, seconds))
                .next()
                .is_some()
        })
    }

    /// The slots that have changed since they were taken last.
    pub fn take_changed(&mut self) -> Vec<KeptSlot> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let kept = changed.filter_map(|(seconds, from)| {
            let counts = self.slots.get(&(seconds, from))?.clone();
            Some(KeptSlot { seconds, from, counts })
        });
        kept.collect()
    }

    /// These slots were not kept: they have changed still.
    pub fn give_back(&mut self, slots: &[KeptSlot]) {
        self.changed.extend(slots.iter().map(|slot| (slot.seconds, slot.from)));
    }

    /// The history of these slots.
    pub fn from_slots(slots: Vec<KeptSlot>) -> Self {
        let slots = slots.into_iter().map(|slot| ((slot.seconds, slot.from), slot.counts));
        Self { slots: slots.collect(), changed: BTreeSet::new() }
    }

    /// What is told of it. `since` is when counting began, where what was before is not known.
    pub fn report(&self, since: Option<Timestamp>, now: Timestamp) -> HistoryReport {
        let [hour, day] = WINDOWS.map(|(seconds, kept)| self.window(seconds, kept, now));
        HistoryReport { since, hour, day }
    }

    fn window(&self, seconds: u32, kept: i64, now: Timestamp) -> Window {
        let now = now.as_second();
        let first = first_of(seconds, kept, now);
        let mut all = Counts::default();
        let mut slots = Vec::new();
        for ((_, from), counts) in self.slots.range((seconds, first)..=(seconds, now)) {
            all.add(counts);
            slots.push(counts.told(*from));
        }
        Window { slot_seconds: seconds, all: all.told(first), slots }
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        for (reason, count) in &other.failures {
            *self.failures.entry(reason.clone()).or_default() += count;
        }
        for (step, count) in &other.waits {
            *self.waits.entry(*step).or_default() += count;
        }
    }

    fn told(&self, from: i64) -> Slot {
        let started = self.waits.values().sum();
        Slot {
            from: Timestamp::from_second(from).unwrap_or_default(),
            succeeded: self.succeeded,
            failed: self.failed,
            cancelled: self.cancelled,
            failures: self.failures.clone(),
            started,
            wait_p50_seconds: self.wait(started.div_ceil(2)),
            wait_p95_seconds: self.wait((u64::from(started) * 95).div_ceil(100) as u32),
        }
    }

    /// How long the job with this place waited, where the one that waited least has the place 1.
    fn wait(&self, place: u32) -> Option<f64> {
        let mut passed = 0;
        let step = self.waits.iter().find(|(_, count)| {
            passed += **count;
            passed >= place.max(1)
        });
        step.map(|(step, _)| seconds_of(*step))
    }
}

/// When the slot of this time began.
fn begin(seconds: u32, at: i64) -> i64 {
    at - at.rem_euclid(i64::from(seconds))
}

/// When the first slot of a window began.
fn first_of(seconds: u32, kept: i64, now: i64) -> i64 {
    begin(seconds, now) - i64::from(seconds) * (kept - 1)
}

/// The step of a wait: steps get longer by the same factor each.
fn step_of(milliseconds: i128) -> u16 {
    let milliseconds = milliseconds.clamp(0, i128::from(u32::MAX)) as f64;
    (STEPS * (milliseconds + 1.0).log2()).ceil() as u16
}

/// The longest wait of a step.
fn seconds_of(step: u16) -> f64 {
    ((f64::from(step) / STEPS).exp2() - 1.0).max(0.0).round() / 1000.0
}

/// What the last hour and the last day were like.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryReport {
    /// When counting began. Absent where all that has happened was counted: on one machine.
    pub since: Option<Timestamp>,
    /// The last hour, by minutes.
    pub hour: Window,
    /// The last day, by quarters of an hour.
    pub day: Window,
}

/// Some time up to now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Length of a slot in seconds.
    pub slot_seconds: u32,
    /// All slots together.
    pub all: Slot,
    /// The slots in which something happened, in their order.
    pub slots: Vec<Slot>,
}

/// What happened in a slot of time.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// When it began.
    pub from: Timestamp,
    /// Jobs that have ended with a result.
    pub succeeded: u32,
    /// Jobs that have failed.
    pub failed: u32,
    /// Jobs that were cancelled.
    pub cancelled: u32,
    /// Failed jobs by reason.
    pub failures: BTreeMap<String, u32>,
    /// Jobs whose first attempt has started.
    pub started: u32,
    /// Of those, half had waited at most so long from their acceptance. It is too long by 9 % at most.
    pub wait_p50_seconds: Option<f64>,
    /// The same for 95 of 100.
    pub wait_p95_seconds: Option<f64>,
}
