//! How soon a result is in hand: a ComputeJob from its submission to its result, beside a bare
//! `batch/v1` Job of the same image and the same resources from its creation to `Complete`.
//!
//! Both in turn, so that a noisy machine hits both; medians and their ratio are printed.
//! `tests/run latency` runs this alone.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::cluster::{Namespace, kubectl};
use crate::support::http::Client;
use crate::support::share;

/// Runs of each kind.
const RUNS: usize = 7;
/// Largest share of a bare Job's time that a ComputeJob may take.
const BOUND: f64 = 0.25;

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_result_is_in_hand_in_a_quarter_of_a_bare_jobs_time() {
    let namespace = Namespace::new("latency");
    let client = namespace.client();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    // The first of each warms up what is loaded lazily.
    for run in 0..=RUNS {
        let (a, b) = (compute_job(&client), bare_job(&namespace, run));
        if run > 0 {
            ours.push(a);
            bare.push(b);
        }
    }
    let ours = ("ComputeJob, POST with Prefer: wait   ", ours);
    let bare = ("bare batch/v1 Job, create to Complete", bare);
    let ratio = share("submit to result", [ours, bare]);
    assert!(ratio <= BOUND, "{ratio}");
}

/// A POST that waits for the result.
pub(crate) fn compute_job(client: &Client) -> Duration {
    let job = json!({ "function": "echo", "input": { "hello": "world" } });
    let started = Instant::now();
    let job = client.run(&job);
    let taken = started.elapsed();
    assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
    taken
}

/// The same image and resources in a bare Job, watched until it is Complete.
pub(crate) fn bare_job(namespace: &Namespace, run: usize) -> Duration {
    let name = format!("bare-{run}");
    let job = namespace.bare_job(&name);
    // Watching before the creation: a client that polls would be slower.
    let mut watch = Command::new("kubectl")
        .args(["get", "jobs", "-n", &namespace.0, "--watch"])
        .arg("--output=jsonpath={.metadata.name}={.status.completionTime}{\"\\n\"}")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let started = Instant::now();
    kubectl(&["create", "-n", &namespace.0, "-f", "-"], &job.to_string()).unwrap();
    let complete = format!("{name}=2");
    let found = lines.map_while(Result::ok).any(|line| line.starts_with(&complete));
    let taken = started.elapsed();
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(found, "the watch ended before {name} was complete");
    kubectl(&["delete", "job", &name, "-n", &namespace.0, "--wait=false"], "").unwrap();
    taken
}
