//! How much sooner two CPUs are done than one, with the whole of `windlass run` around them.
//!
//! Both in turn, so that a noisy machine hits both; medians and their ratio are printed.
//! `tests/run speedup` runs this alone, on a machine with nothing else to do.

use std::time::{Duration, Instant};

use crate::support::{run, share, text};

/// Runs of each kind.
const RUNS: usize = 9;
/// Largest share of one CPU's time that two may take; a half is perfect.
const BOUND: f64 = 0.55;

#[test]
#[ignore = "needs a quiet machine: tests/run speedup"]
fn two_cpus_price_the_papers_table_in_little_more_than_half_the_time() {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        one.push(price("1"));
        two.push(price("2"));
    }
    let (one, two) = (("--parallelism 1", one), ("--parallelism 2", two));
    let what = "windlass run price --input @examples/longstaff-schwartz.json";
    let ratio = share(what, [two, one]);
    assert!(ratio <= BOUND, "{ratio}");
}

fn price(parallelism: &str) -> Duration {
    let started = Instant::now();
    let input = "@examples/longstaff-schwartz.json";
    let output = run(&["run", "price", "--input", input, "--parallelism", parallelism]);
    let taken = started.elapsed();
    assert!(output.status.success(), "{}", text(&output.stderr));
    taken
}
