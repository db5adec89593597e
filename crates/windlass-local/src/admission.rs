//! Who may start: the jobs that wait for CPUs, and what is granted, in core's [`Admission`].
//!
//! Also how many may wait: a place in a queue is taken before a submission is committed, so that the
//! bound holds however many come at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;
use windlass_core::admit::{Admission, Share};
use windlass_core::queue::QueueStatus;
use windlass_core::{Capacity, Cpus, Error, JobLimits, Waiting};

use crate::functions::Functions;

/// Weight of the latest interval between two starts in their mean.
const LATEST: f64 = 0.1;

/// Most that a caller is told to wait before trying again.
const LONGEST_RETRY: Duration = Duration::from_secs(600);

/// Jobs that wait, and CPUs that are granted.
pub(crate) struct Line {
    admission: Admission<Uuid>,
    /// Those that were not told yet that they wait, in the order in which they came.
    news: Vec<Uuid>,
    places: Arc<Places>,
    /// Queues that have an object.
    queues: Vec<String>,
    last_start: Option<Timestamp>,
}

/// A job's place in the line.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) queue: Arc<str>,
    pub(crate) priority: i32,
    pub(crate) since: Timestamp,
}

impl Line {
    pub(crate) fn new(cpus: Cpus, places: Arc<Places>) -> Self {
        let admission = Admission::new(Capacity(Some(cpus)));
        Self { admission, news: Vec::new(), places, queues: Vec::new(), last_start: None }
    }

    /// Takes over the queues' objects.
    pub(crate) fn set_queues(&mut self, functions: &Functions) {
        for name in std::mem::take(&mut self.queues) {
            self.admission.set_queue(&name, None);
        }
        for queue in functions.queues() {
            let name = queue.metadata.name.clone();
            let share = Share { quota: Some(queue.spec.cpus), weight: queue.spec.weight };
            self.admission.set_queue(&name, Some(share));
            self.queues.push(name);
        }
    }

    /// A job needs CPUs. `news`: it is to be told that it waits.
    pub(crate) fn join(&mut self, uid: Uuid, place: &Place, limits: &JobLimits, news: bool) {
        let waiting = Waiting {
            queue: place.queue.to_string(),
            priority: place.priority,
            since: place.since,
            min: limits.min_parallelism,
            max: limits.parallelism,
        };
        self.admission.wait(uid, waiting);
        if news {
            self.news.push(uid);
        }
    }

    /// A job needs no CPUs any more.
    pub(crate) fn leave(&mut self, uid: &Uuid) {
        self.admission.leave(uid);
    }

    /// Nothing runs of a job any more: what it was granted is free.
    pub(crate) fn release(&mut self, uid: &Uuid) {
        self.admission.release(uid);
    }

    /// Who starts next, with how many CPUs.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<(Uuid, Cpus)> {
        let grant = self.admission.next(now)?;
        if let Some(last) = self.last_start.replace(now) {
            self.places.started(Duration::try_from(now.duration_since(last)).unwrap_or_default());
        }
        Some((grant.id, grant.cpus))
    }

    /// What is in use of a queue.
    pub(crate) fn uses(&self, queue: &str) -> QueueStatus {
        let waiting = u32::try_from(self.admission.waiting_in(queue)).unwrap_or(u32::MAX);
        QueueStatus { granted: self.admission.used_in(queue), waiting }
    }

    /// Those that wait since the last call.
    pub(crate) fn take_news(&mut self) -> Vec<Uuid> {
        std::mem::take(&mut self.news)
    }
}

/// How many jobs wait in each queue, and how many may.
#[derive(Debug)]
pub(crate) struct Places {
    /// Most jobs that wait on this machine.
    most: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    all: u32,
    /// Queues in which somebody waits.
    by_queue: HashMap<String, u32>,
    /// Mean time between two starts, in seconds.
    interval: Option<f64>,
}

/// A place in a queue, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    places: Arc<Places>,
    queue: Option<String>,
}

impl Places {
    pub(crate) fn new(most: u32) -> Self {
        Self { most, state: Mutex::default() }
    }

    /// Takes a place for a new job, or says when there may be one.
    pub(crate) fn take(self: &Arc<Self>, queue: &str, most: Option<u32>) -> Result<Taken, Error> {
        let mut state = self.lock();
        let here = state.by_queue.get(queue).copied().unwrap_or(0);
        let full = match most {
            Some(most) if here >= most => {
                Some((here, format!("queue {queue:?} holds {here} waiting jobs, the most it may")))
            }
            _ if state.all >= self.most => {
                let all = state.all;
                Some((all, format!("this server holds {all} waiting jobs, the most it may")))
            }
            _ => None,
        };
        if let Some((ahead, why)) = full {
            return Err(busy(why, ahead, state.interval));
        }
        state.enter(queue);
        Ok(Taken { places: Arc::clone(self), queue: Some(queue.to_owned()) })
    }

    /// Counts a job that was accepted before, whatever the bound is now.
    pub(crate) fn enter(&self, queue: &str) {
        self.lock().enter(queue);
    }

    /// A job waits no more.
    pub(crate) fn leave(&self, queue: &str) {
        let mut state = self.lock();
        state.all = state.all.saturating_sub(1);
        if let Some(count) = state.by_queue.get_mut(queue) {
            *count -= 1;
            if *count == 0 {
                state.by_queue.remove(queue);
            }
        }
    }

    fn started(&self, since_the_last: Duration) {
        let mut state = self.lock();
        let latest = since_the_last.as_secs_f64();
        state.interval =
            Some(state.interval.map_or(latest, |mean| mean + LATEST * (latest - mean)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counts stay counts when a thread panics elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, queue: &str) {
        self.all += 1;
        *self.by_queue.entry(queue.to_owned()).or_default() += 1;
    }
}

impl Taken {
    /// The job is accepted: its place is given back when it starts.
    pub(crate) fn keep(mut self) {
        self.queue = None;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            self.places.leave(queue);
        }
    }
}

/// A place is free after the next start; the whole line takes as many starts as it is long.
fn busy(why: String, ahead: u32, interval: Option<f64>) -> Error {
    let Some(interval) = interval else {
        return Error::Busy { message: why, retry_after: Duration::from_secs(1) };
    };
    let wait = (interval * f64::from(ahead)).ceil();
    let retry_after =
        Duration::try_from_secs_f64(interval).unwrap_or(LONGEST_RETRY).min(LONGEST_RETRY);
    Error::Busy { message: format!("{why}; a new one would wait for about {wait} s"), retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_jobs_wait_than_may() {
        let places = Arc::new(Places::new(3));
        places.take("a", Some(1)).unwrap().keep();
        let refused = places.take("a", Some(1)).unwrap_err();
        assert!(matches!(refused, Error::Busy { .. }), "{refused}");
        drop(places.take("b", None).unwrap());
        places.take("b", None).unwrap().keep();
        places.enter("a");
        assert!(places.take("b", None).is_err(), "the machine's bound");
        places.leave("a");
        places.leave("a");
        places.take("a", Some(1)).unwrap().keep();
    }

    #[test]
    fn the_answer_estimates_the_wait() {
        let places = Arc::new(Places::new(10));
        for _ in 0..10 {
            places.take("a", None).unwrap().keep();
        }
        for _ in 0..100 {
            places.started(Duration::from_secs(4));
        }
        let Err(Error::Busy { message, retry_after }) = places.take("a", None) else { panic!() };
        assert_eq!(retry_after, Duration::from_secs(4));
        assert!(message.ends_with("a new one would wait for about 40 s"), "{message}");
    }
}
