//! Queues that are missing, deleted, or on hold.

use std::fs;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use serde_json::{Map, json};
use windlass_core::status::FailureReason;
use windlass_core::{Error, Job, Jobs as _, Phase};

use crate::support::{
    Machine, eventually, key, machine, machine_with, machine_with_manifests,
    machine_with_manifests_in, spec,
};

/// Ends when there is a file `go`.
pub(crate) const WAIT: &str =
    "while ! [ -e $HERE/go ]; do sleep 0.01; done; echo > $WINDLASS_OUTPUT";

pub(crate) fn write_queue(machine: &Machine, spec: &str) {
    let text = format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: ComputeQueue\nmetadata: {{name: q}}\nspec: {spec}\n"
    );
    fs::write(machine.path("manifests/q.yaml"), text).unwrap();
}

fn lacks_queue(job: &Job) -> bool {
    says(job, "QueueNotFound", "queue \"q\" is not there")
}

pub(crate) fn says(job: &Job, reason: &str, words: &str) -> bool {
    let told = job.status.conditions.first();
    job.status.phase == Some(Phase::Queued)
        && told.is_some_and(|told| told.reason == reason && told.message.contains(words))
}

#[tokio::test]
async fn a_job_waits_for_its_queue_and_a_deleted_queue_holds_its_jobs() {
    let machine = machine_with_manifests(4, &[("wait", WAIT)]);
    let of_queue = || spec("wait", json!({ "queue": "q" }));
    assert!(lacks_queue(&machine.submit("a", of_queue()).await.unwrap()), "from the beginning");
    machine.submit("passes", spec("wait", json!({}))).await.unwrap();
    machine.running("passes").await;
    write_queue(&machine, "{cpus: 1}");
    machine.running("a").await;
    machine.submit("b", of_queue()).await.unwrap();
    let why = "waits for 1 free CPUs: queue \"q\" has 1 in all, this machine 4";
    machine.until("b", |job| says(job, "WaitingForCpus", why)).await;
    fs::remove_file(machine.path("manifests/q.yaml")).unwrap();
    machine.until("b", lacks_queue).await;
    fs::write(machine.path("go"), "").unwrap();
    machine.result("a").await;
    // One that comes later starts and ends, and the one of the deleted queue still waits.
    machine.submit("later", spec("wait", json!({}))).await.unwrap();
    machine.result("later").await;
    machine.until("b", lacks_queue).await;
    write_queue(&machine, "{cpus: 1}");
    machine.result("b").await;
}

#[tokio::test]
async fn nothing_starts_in_a_queue_on_hold() {
    let machine = machine_with_manifests(4, &[("wait", WAIT)]);
    write_queue(&machine, "{cpus: 1}");
    machine.submit("a", spec("wait", json!({ "queue": "q" }))).await.unwrap();
    machine.running("a").await;
    machine.submit("b", spec("wait", json!({ "queue": "q" }))).await.unwrap();
    write_queue(&machine, "{cpus: 1, hold: true}");
    machine.until("b", |job| says(job, "WaitingForCpus", "queue \"q\" is on hold")).await;
    fs::write(machine.path("go"), "").unwrap();
    machine.result("a").await;
    write_queue(&machine, "{cpus: 0}");
    machine.until("b", |job| says(job, "WaitingForCpus", "queue \"q\" has 0 CPUs")).await;
    write_queue(&machine, "{cpus: 2}");
    machine.result("b").await;
}

