//! Functions that serve: one process for job after job, and what may pass from one to the next.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_core::status::FailureReason;
use windlass_core::{Jobs as _, Phase};
use windlass_local::Functions;

use crate::support::{Machine, eventually, failure, function, is_alive, key, machine_at, spec};

/// A machine with the function `warm`, which is kept by these rules.
fn machine(cpus: u32, warm: Value) -> Machine {
    machine_of(cpus, warm, &[])
}

fn machine_of(cpus: u32, warm: Value, arguments: &[&str]) -> Machine {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_owned();
    machine_in(cpus, warm, arguments, directory, data)
}

fn machine_in(
    cpus: u32,
    warm: Value,
    arguments: &[&str],
    directory: TempDir,
    data: PathBuf,
) -> Machine {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serving.py");
    let spec = json!({
        "command": ["python3", program], "args": arguments, "warm": warm,
        "contentType": "application/json", "memory": { "base": "1Gi", "perCpu": "0" },
    });
    let warm = function("warm", directory.path(), spec);
    machine_at(cpus, directory, Functions::builtin(vec![warm]), data)
}

impl Machine {
    /// Has `warm` do something, and waits for the end.
    async fn does(&self, input: Value, parallelism: u32) -> windlass_core::Job {
        let fields = json!({ "input": input, "parallelism": parallelism });
        let name = self.submit("", spec("warm", fields)).await.unwrap().metadata.name;
        self.finished(&name).await
    }

    /// What `warm` tells of the job that it has.
    async fn told(&self, input: Value) -> Value {
        let job = self.does(input, 1).await;
        let result = self.result(&job.metadata.name).await;
        serde_json::from_slice(&result.bytes).unwrap()
    }

    async fn pid(&self) -> u32 {
        u32::try_from(self.told(json!({})).await["pid"].as_u64().unwrap()).unwrap()
    }
}

fn none() -> Value {
    json!({ "min": 0 })
}

#[tokio::test]
async fn one_process_has_job_after_job_each_with_files_of_its_own() {
    let machine = machine(1, none());
    let first = machine.told(json!({ "do": "file" })).await;
    let second = machine.told(json!({})).await;
    assert_eq!((&first["pid"], &second["jobs"]), (&second["pid"], &json!(2)));
    for told in [&first, &second] {
        assert_eq!(told["found"], json!(["progress"]), "{told}");
        assert_eq!(told["environment"], json!(["WINDLASS_ATTEMPT_HOME", "WINDLASS_SERVE"]));
    }
    // Its log is each job's own.
    let job = machine.does(json!({ "do": "progress" }), 1).await;
    assert_eq!(job.status.progress.as_ref().map(|progress| progress.done), Some(3));
    assert!(job.status.node.is_some(), "a job that is over soon has a place too");
    let log = fs::read_to_string(log_of(&machine, &job)).unwrap();
    assert_eq!(log, format!("said for {}\n", job.metadata.name));
    eventually("nothing of an attempt is left", || machine.left().is_empty().then_some(())).await;
}

/// The log of a job's only attempt. The times of its lines are in another file beside it.
fn log_of(machine: &Machine, job: &windlass_core::Job) -> std::path::PathBuf {
    machine.path("logs").join(format!("{}-1", job.metadata.uid))
}

#[tokio::test]
async fn a_process_that_has_something_left_gets_no_other_job() {
    let machine = machine(1, none());
    for input in [
        json!({ "do": "child" }),
        json!({ "do": "open" }),
        json!({ "do": "memory" }),
        json!({ "do": "replace" }),
    ] {
        let before = machine.pid().await;
        let told = machine.told(input.clone()).await;
        assert_eq!(told["pid"], before, "{input}");
        let after = machine.told(json!({})).await;
        assert_ne!(after["pid"], before, "{input}");
        eventually("it ends", || (!is_alive(before)).then_some(())).await;
    }
    // A child that it says that it keeps is no leftover.
    let before = machine.pid().await;
    machine.told(json!({ "do": "child", "kept": true })).await;
    assert_eq!(machine.pid().await, before);
    assert_ne!(machine.pid().await, before, "the answer in between did not keep it");
}

