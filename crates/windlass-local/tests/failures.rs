//! Jobs that do not end well, and retries.

use rustix::process::{Signal, kill_process};
use serde_json::json;
use windlass_core::status::FailureReason::{
    self, BadInput, CannotStart, Crashed, Killed, NoOutput, ResultTooLarge, Timeout,
};
use windlass_core::{Error, Phase};
use windlass_local::Functions;

use crate::support::{
    eventually, failure, function, is_alive, machine, machine_with, parent, spec, tell_pids,
};

#[tokio::test]
async fn every_failure_says_why() {
    let shell = |script: &str| json!({ "command": ["/bin/sh", "-c", script] });
    let large = json!({ "command": ["/bin/sh", "-c", "printf 12345 > $WINDLASS_OUTPUT"], "maxResultBytes": 4 });
    let table: [(&str, serde_json::Value, FailureReason, &str); 7] = [
        (
            "crash",
            shell("echo the reason >&2; exit 3"),
            Crashed,
            "code 3; the end of its stderr:\nthe reason",
        ),
        ("refuse", shell("echo no strike >&2; exit 65"), BadInput, "no strike"),
        ("killed", shell("kill -KILL $$"), Killed, "signal 9"),
        ("silent", shell("exit 0"), NoOutput, "without writing its output"),
        ("large", large, ResultTooLarge, "wrote 5 bytes; it may write 4"),
        ("slow", shell("trap '' TERM; while :; do sleep 1; done"), Timeout, "longer than 1 s"),
        ("absent", json!({ "command": ["./nowhere"] }), CannotStart, "./nowhere"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let functions = table
        .iter()
        .map(|(name, spec, ..)| function(name, directory.path(), spec.clone()))
        .collect();
    let machine = machine_with(8, directory, Functions::builtin(functions));
    for (name, ..) in &table {
        machine.submit(name, spec(name, json!({ "timeoutSeconds": 1 }))).await.unwrap();
    }
    for (name, _, reason, words) in &table {
        let job = machine.finished(name).await;
        let (told, message) = failure(&job);
        assert_eq!((job.status.phase, told), (Some(Phase::Failed), *reason), "{name}: {message}");
        assert!(message.contains(words), "{name}: {message}");
    }
    eventually("nothing is left", || machine.left().is_empty().then_some(())).await;
}

#[tokio::test]
async fn an_attempt_that_fills_the_disk_is_ended_and_says_so() {
    // These tests allow 64 MiB.
    let script = "mkdir $TMPDIR/a; fallocate -l 100M $TMPDIR/a/file; sleep 60";
    let machine = machine(1, &[("fill", script)]);
    machine.submit("fill", spec("fill", json!({ "retries": 5 }))).await.unwrap();
    let job = machine.finished("fill").await;
    let (reason, message) = failure(&job);
    assert_eq!((reason, job.status.attempt), (FailureReason::DiskExceeded, Some(1)));
    assert!(message.contains("bytes of the disk"), "{message}");
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_another_until_one_succeeds() {
    let script = "[ $WINDLASS_ATTEMPT -ge 2 ] || exit 1; echo $WINDLASS_ATTEMPT > $WINDLASS_OUTPUT";
    let machine = machine(1, &[("second", script)]);
    machine.submit("job", spec("second", json!({ "retries": 2 }))).await.unwrap();
    let waiting = machine.until("job", |job| job.status.failure.is_some()).await;
    assert_eq!(waiting.status.phase, Some(Phase::Queued));
    assert_eq!(machine.result("job").await.bytes, b"2\n");
    let status = machine.finished("job").await.status;
    assert_eq!((status.attempt, status.retries), (Some(2), 1));
    assert!(status.failure.is_none());
}

#[tokio::test]
async fn what_can_never_work_is_tried_once_and_the_rest_as_often_as_allowed() {
    let machine = machine(1, &[("refuse", "exit 65"), ("crash", "exit 3")]);
    machine.submit("refuse", spec("refuse", json!({ "retries": 5 }))).await.unwrap();
    machine.submit("crash", spec("crash", json!({ "retries": 1 }))).await.unwrap();
    assert_eq!(machine.finished("refuse").await.status.attempt, Some(1));
    let crashed = machine.finished("crash").await.status;
    assert_eq!((crashed.attempt, crashed.phase), (Some(2), Some(Phase::Failed)));
}

#[tokio::test]
async fn a_worker_that_was_killed_leaves_nothing_and_its_job_is_tried_again() {
    let script = format!(
        "[ $WINDLASS_ATTEMPT = 1 ] || {{ echo again > $WINDLASS_OUTPUT; exit 0; }}; \
         trap '' TERM; sh -c 'trap \"\" TERM; while :; do sleep 1; done' & {} while :; do sleep 1; done",
        tell_pids("pids")
    );
    let machine = machine(1, &[("f", &script)]);
    machine.submit("job", spec("f", json!({ "retries": 1 }))).await.unwrap();
    machine.running("job").await;
    let pids = machine.pids("pids").await;
    assert_eq!(pids.len(), 2);
    kill_process(parent(pids[0]), Signal::KILL).unwrap();
    // The retry starts only on proof that nothing of the first attempt runs.
    let settled = machine.until("job", |job| job.status.failure.is_some()).await;
    for pid in &pids {
        assert!(!is_alive(*pid), "process {pid} is left");
    }
    let (reason, message) = failure(&settled);
    // This one counts: a function that kills its own worker must not be tried for ever.
    assert_eq!(reason, Killed, "{message}");
    assert!(message.contains("without a word"), "{message}");
    assert_eq!(machine.result("job").await.bytes, b"again\n");
    assert_eq!(machine.finished("job").await.status.attempt, Some(2));
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_all_its_problems() {
    let machine = machine(2, &[("ok", "echo > $WINDLASS_OUTPUT")]);
    let wrong = spec("ok", json!({ "parallelism": 65, "retries": 101, "timeoutSeconds": 0 }));
    let Error::Invalid(problems) = machine.submit("", wrong).await.unwrap_err() else { panic!() };
    let pointers: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(pointers, ["/parallelism", "/retries", "/timeoutSeconds"]);
    let missing = machine.submit("", spec("nothing", json!({}))).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { kind: "ComputeFunction", .. }), "{missing}");
}

#[tokio::test]
async fn a_function_that_stops_its_worker_still_meets_its_timeout() {
    let machine = machine(1, &[("stop", "kill -STOP $PPID; sleep 900")]);
    machine.submit("job", spec("stop", json!({ "timeoutSeconds": 1 }))).await.unwrap();
    let job = machine.finished("job").await;
    let (reason, message) = failure(&job);
    assert_eq!(reason, Timeout, "{message}");
    eventually("nothing is left", || machine.left().is_empty().then_some(())).await;
}
