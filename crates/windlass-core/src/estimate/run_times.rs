//! How long the jobs of each function have held their CPUs, in bounded space: the latest of the functions that were
//! used last.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Cpus, JobStatus, Phase};

/// Fewest ended jobs of a function from which anything is estimated.
pub const MIN_ENDED_JOBS: usize = 5;

/// Ended jobs that are kept of a function: older ones are forgotten, so that estimates follow what changes.
const MAX_ENDED_JOBS: usize = 128;

/// Functions that are kept.
const MAX_FUNCTIONS: usize = 500;

/// Weight, in squared logarithms of CPUs, of the belief that twice the CPUs take half the time: ten jobs with twice the
/// CPUs of ten others weigh as much.
const BELIEF_WEIGHT: f64 = 5.0;

/// The longest time that is believed, in seconds.
const MAX_SECONDS: f64 = 1e9;

/// What is known of the run times of all functions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunTimes {
    functions: BTreeMap<String, EndedJobs>,
    /// Those that have changed since they were taken last, where somebody keeps them.
    changed: Option<BTreeSet<String>>,
}

/// The latest ended jobs of one function, as they are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndedJobs {
    /// When the latest has ended, in seconds since 1970.
    latest: i64,
    /// How many seconds each has held how many CPUs, the oldest first.
    jobs: VecDeque<(f64, Cpus)>,
}

impl RunTimes {
    /// Counts a job that has just ended. One that was cancelled, or whose function never ran, says nothing of how long
    /// it would have taken.
    pub fn count(&mut self, function: &str, status: &JobStatus) {
        let timeline = &status.timeline;
        let is_told = matches!(status.phase, Some(Phase::Succeeded | Phase::Failed));
        let Some((began, ended)) = (timeline.admitted.or(timeline.started))
            .filter(|_| is_told && timeline.running.is_some())
            .zip(timeline.finished)
        else {
            return;
        };
        let seconds = ended.duration_since(began).as_secs_f64();
        self.add(function, seconds, status.parallelism.unwrap_or(1), ended);
    }

    /// A job of this function has held so many CPUs for so many seconds. A time that cannot be is not counted.
    pub fn add(&mut self, function: &str, seconds: f64, cpus: Cpus, ended: Timestamp) {
        if !is_possible(&(seconds, cpus)) {
            return;
        }
        if !self.functions.contains_key(function) && self.functions.len() >= MAX_FUNCTIONS {
            let oldest = self.functions.iter().min_by_key(|(_, ended)| ended.latest);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.functions.remove(&oldest);
                self.mark_changed(&oldest);
            }
        }
        let known = self.functions.entry(function.to_owned()).or_default();
        known.latest = known.latest.max(ended.as_second());
        known.jobs.push_back((seconds, cpus));
        if known.jobs.len() > MAX_ENDED_JOBS {
            known.jobs.pop_front();
        }
        self.mark_changed(function);
    }

    fn mark_changed(&mut self, function: &str) {
        if let Some(changed) = &mut self.changed {
            changed.insert(function.to_owned());
        }
    }

    /// What was kept before. From now on it is known what changes.
    pub fn from_functions(functions: impl IntoIterator<Item = (String, EndedJobs)>) -> Self {
        let mut kept: BTreeMap<_, _> = functions.into_iter().collect();
        for ended in kept.values_mut() {
            ended.jobs.retain(is_possible);
            let surplus = ended.jobs.len().saturating_sub(MAX_ENDED_JOBS);
            ended.jobs.drain(..surplus);
        }
        Self { functions: kept, changed: Some(BTreeSet::new()) }
    }

    /// The functions that have changed since they were taken last; `None` of one that was forgotten.
    pub fn take_changed(&mut self) -> Vec<(String, Option<EndedJobs>)> {
        let changed = self.changed.as_mut().map(std::mem::take);
        let kept = changed.into_iter().flatten().map(|name| {
            let ended = self.functions.get(&name).cloned();
            (name, ended)
        });
        kept.collect()
    }

    /// These were not kept: they have changed still.
    pub fn give_back(&mut self, functions: &[(String, Option<EndedJobs>)]) {
        functions.iter().for_each(|(name, _)| self.mark_changed(name));
    }

    /// Whether enough jobs of this function have ended.
    pub(super) fn is_known(&self, function: &str) -> bool {
        self.known(function).is_some()
    }

    fn known(&self, function: &str) -> Option<&EndedJobs> {
        self.functions.get(function).filter(|ended| ended.jobs.len() >= MIN_ENDED_JOBS)
    }

    /// How long a job of this function is going to hold so many CPUs. `None` where too few have ended.
    pub(super) fn durations(&self, function: &str, cpus: Cpus) -> Option<Durations> {
        self.known(function).map(|ended| ended.durations(cpus))
    }
}

