//! How far estimates are from what happens: 500 jobs are played in virtual time through the real admission, after 150
//! others that make a history. Of each it is judged what was estimated when it was submitted, and after a tenth of its
//! run. Seeds are fixed. The estimator sees ended jobs, the line and progress, and nothing of how they were made.
//!
//! `cargo bench -p windlass-core --bench estimates` prints the figures, and draws `docs/pictures/estimates.svg`.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures and tells")]

mod crowds;
mod jobs;
mod plot;
mod world;

use std::time::Duration;

use crowds::Crowds;
use plot::Panel;
use world::{Judged, World};

/// Jobs that only make a history, and jobs that are judged.
const WARM_UP: usize = 150;
const JUDGED: usize = 500;

/// Nothing was chosen by a look at what comes of these.
const SEEDS: [u64; 4] = [1, 2, 3, 4];

/// With these it was chosen how to estimate.
const DESIGN_SEEDS: [u64; 4] = [101, 102, 103, 104];

/// Waits below this are too short to be worth an estimate, in seconds.
const SHORT: f64 = 5.0;

/// A part of all in percent.
fn percent(part: usize, all: usize) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

/// An estimate and what happened.
type Pair = (f64, f64);

/// How many are within a factor.
fn within(pairs: &[Pair], factor: f64) -> f64 {
    let good = pairs.iter().filter(|(told, was)| *told <= was * factor && *was <= told * factor);
    percent(good.count(), pairs.len())
}

/// How many estimates are off by at most this part of what happened.
fn off_by(pairs: &[Pair], part: f64) -> f64 {
    let good = pairs.iter().filter(|(told, was)| (told - was).abs() <= part * was);
    percent(good.count(), pairs.len())
}

/// The pairs of one seed, or of all.
#[derive(Default)]
struct Pairs {
    starts: Vec<Pair>,
    /// The same by crowds.
    crowds: Crowds,
    /// Of those, the jobs before which no later one has started.
    not_overtaken: Vec<Pair>,
    /// Between the first and the last tenth, of those with an estimate.
    start_in_range: usize,
    starts_not_told: usize,
    /// Waits that were told too short, or too long, by more than a factor of 2.
    too_short: usize,
    too_long: usize,
    /// Of functions that tell progress: with it, without; and of those that tell none.
    remaining: [Vec<Pair>; 3],
    remaining_in_range: [usize; 3],
    remaining_not_told: usize,
    took: Vec<Duration>,
}

impl Pairs {
    fn take(&mut self, job: &Judged) {
        self.took.push(job.took);
        match &job.start {
            Some([early, told, late]) if told.max(job.waited) >= SHORT => {
                // What starts within a second and was to start at once has no ratio.
                let pair = (told.max(1.0), job.waited.max(1.0));
                self.starts.push(pair);
                self.crowds.add(job.crowd, within(&[pair], 2.0) == 100.0);
                self.not_overtaken.extend((!job.overtaken).then_some(pair));
                let is_in_range = (early - 1.0..=late + 1.0).contains(&job.waited);
                self.start_in_range += usize::from(is_in_range);
                self.too_short += usize::from(told.max(1.0) * 2.0 < job.waited);
                self.too_long += usize::from(job.waited.max(1.0) * 2.0 < *told);
            }
            None if job.waited >= SHORT => self.starts_not_told += 1,
            _ => {}
        }
        for (at, told) in job.remaining.iter().enumerate() {
            let list = match (job.tells, at) {
                (true, at) => at,
                (false, 0) => 2,
                (false, _) => continue,
            };
            let Some([early, told, late]) = told else {
                self.remaining_not_told += 1;
                continue;
            };
            self.remaining[list].push((*told, job.remained));
            self.remaining_in_range[list] += usize::from((early..=late).contains(&&job.remained));
        }
    }

    fn print(&mut self, what: &str) {
        self.took.sort_unstable();
        let longest = self.took.last().copied().unwrap_or_default();
        println!("{what}:");
        println!(
            "  start, of {} jobs with a wait of 5 s or more, told or real: {:.1} % within a factor of 2, {:.1} % told too \
             short, {:.1} % too long; {:.1} % between the first and the last tenth; of {} more nothing was told",
            self.starts.len(),
            within(&self.starts, 2.0),
            percent(self.too_short, self.starts.len()),
            percent(self.too_long, self.starts.len()),
            percent(self.start_in_range, self.starts.len()),
            self.starts_not_told
        );
        println!(
            "  start, of the {} of them before which no later job has started: {:.1} % within a factor of 2",
            self.not_overtaken.len(),
            within(&self.not_overtaken, 2.0)
        );
        self.crowds.print();
        let names = [
            "with progress and its first report",
            "the same jobs, as if they told none",
            "functions that tell no progress",
        ];
        for ((name, pairs), in_range) in
            names.iter().zip(&self.remaining).zip(self.remaining_in_range)
        {
            let (count, by_20, by_50) = (pairs.len(), off_by(pairs, 0.2), off_by(pairs, 0.5));
            println!(
                "  remaining time after a tenth, {name}: {count} jobs, {by_20:.1} % within 20 %, {by_50:.1} % within \
                 50 %; {:.1} % between the first and the last tenth",
                percent(in_range, count)
            );
        }
        println!("  of {} of those nothing was told", self.remaining_not_told);
        println!("  one estimate of all that wait: {longest:.1?} at most");
    }
}

fn judge(seeds: &[u64]) -> Pairs {
    let mut all = Pairs::default();
    for seed in seeds {
        let mut pairs = Pairs::default();
        for job in World::new(*seed).run(WARM_UP + JUDGED).iter().skip(WARM_UP) {
            pairs.take(job);
            all.take(job);
        }
        pairs.print(&format!("seed {seed}"));
    }
    all
}

fn main() {
    judge(&DESIGN_SEEDS).print("all seeds of the design");
    let mut all = judge(&SEEDS);
    all.print("all judged seeds");
    let panels = [
        Panel { title: "Wait, told at submission", pairs: &all.starts, factor: 2.0 },
        Panel { title: "Remaining time, by progress", pairs: &all.remaining[0], factor: 1.2 },
        Panel { title: "Remaining time, by history", pairs: &all.remaining[2], factor: 1.2 },
    ];
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/pictures/estimates.svg");
    std::fs::write(path, plot::draw(&panels)).expect("the picture can be written");
}