#[tokio::test]
async fn how_a_job_ends_is_told_and_a_process_that_ends_costs_no_other_job() {
    use FailureReason::{BadInput, Crashed, Killed, NoOutput};
    let machine = machine(1, none());
    for (input, reason, words, stays) in [
        (json!({ "do": "input" }), BadInput, "no such thing", true),
        (json!({ "do": "error" }), Crashed, "the reason", true),
        (json!({ "do": "nothing" }), NoOutput, "without writing its output", true),
        (json!({ "do": "answer", "text": "{" }), NoOutput, "JSON", true),
        (json!({ "do": "exit", "code": 3 }), Crashed, "code 3", false),
        (json!({ "do": "exit", "code": 0 }), Crashed, "before it had answered", false),
        (json!({ "do": "exit", "code": 65 }), Crashed, "before it had answered", false),
        (json!({ "do": "kill" }), Killed, "signal 9", false),
        (json!({ "do": "nonsense" }), Crashed, "no line of the contract", false),
        (json!({ "do": "other" }), Crashed, "\"another\"", false),
    ] {
        let before = machine.pid().await;
        let job = machine.does(input.clone(), 1).await;
        let (found, message) = failure(&job);
        assert_eq!(found, reason, "{input}: {message}");
        assert!(message.contains(words), "{input}: {message}");
        assert_eq!(machine.pid().await == before, stays, "{input}");
    }
}

/// Small ones are a part of the job's status; 40,000 bytes fit in a line and not there.
#[tokio::test]
async fn a_result_may_be_in_the_answer() {
    let machine = machine(1, none());
    let before = machine.pid().await;
    for text in ["\n\"\u{e9}\"".to_owned(), format!("[{}1]", "1,".repeat(20_000))] {
        let input = json!({ "do": "answer", "text": text });
        let job = machine.does(input, 1).await;
        let result = machine.result(&job.metadata.name).await;
        assert_eq!(result.bytes, text.as_bytes());
        assert_eq!(result.content_type, "application/json");
    }
    assert_eq!(machine.pid().await, before);
}

#[tokio::test]
async fn the_path_of_the_data_directory_may_be_longer_than_that_of_a_socket() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("d".repeat(120));
    let machine = machine_in(1, none(), &[], directory, data);
    assert_eq!(machine.pid().await, machine.pid().await);
}

#[tokio::test]
async fn a_function_that_does_not_serve_says_so() {
    for (code, words) in [("2", "version 2"), ("1", "exited with code 1"), ("0", "version 2")] {
        let machine = machine_of(1, none(), &[code]);
        let (reason, message) = failure(&machine.does(json!({}), 1).await);
        assert_eq!(reason, FailureReason::Crashed, "{message}");
        assert!(message.contains(words) && message.contains("cannot start"), "{message}");
    }
}

#[tokio::test]
async fn a_process_that_goes_when_it_is_ready_fails_its_job() {
    let machine = machine_of(1, none(), &["leave"]);
    for _ in 0..10 {
        let (reason, message) = failure(&machine.does(json!({}), 1).await);
        assert_eq!(reason, FailureReason::Crashed, "{message}");
        assert!(message.contains("exited with code 3"), "{message}");
    }
}

#[tokio::test]
async fn the_time_in_which_a_function_starts_counts_and_that_is_said() {
    let machine = machine_of(1, none(), &["slow"]);
    let fields = json!({ "timeoutSeconds": 1, "retries": 0 });
    let name = machine.submit("", spec("warm", fields)).await.unwrap().metadata.name;
    let (reason, message) = failure(&machine.finished(&name).await);
    assert_eq!(reason, FailureReason::Timeout);
    assert!(
        message.contains("was not ready after 1 s: the time that it takes to start"),
        "{message}"
    );
}

#[tokio::test]
async fn a_job_that_is_cancelled_at_once_holds_up_no_other() {
    let machine = machine(1, none());
    for _ in 0..30 {
        let fields = json!({ "input": { "do": "sleep", "mark": machine.path("mark") } });
        let name = machine.submit("", spec("warm", fields)).await.unwrap().metadata.name;
        machine.engine.cancel(&key(&name), None).await.unwrap();
        let started = std::time::Instant::now();
        assert_eq!(machine.finished(&name).await.status.phase, Some(Phase::Cancelled));
        assert!(started.elapsed() < std::time::Duration::from_secs(3), "{:?}", started.elapsed());
    }
    machine.pid().await;
}