#[tokio::test]
async fn a_hold_of_the_api_outlives_the_server_until_the_manifest_says_otherwise() {
    let functions = [("wait", WAIT)];
    let machine = machine_with_manifests(4, &functions);
    fs::write(machine.path("go"), "").unwrap();
    write_queue(&machine, "{cpus: 1}");
    let q = key("q");
    let none = machine.engine.hold_queue(&key("none"), true).await;
    assert!(matches!(none, Err(Error::NotFound { .. })), "{none:?}");
    // The manifest is read soon.
    let held = loop {
        match machine.engine.hold_queue(&q, true).await {
            Err(Error::NotFound { .. }) => tokio::task::yield_now().await,
            held => break held.unwrap(),
        }
    };
    assert!(held.spec.hold && held.spec.cpus == 1);
    machine.submit("a", spec("wait", json!({ "queue": "q" }))).await.unwrap();
    machine.until("a", |job| says(job, "WaitingForCpus", "queue \"q\" is on hold")).await;

    machine.engine.shutdown().await;
    let Machine { engine, directory } = machine;
    drop(engine);
    let machine = machine_with_manifests_in(4, directory, &functions);
    assert!(machine.engine.queue("other", "q").await.unwrap().is_none(), "it has one namespace");
    let is_held = async || machine.engine.queue("default", "q").await.unwrap().unwrap().spec.hold;
    assert!(is_held().await);
    // What the manifest says otherwise does not end it, and what it says of the hold does.
    write_queue(&machine, "{cpus: 2}");
    eventually("it is read", || machine_cpus(&machine, 2)).await;
    assert!(is_held().await);
    assert!(!machine.engine.hold_queue(&q, false).await.unwrap().spec.hold);
    machine.result("a").await;
    machine.engine.hold_queue(&q, true).await.unwrap();
    write_queue(&machine, "{cpus: 3, hold: true}");
    eventually("it is read", || machine_cpus(&machine, 3)).await;
    write_queue(&machine, "{cpus: 4}");
    eventually("it is read", || machine_cpus(&machine, 4)).await;
    assert!(!is_held().await);

    machine.engine.shutdown().await;
    let Machine { engine, directory } = machine;
    drop(engine);
    let machine = machine_with_manifests_in(4, directory, &functions);
    assert!(!machine.engine.queue("default", "q").await.unwrap().unwrap().spec.hold);
}

/// Whether the queue has so many CPUs by now.
fn machine_cpus(machine: &Machine, cpus: u32) -> Option<()> {
    let queue = machine.engine.queue("default", "q").now_or_never()?.unwrap()?;
    (queue.spec.cpus == cpus).then_some(())
}

#[tokio::test]
async fn a_job_for_which_its_queue_became_too_small_says_so_and_holds_back_nobody() {
    let machine = machine_with_manifests(4, &[("wait", WAIT)]);
    fs::write(machine.path("go"), "").unwrap();
    let of_queue = |cpus| spec("wait", json!({ "queue": "q", "parallelism": cpus }));
    machine.submit("wide", of_queue(2)).await.unwrap();
    write_queue(&machine, "{cpus: 1}");
    machine.until("wide", |job| says(job, "QueueTooSmall", "needs 2 CPUs")).await;
    machine.submit("narrow", of_queue(1)).await.unwrap();
    machine.result("narrow").await;
    write_queue(&machine, "{cpus: 2}");
    machine.result("wide").await;
}

#[tokio::test]
async fn a_job_that_came_before_its_queue_keeps_to_the_most_for_one_job() {
    let machine = machine_with_manifests(4, &[("wait", WAIT)]);
    fs::write(machine.path("go"), "").unwrap();
    let of_queue = |fields| {
        let mut all = json!({ "queue": "q", "parallelism": 3 });
        all.as_object_mut().unwrap().extend(fields);
        spec("wait", all)
    };
    machine.submit("rigid", of_queue(Map::new())).await.unwrap();
    let moldable = Map::from_iter([("minParallelism".to_owned(), json!(1))]);
    machine.submit("moldable", of_queue(moldable)).await.unwrap();
    write_queue(&machine, "{cpus: 4, maxParallelismPerJob: 2}");
    let ended = machine.finished("moldable").await;
    assert_eq!(ended.status.parallelism, Some(2));
    let why = "needs 3 CPUs, and queue \"q\" gives one job 2";
    machine.until("rigid", |job| says(job, "QueueTooSmall", why)).await;
    write_queue(&machine, "{cpus: 4, maxParallelismPerJob: 3}");
    machine.result("rigid").await;
}

#[tokio::test]
async fn jobs_start_in_the_order_of_their_positions() {
    let turn = "echo $WINDLASS_JOB >> $HERE/order; while ! [ -e $HERE/go ]; do sleep 0.01; done; echo > $WINDLASS_OUTPUT";
    let machine = machine_with_manifests(1, &[("turn", turn)]);
    write_queue(&machine, "{cpus: 1, hold: true}");
    machine.submit("first", spec("turn", json!({}))).await.unwrap();
    machine.running("first").await;
    for (name, priority) in [("low", -1), ("a", 0), ("b", 0), ("high", 5), ("c", 0)] {
        machine.submit(name, spec("turn", json!({ "priority": priority }))).await.unwrap();
    }
    machine.submit("held", spec("turn", json!({ "queue": "q" }))).await.unwrap();
    let told = machine.engine.estimates("default").await.unwrap();
    assert!(told.complete && told.since.is_none());
    let place = |name: &str| {
        let told = told.items.iter().find(|told| told.name == name).unwrap();
        assert!(told.estimated_start_time.is_none(), "no job has ended yet: {told:?}");
        told.position
    };
    let order = ["high", "a", "b", "c", "low"];
    assert_eq!(order.map(place), [Some(1), Some(2), Some(3), Some(4), Some(5)]);
    assert_eq!((place("first"), place("held")), (None, Some(1)));
    fs::write(machine.path("go"), "").unwrap();
    machine.result("low").await;
    let started = fs::read_to_string(machine.path("order")).unwrap();
    assert_eq!(started.lines().collect::<Vec<_>>(), [&["first"], &order[..]].concat());
}

