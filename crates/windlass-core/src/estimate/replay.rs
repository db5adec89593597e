//! The line, played forward: from one moment until nobody starts any more, with one possible run time for each job.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use jiff::{SignedDuration, Timestamp};

use crate::admit::Excerpt;
use crate::{Admission, Cpus};

/// A job in a replay: those that wait first, in the order of their IDs, so that it decides between equal ones; then
/// those that hold CPUs.
type Index = u32;

/// A moment in nanoseconds from now.
type Nanoseconds = u64;

/// The latest moment: some ten years.
const LATEST: Nanoseconds = 300_000_000_000_000_000;

/// The line at one moment, made ready to be played several times.
pub(super) struct Line {
    admission: Admission<Index>,
    now: Timestamp,
    /// Jobs that hold CPUs, in the order in which they were given.
    holding: Vec<Index>,
    /// By their places in the excerpt.
    waiting: Vec<Index>,
}

/// When the jobs that wait start and end, in seconds from now; `None` where they do not, or not before somebody whose
/// end is not known.
pub(super) struct Played {
    pub(super) starts: Vec<Option<f64>>,
    pub(super) ends: Vec<Option<f64>>,
}

impl Line {
    pub(super) fn new<Id: Clone + Ord>(excerpt: &Excerpt<Id>, now: Timestamp) -> Self {
        let mut admission = Admission::with_open(excerpt.capacity, excerpt.is_open);
        for (name, share) in &excerpt.shares {
            admission.set_queue(name, Some(*share));
        }
        let mut by_id: Vec<_> = excerpt.waiting.iter().enumerate().collect();
        by_id.sort_by(|(_, (id, ..)), (_, (other, ..))| id.cmp(other));
        let mut waiting = vec![0; by_id.len()];
        for (index, (at, (_, job, _))) in (0..).zip(by_id) {
            admission.wait(index, job.clone());
            waiting[at] = index;
        }
        let first = waiting.len() as Index;
        let mut holding = Vec::new();
        for (index, (_, queue, cpus)) in (first..).zip(&excerpt.holding) {
            admission.occupy(index, queue, *cpus);
            holding.push(index);
        }
        Self { admission, now, holding, waiting }
    }

    /// Plays it. `remaining` are the seconds for which each holder goes on, and `runs` says for how many seconds a job of
    /// this place in the excerpt holds so many CPUs; `None` is for ever.
    pub(super) fn play(
        &self,
        remaining: &[Option<f64>],
        mut runs: impl FnMut(usize, Cpus) -> Option<f64>,
    ) -> Played {
        let mut admission = self.admission.clone();
        let mut at = 0;
        let mut ends: BinaryHeap<Reverse<(Nanoseconds, Index)>> = BinaryHeap::new();
        for (index, seconds) in self.holding.iter().zip(remaining) {
            ends.extend(seconds.map(|seconds| Reverse((nanoseconds(seconds), *index))));
        }
        let places: BTreeMap<Index, usize> =
            self.waiting.iter().enumerate().map(|(place, index)| (*index, place)).collect();
        let count = self.waiting.len();
        let mut played = Played { starts: vec![None; count], ends: vec![None; count] };
        loop {
            while let Some(grant) = admission.next(self.moment(at)) {
                let Some(&place) = places.get(&grant.id) else { continue };
                played.starts[place] = Some(seconds(at));
                if let Some(runs) = runs(place, grant.cpus) {
                    let end = at.saturating_add(nanoseconds(runs)).min(LATEST);
                    played.ends[place] = Some(seconds(end));
                    ends.push(Reverse((end, grant.id)));
                }
            }
            let Some(Reverse((end, index))) = ends.pop() else { return played };
            at = end;
            admission.release(&index);
            // All that end at one moment, before anybody starts.
            while ends.peek().is_some_and(|Reverse((next, _))| *next == at)
                && let Some(Reverse((_, index))) = ends.pop()
            {
                admission.release(&index);
            }
        }
    }

    fn moment(&self, at: Nanoseconds) -> Timestamp {
        let later = SignedDuration::from_nanos(i64::try_from(at).unwrap_or(i64::MAX));
        self.now.checked_add(later).unwrap_or(Timestamp::MAX)
    }
}

fn nanoseconds(seconds: f64) -> Nanoseconds {
    // A cast of what is too large, or no number, gives a bound.
    ((seconds.max(0.0) * 1e9) as Nanoseconds).min(LATEST)
}

fn seconds(at: Nanoseconds) -> f64 {
    at as f64 / 1e9
}
