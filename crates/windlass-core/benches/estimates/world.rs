//! One machine in virtual time: jobs come, the real admission grants, jobs end. At some moments it is asked what is
//! estimated.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use windlass_core::estimate::{
    Arrivals, Estimate, KnownJob, MAX_WAITING, RunTimes, Situation, estimate,
};
use windlass_core::{Admission, Capacity, Cpus, Share, Waiting};

use super::jobs::{Random, Work, crowd};

const CPUS: Cpus = 32;

/// The mean time between two crowds, in seconds: such that the CPUs are busy most of the time.
const BETWEEN_CROWDS: f64 = 52.0;

/// What was estimated of a job, and what happened.
pub(crate) struct Judged {
    /// The jobs that came at once: the seed of their world, and their number in it.
    pub(crate) crowd: (u64, usize),
    /// Its wait, from its submission.
    pub(crate) waited: f64,
    /// Whether a job that was submitted later has started before.
    pub(crate) overtaken: bool,
    /// The first tenth, the middle and the last tenth that were told at its submission.
    pub(crate) start: Option<[f64; 3]>,
    /// Whether its function tells progress.
    pub(crate) tells: bool,
    /// What was left of its time after a tenth of it.
    pub(crate) remained: f64,
    /// The first tenth, the middle and the last tenth that are told with its progress, and without.
    pub(crate) remaining: [Option<[f64; 3]>; 2],
    /// How long the estimate of all jobs took when it was submitted.
    pub(crate) took: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    End(usize),
    /// A job has run for a tenth of its time.
    Tenth(usize),
    Crowd,
}

pub(crate) struct World {
    seed: u64,
    random: Random,
    /// How many have come.
    crowds: usize,
    /// In milliseconds.
    now: i64,
    events: BinaryHeap<Reverse<(i64, Event)>>,
    admission: Admission<usize>,
    times: RunTimes,
    arrivals: Arrivals,
    work: Vec<Work>,
    known: BTreeMap<usize, KnownJob>,
    submitted: Vec<i64>,
    waiting: BTreeSet<usize>,
    /// What runs, since when and with how many CPUs.
    running: BTreeMap<usize, (i64, Cpus)>,
    judged: Vec<Judged>,
}

