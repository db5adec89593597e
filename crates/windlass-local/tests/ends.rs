//! Cancel, delete, expiry, shutdown, and that no process is left.

use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::json;
use windlass_core::jobs::Watch;
use windlass_core::status::FailureReason;
use windlass_core::{Error, Jobs as _, Phase};
use windlass_worker::descendants;

use crate::support::{eventually, is_alive, key, machine, parent, spec, tell_pids};

/// A function and its child that both ignore SIGTERM.
fn stubborn(file: &str) -> String {
    format!(
        "trap '' TERM; sh -c 'trap \"\" TERM; while :; do sleep 1; done' & {} while :; do sleep 1; done",
        tell_pids(file)
    )
}

fn assert_gone(pids: &[u32]) {
    assert_eq!(pids.len(), 2);
    for pid in pids {
        assert!(!is_alive(*pid), "process {pid} is left");
    }
}

/// The error that ends a watch.
async fn end_of(mut watch: Box<dyn Watch>) -> Error {
    let end = async {
        loop {
            if let Err(error) = watch.next().await {
                return error;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), end).await.unwrap()
}

#[tokio::test]
async fn another_job_of_the_name_is_left_alone() {
    let machine = machine(1, &[("slow", "sleep 600")]);
    let first = machine.submit("job", spec("slow", json!({}))).await.unwrap().metadata.uid;
    machine.engine.delete(&key("job"), Some(&first)).await.unwrap();
    let second = machine.submit("job", spec("slow", json!({}))).await.unwrap().metadata.uid;
    let cancelled = machine.engine.cancel(&key("job"), Some(&first)).await.map(drop);
    let deleted = machine.engine.delete(&key("job"), Some(&first)).await;
    for refused in [cancelled, deleted] {
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }
    assert!(!machine.engine.get(&key("job")).await.unwrap().spec.cancel);
    machine.engine.cancel(&key("job"), Some(&second)).await.unwrap();
    assert_eq!(machine.finished("job").await.status.phase, Some(Phase::Cancelled));
}

#[tokio::test]
async fn a_cancelled_job_is_told_when_nothing_of_it_runs_and_keeps_its_progress() {
    let script = format!("echo 3 9 >> $WINDLASS_PROGRESS; {}", stubborn("pids"));
    let machine = machine(1, &[("stubborn", &script), ("ok", "echo > $WINDLASS_OUTPUT")]);
    machine.submit("job", spec("stubborn", json!({ "retries": 5 }))).await.unwrap();
    machine.until("job", |job| job.status.progress.is_some()).await;
    let pids = machine.pids("pids").await;
    machine.submit("next", spec("ok", json!({}))).await.unwrap();

    assert!(machine.engine.cancel(&key("job"), None).await.unwrap().spec.cancel);
    machine.engine.cancel(&key("job"), None).await.unwrap();
    let job = machine.finished("job").await;
    assert_eq!(job.status.phase, Some(Phase::Cancelled));
    assert_eq!((job.metadata.generation, job.status.attempt), (Some(2), Some(1)));
    assert_eq!(job.status.progress.unwrap().done, 3);
    assert_gone(&pids);
    // Its CPU is free.
    machine.result("next").await;
    assert_eq!(
        machine.engine.cancel(&key("next"), None).await.unwrap().status.phase,
        Some(Phase::Succeeded)
    );
}

#[tokio::test]
async fn a_worker_that_hangs_is_killed_with_its_function() {
    let machine = machine(1, &[("stubborn", &stubborn("pids"))]);
    machine.submit("job", spec("stubborn", json!({}))).await.unwrap();
    machine.running("job").await;
    let pids = machine.pids("pids").await;
    kill_process(parent(pids[0]), Signal::STOP).unwrap();
    machine.engine.cancel(&key("job"), None).await.unwrap();
    assert_eq!(machine.finished("job").await.status.phase, Some(Phase::Cancelled));
    assert_gone(&pids);
}

#[tokio::test]
async fn a_cancelled_job_that_waits_never_starts() {
    let machine = machine(1, &[("stubborn", &stubborn("pids")), ("note", "echo > $HERE/started")]);
    machine.submit("first", spec("stubborn", json!({}))).await.unwrap();
    machine.running("first").await;
    machine.submit("second", spec("note", json!({}))).await.unwrap();
    machine.until("second", |job| job.status.phase == Some(Phase::Queued)).await;
    machine.engine.cancel(&key("second"), None).await.unwrap();
    let job = machine.finished("second").await;
    assert_eq!((job.status.phase, job.status.attempt), (Some(Phase::Cancelled), None));
    machine.engine.shutdown().await;
    assert!(!machine.path("started").exists());
}

#[tokio::test]
async fn a_deleted_job_leaves_nothing() {
    let machine = machine(1, &[("stubborn", &stubborn("pids")), ("ok", "echo > $WINDLASS_OUTPUT")]);
    machine.submit("job", spec("stubborn", json!({}))).await.unwrap();
    machine.running("job").await;
    let pids = machine.pids("pids").await;
    let watch = machine.engine.watch(&key("job")).await.unwrap();
    machine.engine.delete(&key("job"), None).await.unwrap();
    assert!(matches!(end_of(watch).await, Error::NotFound { .. }));
    assert!(matches!(machine.engine.get(&key("job")).await, Err(Error::NotFound { .. })));
    assert!(matches!(machine.engine.delete(&key("job"), None).await, Err(Error::NotFound { .. })));
    // Another job of the same name waits until the CPU is free.
    machine.submit("job", spec("ok", json!({}))).await.unwrap();
    machine.result("job").await;
    assert_gone(&pids);
    eventually("nothing is left", || machine.left().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_finished_job_expires_with_its_result() {
    let machine = machine(1, &[("large", "head -c 40000 /dev/zero > $WINDLASS_OUTPUT")]);
    for seconds in [0, 1] {
        let name = format!("ttl-{seconds}");
        let wanted = spec("large", json!({ "ttlSecondsAfterFinished": seconds }));
        machine.submit(&name, wanted).await.unwrap();
        let watch = machine.engine.watch(&key(&name)).await.unwrap();
        assert!(matches!(end_of(watch).await, Error::NotFound { .. }));
        eventually("nothing is left", || machine.left().is_empty().then_some(())).await;
    }
}

#[tokio::test]
async fn a_shutdown_leaves_no_worker_that_was_started_in_advance() {
    // While they are being started, and when they are there.
    for wanted in [0, 3].repeat(5) {
        let machine = machine(2, &[]);
        eventually("they are there", || (descendants().len() >= wanted).then_some(())).await;
        machine.engine.shutdown().await;
        assert_eq!(descendants(), []);
    }
}

#[tokio::test]
async fn a_shutdown_leaves_no_process_and_takes_no_job() {
    let machine = machine(
        2,
        &[("one", &stubborn("one")), ("two", &stubborn("two")), ("ok", "echo > $WINDLASS_OUTPUT")],
    );
    for name in ["one", "two", "ok"] {
        machine.submit(name, spec(name, json!({}))).await.unwrap();
    }
    let pids = [machine.pids("one").await, machine.pids("two").await];
    // Deleted, but not yet gone.
    machine.engine.delete(&key("two"), None).await.unwrap();
    machine.engine.shutdown().await;
    pids.iter().for_each(|pids| assert_gone(pids));
    assert!(machine.left().is_empty(), "{:?}", machine.left());
    // What was accepted stays so, for the next engine: the attempt does not count.
    for (name, lost) in [("one", Some(FailureReason::Lost)), ("ok", None)] {
        let job = machine.engine.get(&key(name)).await.unwrap();
        let failure = job.status.failure.as_ref().map(|failure| failure.reason);
        assert_eq!((job.status.phase, failure), (Some(Phase::Queued), lost), "{name}");
    }
    let refused = machine.submit("late", spec("ok", json!({}))).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
    assert!(machine.engine.ready().await.is_err());
    machine.engine.shutdown().await;
}

#[tokio::test]
async fn jobs_that_are_cancelled_at_any_moment_leave_nothing() {
    let script = format!("sleep 300 & {} wait", tell_pids("$WINDLASS_JOB"));
    let machine = machine(4, &[("f", &script)]);
    let mut pids = Vec::new();
    for number in 0..40_u64 {
        let name = format!("job-{number}");
        machine.submit(&name, spec("f", json!({}))).await.unwrap();
        // From before the start to well after it.
        tokio::time::sleep(Duration::from_micros(number * 400)).await;
        machine.engine.cancel(&key(&name), None).await.unwrap();
    }
    for number in 0..40 {
        let job = machine.finished(&format!("job-{number}")).await;
        assert_eq!(job.status.phase, Some(Phase::Cancelled));
        if let Ok(text) = std::fs::read_to_string(machine.path(&format!("job-{number}"))) {
            pids.extend(text.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()));
        }
    }
    for pid in pids {
        assert!(!is_alive(pid), "process {pid} is left");
    }
    eventually("nothing is left", || machine.left().is_empty().then_some(())).await;
}
