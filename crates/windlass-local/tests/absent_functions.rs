//! A function that is away for a while: its jobs wait for it, as on a cluster.

use std::fs;
use std::time::Duration;

use serde_json::json;
use windlass_core::{Job, Jobs as _, Phase};

use crate::queues::{WAIT, says, write_queue};
use crate::support::{Machine, key, machine_with_manifests, machine_with_manifests_in, spec};

fn is_gone(job: &Job) -> bool {
    says(job, "FunctionDeleted", "function \"f\" was there and is gone")
}

/// Makes a function `f` of a manifest: it ends when there is a file `go-f`.
async fn add_function(machine: &Machine) {
    let command = format!(
        "[sh, -c, 'while ! [ -e {}/go-f ]; do sleep 0.01; done; echo > $WINDLASS_OUTPUT']",
        machine.directory.path().display()
    );
    let text = format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ComputeFunction\nmetadata: {{name: f}}\nspec: {{contentType: text/plain, command: {command}}}\n"
    );
    fs::write(machine.path("manifests/f.yaml"), text).unwrap();
    until(machine, true).await;
}

async fn remove_function(machine: &Machine) {
    fs::remove_file(machine.path("manifests/f.yaml")).unwrap();
    until(machine, false).await;
}

/// Waits until the manifests were read.
async fn until(machine: &Machine, is_there: bool) {
    while machine.engine.function("default", "f").await.is_ok() != is_there {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn jobs_wait_for_a_function_that_is_away_and_hold_up_no_others() {
    let machine = machine_with_manifests(1, &[("wait", WAIT)]);
    add_function(&machine).await;
    machine.submit("runs", spec("f", json!({}))).await.unwrap();
    machine.running("runs").await;
    for name in ["a", "b", "cancelled"] {
        machine.submit(name, spec("f", json!({}))).await.unwrap();
    }
    remove_function(&machine).await;
    // They say so at once, and what runs goes on.
    for name in ["a", "b", "cancelled"] {
        machine.until(name, is_gone).await;
    }
    machine.submit("other", spec("wait", json!({}))).await.unwrap();
    fs::write(machine.path("go-f"), "").unwrap();
    machine.result("runs").await;
    machine.running("other").await;
    fs::write(machine.path("go"), "").unwrap();
    machine.result("other").await;
    machine.engine.cancel(&key("cancelled"), None).await.unwrap();
    assert_eq!(machine.finished("cancelled").await.status.phase, Some(Phase::Cancelled));
    // Other manifests change nothing.
    fs::write(machine.path("manifests/other.yaml"), "").unwrap();
    machine.until("a", is_gone).await;
    add_function(&machine).await;
    machine.result("a").await;
    machine.result("b").await;
}

#[tokio::test]
async fn jobs_wait_for_a_function_that_the_next_server_does_not_have() {
    let machine = machine_with_manifests(1, &[]);
    add_function(&machine).await;
    machine.submit("runs", spec("f", json!({ "retries": 3 }))).await.unwrap();
    machine.submit("waits", spec("f", json!({}))).await.unwrap();
    machine.running("runs").await;
    machine.engine.shutdown().await;
    let Machine { engine, directory } = machine;
    drop(engine);
    fs::remove_file(directory.path().join("manifests/f.yaml")).unwrap();
    fs::write(directory.path().join("go-f"), "").unwrap();
    let machine = machine_with_manifests_in(1, directory, &[]);
    machine.until("runs", is_gone).await;
    machine.until("waits", is_gone).await;
    add_function(&machine).await;
    machine.result("runs").await;
    machine.result("waits").await;
}

#[tokio::test]
async fn no_job_is_ended_for_one_whose_function_is_away() {
    let machine = machine_with_manifests(1, &[("wait", WAIT)]);
    add_function(&machine).await;
    let held = async |hold: bool| {
        write_queue(&machine, &format!("{{cpus: 1, preemption: lowerPriority, hold: {hold}}}"));
        let is_read = async || {
            let queue = machine.engine.queue("default", "q").await.unwrap();
            queue.is_some_and(|queue| queue.spec.hold == hold)
        };
        while !is_read().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    held(false).await;
    let of_priority = |priority: i32| json!({ "queue": "q", "priority": priority });
    machine.submit("runs", spec("wait", of_priority(-1))).await.unwrap();
    machine.running("runs").await;
    held(true).await;
    machine.submit("urgent", spec("f", of_priority(5))).await.unwrap();
    remove_function(&machine).await;
    machine.until("urgent", is_gone).await;
    // Its queue would end the other for it.
    held(false).await;
    fs::write(machine.path("go"), "").unwrap();
    machine.result("runs").await;
    let job = machine.finished("runs").await;
    assert_eq!((job.status.attempt, job.status.failure), (Some(1), None));
    fs::write(machine.path("go-f"), "").unwrap();
    add_function(&machine).await;
    machine.result("urgent").await;
}