#[tokio::test]
async fn a_cancel_and_a_timeout_end_the_process_and_cost_no_other_job() {
    let machine = machine(1, none());
    for timeout in [None, Some(1)] {
        let before = machine.pid().await;
        let mark = machine.path("mark");
        let mut fields = json!({ "input": { "do": "sleep", "mark": &mark } });
        if let Some(seconds) = timeout {
            fields["timeoutSeconds"] = json!(seconds);
        }
        let name = machine.submit("", spec("warm", fields)).await.unwrap().metadata.name;
        eventually("it begins", || fs::remove_file(&mark).ok()).await;
        if timeout.is_none() {
            machine.engine.cancel(&key(&name), None).await.unwrap();
        }
        let job = machine.finished(&name).await;
        let expected = if timeout.is_some() { Phase::Failed } else { Phase::Cancelled };
        assert_eq!(job.status.phase, Some(expected));
        assert!(!is_alive(before));
        assert_ne!(machine.pid().await, before);
    }
}

#[tokio::test]
async fn a_process_that_obeys_a_cancel_stays() {
    let machine = machine(1, none());
    let before = machine.pid().await;
    for _ in 0..3 {
        let mark = machine.path("mark");
        let input = json!({ "do": "sleep", "mark": &mark, "obeys": true });
        let fields = json!({ "input": input, "retries": 3 });
        let name = machine.submit("", spec("warm", fields)).await.unwrap().metadata.name;
        eventually("it begins", || fs::remove_file(&mark).ok()).await;
        machine.engine.cancel(&key(&name), None).await.unwrap();
        let job = machine.finished(&name).await;
        assert_eq!(job.status.phase, Some(Phase::Cancelled), "{:#?}", job.status);
        assert_eq!(machine.pid().await, before);
    }
}

#[tokio::test]
async fn the_grant_holds_anew_for_each_job() {
    let machine = machine(2, none());
    let mut pids = BTreeSet::new();
    for parallelism in [1, 2, 1, 1, 2, 2, 1] {
        let job = machine.does(json!({ "do": "burn" }), parallelism).await;
        let told: Value =
            serde_json::from_slice(&machine.result(&job.metadata.name).await.bytes).unwrap();
        assert_eq!(told["parallelism"], parallelism);
        assert_eq!(told["cpus"].as_array().unwrap().len(), parallelism as usize, "{told}");
        pids.insert(told["pid"].as_u64());
        let usage = job.status.usage.unwrap();
        assert!((0.28..0.6).contains(&usage.cpu_seconds), "{usage:?}");
        assert!(usage.peak_memory_bytes > 1 << 20, "{usage:?}");
    }
    assert_eq!(pids.len(), 1, "{pids:?}");
}

#[tokio::test]
async fn a_process_is_started_ahead_and_ended_when_nobody_needs_it() {
    let machine = machine(2, json!({ "min": 1, "max": 2, "idleSeconds": 1, "maxJobs": 3 }));
    // Two at once: one is there already.
    let inputs = [json!({ "do": "burn" }), json!({ "do": "burn" })];
    let (first, second) =
        tokio::join!(machine.told(inputs[0].clone()), machine.told(inputs[1].clone()));
    let pids = [&first, &second].map(|told| u32::try_from(told["pid"].as_u64().unwrap()).unwrap());
    assert_ne!(pids[0], pids[1]);
    // After a second without a job, one is left.
    let one = || pids.iter().filter(|pid| is_alive(**pid)).count() == 1;
    eventually("one of them ends", || one().then_some(())).await;
    // And that has two jobs more.
    let last = pids.into_iter().find(|pid| is_alive(*pid)).unwrap();
    assert_eq!([machine.pid().await, machine.pid().await], [last, last]);
    assert_ne!(machine.pid().await, last);
}

#[tokio::test]
async fn a_process_that_is_killed_while_it_waits_costs_no_job() {
    let machine = machine(1, none());
    for _ in 0..20 {
        let waits = machine.pid().await;
        kill_process(Pid::from_raw(waits.cast_signed()).unwrap(), Signal::KILL).unwrap();
        // One that is not dead yet may still take a job.
        eventually("it is dead", || (!is_alive(waits)).then_some(())).await;
        let job = machine.does(json!({}), 1).await;
        assert_eq!(job.status.phase, Some(Phase::Succeeded), "{:#?}", job.status);
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_server_that_ends() {
    let machine = machine(2, json!({ "min": 2, "max": 2 }));
    let pid = machine.pid().await;
    machine.engine.shutdown().await;
    eventually("the process ends", || (!is_alive(pid)).then_some(())).await;
}
