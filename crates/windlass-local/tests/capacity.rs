//! Who starts when, with how many CPUs.

use std::fs;

use serde_json::json;
use windlass_core::{Error, Jobs as _, Phase};
use windlass_local::Functions;

use crate::support::{Machine, function, key, machine, machine_with, spec};

/// A function that notes when it starts and ends, with its CPUs and its queue.
const NOTED: &str = "echo + $WINDLASS_PARALLELISM $WINDLASS_JOB >> $HERE/log; sleep 0.03; \
                     echo - $WINDLASS_PARALLELISM $WINDLASS_JOB >> $HERE/log; echo > $WINDLASS_OUTPUT";

/// The most CPUs in use at one time, of the jobs whose names begin so.
fn most_at_once(machine: &Machine, prefix: &str) -> i64 {
    let log = fs::read_to_string(machine.path("log")).unwrap();
    let (mut now, mut most) = (0, 0);
    for line in log.lines() {
        let [sign, cpus, job] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if job.starts_with(prefix) {
            let cpus: i64 = cpus.parse().unwrap();
            now += if sign == "+" { cpus } else { -cpus };
            most = most.max(now);
        }
    }
    assert_eq!(now, 0, "what started has ended");
    most
}

/// A machine on which job `first` has so many of the CPUs. It and every job of function `wait` ends when
/// there is a file `go`.
async fn machine_in_use(cpus: u32, in_use: u32) -> Machine {
    let wait = "while ! [ -e $HERE/go ]; do sleep 0.01; done; echo > $WINDLASS_OUTPUT";
    let machine = machine(cpus, &[("wait", wait)]);
    machine.submit("first", spec("wait", json!({ "parallelism": in_use }))).await.unwrap();
    machine.running("first").await;
    machine
}

#[tokio::test]
async fn granted_cpus_never_exceed_the_machine_and_are_all_used() {
    let machine = machine(3, &[("noted", NOTED)]);
    for number in 0..20 {
        let fields = json!({ "parallelism": number % 3 + 1, "priority": number % 2 });
        machine.submit(&format!("job-{number}"), spec("noted", fields)).await.unwrap();
    }
    for number in 0..20 {
        let job = machine.finished(&format!("job-{number}")).await;
        assert_eq!(job.status.phase, Some(Phase::Succeeded), "{:#?}", job.status);
        assert_eq!(job.status.parallelism, Some(number % 3 + 1));
    }
    assert_eq!(most_at_once(&machine, "job-"), 3);
}

#[tokio::test]
async fn jobs_of_one_moment_start_in_the_order_of_their_submission() {
    let machine = machine(1, &[("noted", NOTED)]);
    for number in 0..8 {
        machine.submit(&format!("job-{number}"), spec("noted", json!({}))).await.unwrap();
    }
    for number in 0..8 {
        machine.finished(&format!("job-{number}")).await;
    }
    let log = fs::read_to_string(machine.path("log")).unwrap();
    let started: Vec<_> = log.lines().filter_map(|line| line.strip_prefix("+ 1 job-")).collect();
    assert_eq!(started, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[tokio::test]
async fn a_moldable_job_takes_what_is_free() {
    let machine = machine_in_use(3, 1).await;
    let fields = json!({ "parallelism": 8, "minParallelism": 2 });
    machine.submit("second", spec("wait", fields)).await.unwrap();
    assert_eq!(machine.running("second").await.status.parallelism, Some(2));
    fs::write(machine.path("go"), "").unwrap();
    machine.result("second").await;
}

#[tokio::test]
async fn a_job_that_never_fits_is_refused_and_told_how_many_cpus_there_are() {
    let machine = machine(2, &[("noted", NOTED)]);
    for (fields, pointer) in [
        (json!({ "parallelism": 3 }), "/parallelism"),
        (json!({ "parallelism": 8, "minParallelism": 3 }), "/minParallelism"),
    ] {
        let error = machine.submit("", spec("noted", fields)).await.unwrap_err();
        let Error::Invalid(problems) = error else { panic!("{error}") };
        assert_eq!(problems[0].pointer, pointer);
        assert!(problems[0].message.contains("2 CPUs"), "{}", problems[0].message);
    }
}

#[tokio::test]
async fn a_job_that_waits_says_for_what_and_starts_when_it_is_free() {
    let machine = machine_in_use(2, 2).await;
    machine.submit("second", spec("wait", json!({}))).await.unwrap();
    let waiting = machine.until("second", |job| job.status.phase == Some(Phase::Queued)).await;
    let message = &waiting.status.conditions[0].message;
    assert!(message.contains("waits for 1 of the 2 CPUs"), "{message}");
    machine.engine.cancel(&key("first"), None).await.unwrap();
    machine.running("second").await;
    fs::write(machine.path("go"), "").unwrap();
    machine.result("second").await;
}

#[tokio::test]
async fn a_queue_uses_no_more_than_its_quota() {
    let directory = tempfile::tempdir().unwrap();
    let queue = "apiVersion: windlass.dev/v1alpha1\nkind: ComputeQueue\n\
                 metadata: {name: small}\nspec: {cpus: 1}\n";
    let file = directory.path().join("queue.yaml");
    fs::write(&file, queue).unwrap();
    let noted = json!({ "command": ["/bin/sh", "-c", NOTED] });
    let mut functions = Functions::builtin(vec![function("noted", directory.path(), noted)]);
    functions.load(&file).unwrap();
    let machine = machine_with(4, directory, functions);
    for number in 0..6 {
        let small = spec("noted", json!({ "queue": "small" }));
        machine.submit(&format!("small-{number}"), small).await.unwrap();
        machine.submit(&format!("free-{number}"), spec("noted", json!({}))).await.unwrap();
    }
    for number in 0..6 {
        machine.result(&format!("small-{number}")).await;
        machine.result(&format!("free-{number}")).await;
    }
    assert_eq!(most_at_once(&machine, "small-"), 1);
    assert!((2..=4).contains(&most_at_once(&machine, "free-")));
    let too_wide = machine.submit("", spec("noted", json!({ "queue": "small", "parallelism": 2 })));
    assert!(matches!(too_wide.await, Err(Error::Invalid(_))));
}
