//! What all this costs: `cargo test --release -p windlass-local latency -- --ignored --nocapture`.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{machine, spec};

const SCRIPT: &str = "printf 1 > $WINDLASS_OUTPUT";

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
#[ignore = "a benchmark"]
async fn one_job_after_the_other() {
    let machine = machine(2, &[("f", SCRIPT)]);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let started = Instant::now();
        let name = machine.start("f").await;
        machine.result(&name).await;
        ours.push(started.elapsed());
        let started = Instant::now();
        let output = machine.path("output");
        Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .env("WINDLASS_OUTPUT", output)
            .status()
            .unwrap();
        bare.push(started.elapsed());
    }
    println!("submit to result: {:?}; the function alone: {:?}", median(ours), median(bare));
}

#[tokio::test]
#[ignore = "a benchmark"]
async fn a_thousand_jobs_at_once() {
    let machine = machine(2, &[("f", SCRIPT)]);
    let started = Instant::now();
    for number in 0..1000 {
        machine.submit(&format!("job-{number}"), spec("f", json!({}))).await.unwrap();
    }
    let accepted = started.elapsed();
    for number in 0..1000 {
        machine.result(&format!("job-{number}")).await;
    }
    println!("1000 jobs: accepted after {accepted:?}, done after {:?}", started.elapsed());
}
