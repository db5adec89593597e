//! How sure a share of good estimates is. The jobs of a crowd come at once and wait for the same: they are mostly
//! right or wrong together. So it is crowds that are drawn again, and not jobs.

use std::collections::BTreeMap;

use super::jobs::Random;
use super::percent;

/// How often as many crowds are drawn again (a bootstrap of clusters).
const DRAWS: usize = 4000;

/// The jobs of each crowd whose start was judged, and how many of them were told well.
#[derive(Default)]
pub(crate) struct Crowds(BTreeMap<(u64, usize), (usize, usize)>);

impl Crowds {
    pub(crate) fn add(&mut self, crowd: (u64, usize), is_good: bool) {
        let (jobs, good) = self.0.entry(crowd).or_default();
        *jobs += 1;
        *good += usize::from(is_good);
    }

    pub(crate) fn print(&self) {
        let mut misses: Vec<_> = self.0.values().map(|(jobs, good)| jobs - good).collect();
        misses.sort_unstable_by(|one, other| other.cmp(one));
        let [low, high] = self.interval();
        println!(
            "  start, by crowds: the {} misses are in {} of {} crowds, {} of them in ten; as many crowds drawn again have \
             {low:.1} to {high:.1} % within a factor of 2, 95 times of 100",
            misses.iter().sum::<usize>(),
            misses.iter().filter(|count| **count > 0).count(),
            misses.len(),
            misses.iter().take(10).sum::<usize>()
        );
    }

    /// Between these is the share of good ones, 95 times of 100.
    fn interval(&self) -> [f64; 2] {
        let crowds: Vec<_> = self.0.values().copied().collect();
        let mut random = Random(1);
        let draw = |_| {
            let drawn = (0..crowds.len()).map(|_| crowds[random.below(crowds.len())]);
            let (jobs, good) = drawn.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
            percent(good, jobs)
        };
        let mut shares: Vec<_> = (0..DRAWS).map(draw).collect();
        shares.sort_by(f64::total_cmp);
        [shares[DRAWS / 40], shares[DRAWS - DRAWS / 40 - 1]]
    }
}
