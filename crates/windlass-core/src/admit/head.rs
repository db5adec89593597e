//! A job that decides for all queues, and until when it does.

use std::cmp::Ordering;

use jiff::Timestamp;

use super::request::RESERVE_AFTER_SECONDS;
use crate::Cpus;

/// When a job was created, and its number among those of that time.
pub(super) type Age = (Timestamp, u64);

/// A time in nanoseconds: the sum of any two is one, too.
pub(super) type Nanoseconds = i128;

/// A job in the order of all jobs.
#[derive(Clone, Debug)]
pub(super) struct Head<Id> {
    pub(super) is_owed: bool,
    pub(super) priority: i32,
    pub(super) granted: u64,
    pub(super) weight: u32,
    pub(super) age: Age,
    pub(super) id: Id,
}

/// The jobs of one queue that decide, with their sizes.
#[derive(Clone, Debug)]
pub(super) struct Heads<Id> {
    pub(super) ready: Vec<(Cpus, Head<Id>)>,
    pub(super) old: Vec<(Cpus, Head<Id>)>,
    pub(super) period: Period,
}

/// From when until when the same jobs are old, as far as somebody asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) begin: Option<Nanoseconds>,
    pub(super) end: Option<Nanoseconds>,
}

impl Period {
    /// Whether a job of this time is old now.
    pub(super) fn is_old(&mut self, since: Timestamp, now: Timestamp) -> bool {
        let from = since.as_nanosecond() + i128::from(RESERVE_AFTER_SECONDS) * 1_000_000_000;
        let is_old = from <= now.as_nanosecond();
        if is_old {
            self.begin = self.begin.max(Some(from));
        } else {
            self.end = Some(self.end.map_or(from, |end| end.min(from)));
        }
        is_old
    }
}

impl<Id> Default for Heads<Id> {
    fn default() -> Self {
        Self { ready: Vec::new(), old: Vec::new(), period: Period::default() }
    }
}

impl<Id: Ord> PartialEq for Heads<Id> {
    fn eq(&self, other: &Self) -> bool {
        (&self.ready, &self.old, self.period) == (&other.ready, &other.old, other.period)
    }
}

impl<Id: Ord> Ord for Head<Id> {
    fn cmp(&self, other: &Self) -> Ordering {
        let share = || {
            // Granted CPUs by weight, without rounding.
            let mine = u128::from(self.granted) * u128::from(other.weight);
            mine.cmp(&(u128::from(other.granted) * u128::from(self.weight)))
        };
        (other.is_owed.cmp(&self.is_owed))
            .then_with(|| other.priority.cmp(&self.priority))
            .then_with(share)
            .then_with(|| (self.age, &self.id).cmp(&(other.age, &other.id)))
    }
}

impl<Id: Ord> PartialOrd for Head<Id> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<Id: Ord> PartialEq for Head<Id> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<Id: Ord> Eq for Head<Id> {}
