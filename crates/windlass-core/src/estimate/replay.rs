//! The line, played forward: from one moment until all that wait have started or nobody starts any more, with one
//! possible run time for each job, and with jobs that come meanwhile.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::{SignedDuration, Timestamp};

use crate::admit::Excerpt;
use crate::{Admission, Cpus, Waiting};

/// A job in a replay: those that wait first, in the order of their IDs, so that it decides between equal ones; then
/// those that hold CPUs; then those that come.
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
    /// The places in the excerpt of those that wait, in the order of their IDs.
    places: Vec<usize>,
}

/// A job that starts in a play: by its place in the excerpt, or among those that come.
#[derive(Clone, Copy)]
pub(super) enum Starts {
    Waiting(usize),
    Later(usize),
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
        let mut places = Vec::new();
        for (index, (at, (_, job, _))) in (0..).zip(by_id) {
            admission.wait(index, job.clone());
            places.push(at);
        }
        let first = places.len() as Index;
        let mut holding = Vec::new();
        for (index, (_, queue, cpus)) in (first..).zip(&excerpt.holding) {
            admission.occupy(index, queue, *cpus);
            holding.push(index);
        }
        Self { admission, now, holding, places }
    }

    /// Plays it. `remaining` are the seconds for which each holder goes on, `later` the jobs that come and after how many
    /// seconds, and `runs` says for how many seconds a job that starts holds so many CPUs; `None` is for ever.
    pub(super) fn play(
        &self,
        remaining: &[Option<f64>],
        later: &[(f64, &Waiting)],
        mut runs: impl FnMut(Starts, Cpus) -> Option<f64>,
    ) -> Played {
        let mut admission = self.admission.clone();
        let mut ends: BinaryHeap<Reverse<(Nanoseconds, Index)>> = BinaryHeap::new();
        for (index, seconds) in self.holding.iter().zip(remaining) {
            ends.extend(seconds.map(|seconds| Reverse((nanoseconds(seconds), *index))));
        }
        let count = self.places.len();
        let mut played = Played { starts: vec![None; count], ends: vec![None; count] };
        let first_later = (count + self.holding.len()) as Index;
        let mut coming = (first_later..).zip(later).peekable();
        let (mut at, mut still_wait) = (0, count);
        loop {
            while let Some(grant) = admission.next(self.moment(at)) {
                let starts = match self.places.get(grant.id as usize) {
                    Some(place) => Starts::Waiting(*place),
                    None => Starts::Later(grant.id.saturating_sub(first_later) as usize),
                };
                let end = runs(starts, grant.cpus)
                    .map(|runs| at.saturating_add(nanoseconds(runs)).min(LATEST));
                ends.extend(end.map(|end| Reverse((end, grant.id))));
                if let Starts::Waiting(place) = starts {
                    played.starts[place] = Some(seconds(at));
                    played.ends[place] = end.map(seconds);
                    still_wait -= 1;
                }
            }
            let end = ends.peek().map(|Reverse((end, _))| *end);
            let Some(next) = end.filter(|_| still_wait > 0) else { return played };
            // All that happens at one moment, before anybody starts.
            at = match coming.peek() {
                Some((_, (after, _))) => next.min(nanoseconds(*after)).max(at),
                None => next,
            };
            while let Some((index, (_, job))) = coming.next_if(|(_, (s, _))| nanoseconds(*s) <= at)
            {
                admission.wait(index, Waiting { since: self.moment(at), ..(*job).clone() });
            }
            while ends.peek().is_some_and(|Reverse((end, _))| *end <= at)
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