#[tokio::test]
async fn estimates_come_from_the_jobs_that_have_ended_also_before_a_restart() {
    let functions = [("quick", "sleep 0.05; echo > $WINDLASS_OUTPUT")];
    let first = machine(1, &functions);
    for _ in 0..5 {
        let name = first.start("quick").await;
        first.result(&name).await;
        first.engine.delete(&key(&name), None).await.unwrap();
    }
    first.engine.shutdown().await;
    let Machine { engine, directory } = first;
    drop(engine);
    let here = directory.path().to_owned();
    let script = "while ! [ -e $HERE/go ]; do sleep 0.01; done; echo > $WINDLASS_OUTPUT";
    let quick =
        crate::support::function("quick", &here, json!({ "command": ["/bin/sh", "-c", script] }));
    let machine = machine_with(1, directory, windlass_local::Functions::builtin(vec![quick]));
    machine.submit("runs", spec("quick", json!({}))).await.unwrap();
    machine.submit("waits", spec("quick", json!({}))).await.unwrap();
    let told = machine.engine.estimates("default").await.unwrap().items;
    let waits = told.iter().find(|told| told.name == "waits").unwrap();
    assert_eq!(waits.position, Some(1));
    assert!(
        waits.estimated_start_time.is_some() && waits.latest_completion_time.is_some(),
        "{waits:?}"
    );
    // The one that runs takes longer than any before: then nobody can say.
    let told = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let told = machine.engine.estimates("default").await.unwrap().items;
            if told.iter().all(|told| told.estimated_completion_time.is_none()) {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let told = told.await.expect("no time is told any more");
    assert!(told.len() == 2 && told.iter().all(|told| told.not_told.is_some()), "{told:?}");
    fs::write(machine.path("go"), "").unwrap();
    machine.result("waits").await;
}

/// Runs until there is a file `go`, and says how often it was started.
const LONG: &str = "echo >> $HERE/starts; trap 'exit 0' TERM; \
    while ! [ -e $HERE/go ]; do sleep 0.01; done; echo > $WINDLASS_OUTPUT";

#[tokio::test]
async fn an_urgent_job_has_one_of_lower_priority_ended_which_is_run_again() {
    let machine =
        machine_with_manifests(2, &[("long", LONG), ("urgent", "echo > $WINDLASS_OUTPUT")]);
    write_queue(&machine, "{cpus: 2, preemption: lowerPriority}");
    let low = || spec("long", json!({ "queue": "q", "parallelism": 2, "priority": -1 }));
    machine.submit("low", low()).await.unwrap();
    eventually("it has begun", || machine.path("starts").exists().then_some(())).await;
    // One of the same priority ends nobody's.
    let same = spec("urgent", json!({ "queue": "q", "parallelism": 1, "priority": -1 }));
    machine.submit("same", same).await.unwrap();
    let began = Instant::now();
    let high = spec("urgent", json!({ "queue": "q", "parallelism": 2, "priority": 5 }));
    machine.submit("high", high).await.unwrap();
    machine.result("high").await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    machine.result("same").await;
    let ended = machine.until("low", |job| job.status.attempt == Some(2)).await;
    let failure = ended.status.failure.unwrap();
    assert_eq!((failure.reason, failure.attempt), (FailureReason::Preempted, 1));
    assert_eq!(failure.message, "ended for a job of queue \"q\" with priority 5");
    fs::write(machine.path("go"), "").unwrap();
    machine.result("low").await;
    let low = machine.until("low", |job| job.status.phase == Some(Phase::Succeeded)).await;
    assert_eq!((low.status.attempt, low.status.retries), (Some(2), 0));
    assert_eq!(fs::read_to_string(machine.path("starts")).unwrap().lines().count(), 2);
}
