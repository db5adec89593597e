//! When jobs that wait are likely to start, and jobs that run to end; nothing where too little is known.
//!
//! A job that runs and tells progress goes on at the rate that it had since its first report. Of any other job the run
//! time is one of those that the latest jobs of its function had, as if they had had its CPUs; of one that runs, one of
//! those that are longer than it has run. The line is then [played](replay) forward some times by the real
//! [`Admission`](crate::Admission), each time with other run times out of those. What is told is the middle of these
//! outcomes, and bounds between which the end is likely. Meanwhile jobs come like those that came lately, each time from
//! another moment on.
//!
//! The run time of a job whose function has no history could be any. So in one half of the plays it ends at once and in
//! the other never, and what depends on it is not told.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::Cpus;
use crate::admit::Excerpt;
use crate::status::Progress;
use arrivals::Arrival;
use draws::Draws;
use replay::{Line, Played, Starts};
use run_times::Durations;

mod arrivals;
mod draws;
mod known;
mod replay;
mod run_times;
#[cfg(test)]
mod tests;
mod told;

pub use arrivals::Arrivals;
pub use known::{KnownJob, Situation};
pub use run_times::{EndedJobs, MIN_ENDED_JOBS, RunTimes};
pub use told::{Estimate, Estimates};

/// Most jobs that wait of which anything is estimated.
pub const MAX_WAITING: usize = 1000;

/// How often the line is played at least and at most, and how many starts there are in all plays together.
const PLAYS: (usize, usize) = (8, 32);
const MAX_STARTS: usize = 16_000;

/// Fewest jobs for which there is room in a play that come meanwhile; for a longer line as many as wait.
const LEAST_LATER: usize = 256;

/// The least progress since the first report from which a rate is taken, and the least time since then, in seconds.
const LEAST_PROGRESS: f64 = 0.01;
const LEAST_SECONDS: f64 = 0.25;

/// By what factor the rate of a job that tells progress may change: an assumption, checked by the benchmark.
const RATE_CHANGE: f64 = 1.25;

/// Estimates what becomes of the jobs of a situation. It is the same for the same arguments, and nothing of it is before
/// `now`. A job of which nothing is known is not in it.
pub fn estimate<Id: Clone + Ord>(
    Situation { excerpt, known, arrivals }: &Situation<Id>,
    times: &RunTimes,
    now: Timestamp,
) -> Vec<Estimate> {
    let mut model = Model { times, now, durations: BTreeMap::new() };
    let unknown = KnownJob::default();
    let job = |id: &Id| known.get(id).unwrap_or(&unknown);
    let holding: Vec<_> = excerpt.holding.iter().map(|(id, _, cpus)| (job(id), *cpus)).collect();
    let mut told: Vec<_> =
        holding.iter().map(|(job, cpus)| model.estimate_running(job, *cpus)).collect();
    for (estimate, (id, ..)) in told.iter_mut().zip(&excerpt.holding) {
        if excerpt.ending.contains(id) {
            *estimate = ending(&estimate.name);
        }
    }
    let waiting: Vec<_> = excerpt.waiting.iter().map(|(id, ..)| job(id)).collect();
    let places = excerpt.waiting.iter().map(|(id, waiting, position)| Estimate {
        name: job(id).name.clone(),
        queue: Some(waiting.queue.clone()),
        position: Some(*position),
        ..Estimate::default()
    });
    if let Some(why) = why_not_played(excerpt) {
        told.extend(places.map(|place| Estimate { not_told: Some(why.into()), ..place }));
    } else if !waiting.is_empty() {
        let line = Line::new(excerpt, now);
        let (played, is_guessed) = model.play_all(&line, &holding, &waiting, arrivals);
        for (at, (job, place)) in waiting.iter().zip(places).enumerate() {
            told.push(model.estimate_waiting(job, place, &outcomes(&played, at), is_guessed));
        }
    }
    told.retain(|estimate| !estimate.name.is_empty());
    told
}

/// Why no start is told of any job, if so.
fn why_not_played<Id>(excerpt: &Excerpt<Id>) -> Option<&'static str> {
    if excerpt.starts_nothing {
        return Some("the server is being drained: no job starts");
    }
    let why = "running jobs end for jobs that wait, and nobody can say which and when";
    excerpt.preempts.then_some(why)
}

/// Estimates when these jobs end that hold so many CPUs, where the line is not known.
pub fn estimate_running<'a>(
    running: impl IntoIterator<Item = (&'a KnownJob, Cpus)>,
    times: &RunTimes,
    now: Timestamp,
) -> Vec<Estimate> {
    let mut model = Model { times, now, durations: BTreeMap::new() };
    running.into_iter().map(|(job, cpus)| model.estimate_running(job, cpus)).collect()
}

/// When a job starts and ends in each play.
type Outcomes = (Vec<Option<f64>>, Vec<Option<f64>>);