fn time(now: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + now).expect("a time in this century")
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).ceil() as i64
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut admission = Admission::new(Capacity(Some(CPUS)));
        let share = |weight, quota| Some(Share { quota, weight, ..Share::default() });
        admission.set_queue("interactive", share(3, None));
        admission.set_queue("batch", share(1, Some(24)));
        Self {
            seed,
            random: Random(seed),
            crowds: 0,
            now: 0,
            events: BinaryHeap::from([Reverse((0, Event::Crowd))]),
            admission,
            times: RunTimes::default(),
            arrivals: Arrivals::since(time(0)),
            work: Vec::new(),
            known: BTreeMap::new(),
            submitted: Vec::new(),
            waiting: BTreeSet::new(),
            running: BTreeMap::new(),
            judged: Vec::new(),
        }
    }

    /// Plays until so many jobs have been submitted and all have ended.
    pub(crate) fn run(mut self, jobs: usize) -> Vec<Judged> {
        while let Some(Reverse((at, event))) = self.events.pop() {
            self.now = at;
            match event {
                Event::Crowd => self.submit(jobs),
                Event::End(id) => self.end(id),
                Event::Tenth(id) => self.judge_remaining(id),
            }
            self.start();
        }
        self.judged
    }

    fn submit(&mut self, most: usize) {
        self.crowds += 1;
        let work = crowd(&mut self.random);
        let queue = if self.random.part() < 0.6 { "batch" } else { "interactive" };
        let priority = [0, 0, 0, 0, 0, 0, 0, 0, 5, -5][self.random.below(10)];
        for work in work {
            let id = self.work.len();
            if id == most {
                return;
            }
            let (queue, since) = (queue.to_owned(), time(self.now));
            let waiting =
                Waiting { queue, priority, since, sequence: 0, min: work.min, max: work.max };
            self.arrivals.add(work.function.name, waiting.clone());
            self.admission.wait(id, waiting);
            let (name, function) = (format!("job-{id}"), work.function.name.to_owned());
            self.known.insert(id, KnownJob { name, function, ..KnownJob::default() });
            self.submitted.push(self.now);
            self.waiting.insert(id);
            self.work.push(work);
            let began = Instant::now();
            let told = self.estimates(None);
            let told = told.iter().find(|told| told.name == self.known[&id].name);
            let took = began.elapsed();
            let start = told.and_then(|told| {
                let Estimate {
                    earliest_start_time, estimated_start_time, latest_start_time, ..
                } = told;
                self.seconds([earliest_start_time, estimated_start_time, latest_start_time])
            });
            let tells = work.progress(0.0).is_some();
            let (waited, remained, remaining) = (0.0, 0.0, [None; 2]);
            self.judged.push(Judged {
                crowd: (self.seed, self.crowds),
                waited,
                overtaken: false,
                start,
                tells,
                remained,
                remaining,
                took,
            });
            // One that starts at once is in nobody's way.
            self.start();
        }
        let next = self.now + milliseconds(self.random.exponential(BETWEEN_CROWDS));
        self.events.push(Reverse((next, Event::Crowd)));
    }

    fn start(&mut self) {
        while let Some(grant) = self.admission.next(time(self.now)) {
            let (id, now) = (grant.id, self.now);
            let seconds = self.work[id].seconds(grant.cpus);
            self.running.insert(id, (now, grant.cpus));
            let passed = self.waiting.range(..id).copied().collect::<Vec<_>>();
            passed.into_iter().for_each(|other| self.judged[other].overtaken = true);
            self.waiting.remove(&id);
            self.judged[id].waited = (now - self.submitted[id]) as f64 / 1000.0;
            let known = self.known.get_mut(&id).expect("it was submitted");
            (known.admitted, known.running) = (Some(time(now)), Some(time(now)));
            self.events.push(Reverse((now + milliseconds(seconds), Event::End(id))));
            self.events.push(Reverse((now + milliseconds(seconds / 10.0), Event::Tenth(id))));
        }
    }

    fn end(&mut self, id: usize) {
        self.admission.release(&id);
        self.known.remove(&id);
        let Some((since, cpus)) = self.running.remove(&id) else { return };
        let seconds = (self.now - since) as f64 / 1000.0;
        self.times.add(self.work[id].function.name, seconds, cpus, time(self.now));
    }

    fn judge_remaining(&mut self, id: usize) {
        let Some((_, cpus)) = self.running.get(&id) else { return };
        self.judged[id].remained = self.work[id].seconds(*cpus) * 0.9;
        let name = self.known[&id].name.clone();
        let ends = |tells: bool| {
            let told = self.estimates(Some((id, tells)));
            let told = told.into_iter().find(|told| told.name == name)?;
            self.seconds([
                &told.earliest_completion_time,
                &told.estimated_completion_time,
                &told.latest_completion_time,
            ])
        };
        let remaining = [true, false].map(ends);
        self.judged[id].remaining = remaining;
    }

    /// What is told now, if one job tells progress or not, and all others do.
    fn estimates(&self, but: Option<(usize, bool)>) -> Vec<Estimate> {
        let mut known = self.known.clone();
        for (id, (since, cpus)) in &self.running {
            let work = self.work[*id];
            let seconds = work.seconds(*cpus);
            let Some(known) = known.get_mut(id) else { continue };
            if but.is_some_and(|(other, tells)| other == *id && !tells) {
                continue;
            }
            known.progress = work.progress((self.now - since) as f64 / 1000.0 / seconds);
            let first = work.first_progress();
            let first = first.map(|part| since + milliseconds(part * seconds));
            known.first_progress = first.filter(|at| *at <= self.now).map(|at| (time(at), 1));
        }
        let excerpt = self.admission.excerpt(self.running.keys().copied(), MAX_WAITING);
        estimate(
            &Situation { excerpt, known, arrivals: self.arrivals.clone() },
            &self.times,
            time(self.now),
        )
    }

    fn seconds(&self, times: [&Option<Timestamp>; 3]) -> Option<[f64; 3]> {
        let from_now = |time_: &Option<Timestamp>| -> Option<f64> {
            let after: SignedDuration = (*time_)?.duration_since(time(self.now));
            Some(after.as_secs_f64())
        };
        let [early, middle, late] = times.map(from_now);
        Some([early?, middle?, late?])
    }
}