/// Whether a job may have taken this time.
fn is_possible((seconds, cpus): &(f64, Cpus)) -> bool {
    (0.0..=MAX_SECONDS).contains(seconds) && *cpus > 0
}

impl EndedJobs {
    /// The time of each as if it had had so many CPUs, by `seconds * (its CPUs / cpus) ^ speedup`.
    fn durations(&self, cpus: Cpus) -> Durations {
        let speedup = self.speedup();
        let as_if = |(seconds, had): &(f64, Cpus)| {
            (seconds * (f64::from(*had) / f64::from(cpus.max(1))).powf(speedup)).max(0.001)
        };
        let mut sorted: Vec<f64> = self.jobs.iter().map(as_if).collect();
        sorted.sort_by(f64::total_cmp);
        Durations(sorted)
    }

    /// With what power of the CPUs the time falls: a regression of logarithms that begins at 1. 0 is no faster with
    /// more CPUs, 1 is half the time with twice as many.
    fn speedup(&self) -> f64 {
        let count = self.jobs.len().max(1) as f64;
        let logs = self.jobs.iter().map(|(s, cpus)| (f64::from(*cpus).ln(), s.max(0.001).ln()));
        let logs: Vec<_> = logs.collect();
        let mean_cpus = logs.iter().map(|(cpus, _)| cpus).sum::<f64>() / count;
        let mean_seconds = logs.iter().map(|(_, seconds)| seconds).sum::<f64>() / count;
        let (mut spread, mut falls) = (BELIEF_WEIGHT, BELIEF_WEIGHT);
        for (cpus, seconds) in logs {
            spread += (cpus - mean_cpus).powi(2);
            falls -= (cpus - mean_cpus) * (seconds - mean_seconds);
        }
        (falls / spread).clamp(0.0, 1.0)
    }
}

/// Times that are equally likely, the shortest first. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Durations(Vec<f64>);

impl Durations {
    /// The time below which this part of all those times is that are longer than `elapsed`, between neighbours by a
    /// straight line. `None` where a job has already run as long as any.
    pub(super) fn quantile(&self, part: f64, elapsed: f64) -> Option<f64> {
        let passed = self.passed(elapsed)?;
        Some(self.at(passed + (1.0 - passed) * part).max(elapsed))
    }

    /// Which part of all times is at most this long.
    fn passed(&self, elapsed: f64) -> Option<f64> {
        let Self(sorted) = self;
        let above = sorted.partition_point(|seconds| *seconds <= elapsed);
        let next = sorted.get(above)?;
        let Some(before) = above.checked_sub(1).and_then(|at| sorted.get(at)) else {
            return Some(0.0);
        };
        let between = (elapsed - before) / (next - before);
        Some((above as f64 - 0.5 + between) / sorted.len() as f64)
    }

    fn at(&self, part: f64) -> f64 {
        let Self(sorted) = self;
        let last = sorted.len() - 1;
        let at = (part * sorted.len() as f64 - 0.5).clamp(0.0, last as f64);
        let (low, high) = (sorted[at as usize], sorted[(at as usize + 1).min(last)]);
        low + (high - low) * at.fract()
    }
}