fn outcomes(played: &[Played], at: usize) -> Outcomes {
    played.iter().map(|played| (played.starts[at], played.ends[at])).unzip()
}

/// Who plays: the jobs that hold CPUs, those that wait, and those that come, after so many seconds.
type Players<'a, 'b> = (&'b [(&'a KnownJob, Cpus)], &'b [&'a KnownJob], &'b [(f64, &'a Arrival)]);

/// How long jobs take.
struct Model<'a> {
    times: &'a RunTimes,
    now: Timestamp,
    /// By function and CPUs, as far as they were wanted.
    durations: BTreeMap<(&'a str, Cpus), Option<Durations>>,
}

impl<'a> Model<'a> {
    fn durations(&mut self, function: &'a str, cpus: Cpus) -> Option<&Durations> {
        let times = self.times;
        let key = (function, cpus);
        self.durations.entry(key).or_insert_with(|| times.durations(key.0, cpus)).as_ref()
    }

    /// The line, played often enough; and whether a run time had to be guessed.
    fn play_all(
        &mut self,
        line: &Line,
        holding: &[(&'a KnownJob, Cpus)],
        waiting: &[&'a KnownJob],
        arrivals: &'a Arrivals,
    ) -> (Vec<Played>, bool) {
        let (plays, most_later) = plays(waiting.len());
        let mut is_guessed = false;
        let all = (0..plays).map(|play| {
            let draws = Draws { play, of: plays };
            let later: Vec<_> = arrivals
                .play_again(draws.draw(""), self.now, |function| self.times.is_known(function))
                .take(most_later)
                .collect();
            self.play(line, (holding, waiting, &later), draws, &mut is_guessed)
        });
        (all.collect(), is_guessed)
    }

    /// For how many seconds a job goes on that has held these CPUs for some time; `None` where nobody can say. The time is
    /// longer than `part` of all times.
    fn remaining(&mut self, job: &'a KnownJob, cpus: Cpus, part: f64) -> Option<f64> {
        if job.is_ending {
            return Some(0.0);
        }
        let since = |time: Option<Timestamp>| {
            time.map_or(0.0, |time| self.now.duration_since(time).as_secs_f64().max(0.0))
        };
        let (held, ran) = (since(job.admitted), since(job.running));
        let rest = job.progress.as_ref().map_or(Rest::LikeOthers, |progress| {
            let first = job.first_progress.map(|(time, done)| (since(Some(time)), done));
            Rest::from_progress(progress, first)
        });
        let remaining = match rest {
            Rest::Seconds(rest) => rest * RATE_CHANGE.powf(2.0 * part - 1.0),
            Rest::LikeOthers => self.durations(&job.function, cpus)?.quantile(part, held)? - held,
            Rest::Unknown => return None,
        };
        Some(match job.timeout_seconds {
            0 => remaining,
            timeout => remaining.min((f64::from(timeout) - ran).max(0.0)),
        })
    }

    fn estimate_running(&mut self, job: &'a KnownJob, cpus: Cpus) -> Estimate {
        if job.is_ending {
            return ending(&job.name);
        }
        let mut estimate = Estimate { name: job.name.clone(), ..Estimate::default() };
        let ends = [0.1, 0.5, 0.9].map(|part| self.remaining(job, cpus, part));
        estimate.set_completion(self.times_of(ends));
        if estimate.estimated_completion_time.is_none() {
            let is_all_done = job.progress.as_ref().is_some_and(is_all_done);
            estimate.not_told = Some(match self.durations(&job.function, cpus) {
                _ if is_all_done => "it has told all of its progress, and goes on".into(),
                None => too_few(),
                Some(_) => "it has run longer than the latest jobs of its function".into(),
            });
        }
        estimate
    }

    /// One outcome. `is_guessed` is set where a run time had to be guessed.
    fn play(
        &mut self,
        line: &Line,
        (holding, waiting, later): Players<'a, '_>,
        draws: Draws,
        is_guessed: &mut bool,
    ) -> Played {
        let mut or_guess = |known: Option<f64>| {
            *is_guessed |= known.is_none();
            known.or_else(|| draws.is_early().then_some(0.0))
        };
        let parts = holding.iter().map(|(job, cpus)| (*job, *cpus, draws.draw(&job.name)));
        let remaining: Vec<_> =
            parts.map(|(job, cpus, part)| or_guess(self.remaining(job, cpus, part))).collect();
        let coming: Vec<_> = later.iter().map(|(after, one)| (*after, &one.waiting)).collect();
        line.play(&remaining, &coming, |starts, cpus| {
            let (function, part, most) = match starts {
                Starts::Waiting(place) => {
                    let job = waiting[place];
                    (&job.function, draws.draw(&job.name), job.timeout_seconds)
                }
                Starts::Later(number) => {
                    (&later[number].1.function, draws.draw(&number.to_string()), 0)
                }
            };
            let seconds = self.durations(function, cpus).and_then(|it| it.quantile(part, 0.0));
            let most = if most == 0 { f64::MAX } else { most.into() };
            or_guess(seconds.map(|seconds| seconds.min(most)))
        })
    }

    fn estimate_waiting(
        &mut self,
        job: &'a KnownJob,
        mut estimate: Estimate,
        (starts, ends): &Outcomes,
        is_guessed: bool,
    ) -> Estimate {
        let [earliest, middle, latest] = self.times_of(spread(starts, is_guessed));
        estimate.earliest_start_time = earliest;
        estimate.estimated_start_time = middle;
        estimate.latest_start_time = latest;
        if middle.is_none() {
            let why = match is_guessed && starts.iter().any(Option::is_some) {
                true => "it depends on jobs of which nobody can say how long they take",
                false => {
                    "as things are it does not start: its queue is on hold, missing or too small, or those before it leave too little"
                }
            };
            estimate.not_told = Some(why.into());
        } else if !self.times.is_known(&job.function) {
            estimate.not_told = Some(too_few());
        } else {
            estimate.set_completion(self.times_of(spread(ends, is_guessed)));
        }
        estimate
    }

    /// These seconds from now as times, where all are told.
    fn times_of(&self, seconds: [Option<f64>; 3]) -> [Option<Timestamp>; 3] {
        let [Some(earliest), Some(middle), Some(latest)] = seconds else { return [None; 3] };
        [earliest, middle, latest].map(|seconds| {
            // A cast of what is too large gives the largest.
            let milliseconds = (seconds.max(0.0) * 1000.0).ceil() as i64;
            self.now.checked_add(SignedDuration::from_millis(milliseconds)).ok()
        })
    }
}

/// How often a line of so many jobs is played, and how many may come in each play.
fn plays(waiting: usize) -> (usize, usize) {
    let least_later = waiting.max(LEAST_LATER);
    let plays = 1 << (MAX_STARTS / (waiting + least_later)).clamp(PLAYS.0, PLAYS.1).ilog2();
    (plays, (MAX_STARTS / plays).saturating_sub(waiting).max(least_later))
}

fn ending(name: &str) -> Estimate {
    let not_told = Some("it is being ended".into());
    Estimate { name: name.to_owned(), not_told, ..Estimate::default() }
}

fn too_few() -> String {
    format!("fewer than {MIN_ENDED_JOBS} jobs of its function have ended")
}

fn is_all_done(Progress { done, total, .. }: &Progress) -> bool {
    *total > 0 && done >= total
}

/// For how long a job goes on, as far as its progress tells.
enum Rest {
    Seconds(f64),
    /// It tells too little: as long as others of its function.
    LikeOthers,
    /// It has done all, and goes on: no other job tells how long that takes.
    Unknown,
}

impl Rest {
    /// At the rate that it had since its `first` report, of which the age in seconds and the units are known. What it did
    /// before it told any says nothing of that. A unit that is being worked on counts half.
    fn from_progress(progress: &Progress, first: Option<(f64, u64)>) -> Self {
        let Progress { done, total, .. } = *progress;
        if is_all_done(progress) {
            return Self::Unknown;
        }
        let Some((seconds, before)) = first.filter(|(seconds, _)| *seconds >= LEAST_SECONDS) else {
            return Self::LikeOthers;
        };
        let since = done.saturating_sub(before) as f64;
        if since == 0.0 || since < LEAST_PROGRESS * total as f64 {
            return Self::LikeOthers;
        }
        Self::Seconds(seconds * ((total - done) as f64 - 0.5) / (since + 0.5))
    }
}

/// The first tenth, the middle and the last tenth of outcomes. Nothing where they depend on a guess.
fn spread(outcomes: &[Option<f64>], is_guessed: bool) -> [Option<f64>; 3] {
    if is_guessed {
        // The plays take turns: in one an unknown time is none, in the next it has no end.
        let half = |first: usize| {
            quantile(&outcomes.iter().skip(first).step_by(2).copied().collect::<Vec<_>>(), 0.5)
        };
        let (Some(early), Some(late)) = (half(0), half(1)) else { return [None; 3] };
        if late > 2.0 * early + 1.0 {
            return [None; 3];
        }
    }
    [0.1, 0.5, 0.9].map(|part| quantile(outcomes, part))
}

/// Between the two outcomes around this part by a straight line; one that does not come is the latest.
fn quantile(outcomes: &[Option<f64>], part: f64) -> Option<f64> {
    let mut sorted: Vec<f64> =
        outcomes.iter().map(|seconds| seconds.unwrap_or(f64::INFINITY)).collect();
    sorted.sort_by(f64::total_cmp);
    let at = part * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (*sorted.get(at as usize)?, *sorted.get(at.ceil() as usize)?);
    high.is_finite().then(|| low + (high - low) * at.fract())
}
