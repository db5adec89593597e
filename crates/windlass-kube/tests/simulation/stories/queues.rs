//! Queues that are missing, deleted, on hold, or changed while jobs wait in them.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use windlass_kube::Settings;

use super::late_needs::{TOLD_WITHIN, has_reason, has_succeeded, wait_for, with_function};
use crate::controller::{settings, start, start_with};
use crate::objects::{change_spec, create_job_of, create_queue_of};
use crate::play::play_numbered;
use crate::server::{Server, key};
use crate::story::{ByHand, Story};
use crate::virtual_time::block_on;

/// Longest time until a job that may start has ended.
const ENDED_WITHIN: Duration = Duration::from_secs(20);

/// In this time a job that wrongly may start would have started.
const WOULD_START: Duration = Duration::from_secs(2);

/// A job of one CPU in this queue, or without one.
fn submit(server: &Server, name: &str, queue: Option<&str>) {
    let mut spec = json!({ "function": "f", "parallelism": 1, "input": { "crashes": 0 } });
    if let Some(queue) = queue {
        spec["queue"] = json!(queue);
    }
    create_job_of(server, name, spec);
}

fn lacks_queue(status: &Value) -> bool {
    status["phase"] == "Queued" && has_reason(status, "QueueNotFound")
}

fn waits_for_cpus(status: &Value) -> bool {
    status["phase"] == "Queued" && has_reason(status, "WaitingForCpus")
}

/// How many batch Jobs were made.
fn attempts(server: &Server) -> usize {
    server.lock().writes.iter().filter(|write| write.contains("POST jobs/")).count()
}

/// The names of jobs in the order in which their batch Jobs were made.
fn started(server: &Server) -> Vec<String> {
    let state = server.lock();
    let made = state.writes.iter().filter_map(|write| write.split_once("POST jobs/"));
    made.map(|(_, name)| name.split('-').next().unwrap().to_owned()).collect()
}

/// Waits for the first batch Job.
async fn one_starts(server: &Server) {
    let started = timeout(ENDED_WITHIN, async {
        while attempts(server) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(started.await.is_ok(), "{:#?}", server.lock().writes);
}

/// Nothing starts for a while.
async fn nothing_starts(server: &Server) {
    let before = attempts(server);
    tokio::time::sleep(WOULD_START).await;
    assert_eq!(attempts(server), before, "{:#?}", server.lock().writes);
}

#[test]
fn a_job_waits_for_a_queue_that_nobody_has_made() {
    block_on(async {
        let (server, cluster) = with_function(150);
        submit(&server, "escapes", Some("nobodys"));
        submit(&server, "passes", None);
        let controller = start(&server, 0, false);
        wait_for(&server, "passes", ENDED_WITHIN, has_succeeded).await;
        wait_for(&server, "escapes", TOLD_WITHIN, lacks_queue).await;
        assert_eq!(attempts(&server), 1);
        create_queue_of(&server, "nobodys", json!({ "cpus": 1 }));
        wait_for(&server, "escapes", ENDED_WITHIN, has_succeeded).await;
        // The namespace has a queue now: a job that names none needs the default one.
        submit(&server, "nameless", None);
        wait_for(&server, "nameless", 2 * TOLD_WITHIN, lacks_queue).await;
        controller.abort();
        cluster.abort();
    });
}

#[test]
fn without_any_queue_a_job_waits_where_one_is_required() {
    block_on(async {
        let (server, cluster) = with_function(150);
        submit(&server, "j0", None);
        let controller = start_with(&server, Settings { require_queue: true, ..settings() }, 0);
        wait_for(&server, "j0", TOLD_WITHIN, lacks_queue).await;
        create_queue_of(&server, "default", json!({ "cpus": 1 }));
        wait_for(&server, "j0", ENDED_WITHIN, has_succeeded).await;
        controller.abort();
        cluster.abort();
    });
}

/// The queue is the only one of its namespace, where jobs that name none would pass.
#[test]
fn a_deleted_queue_holds_its_jobs_and_starts_them_when_it_is_there_again() {
    block_on(async {
        let (server, cluster) = with_function(4_000);
        create_queue_of(&server, "default", json!({ "cpus": 0 }));
        let jobs = ["a", "b", "c", "d"];
        jobs.iter().for_each(|job| submit(&server, job, None));
        let mut controller = start(&server, 0, false);
        for job in jobs {
            wait_for(&server, job, 2 * TOLD_WITHIN, waits_for_cpus).await;
        }
        change_spec(&server, "computequeues", "default", "cpus", json!(1));
        one_starts(&server).await;
        server.lock().delete(&key("computequeues", "default"));
        for job in &jobs[1..] {
            wait_for(&server, job, TOLD_WITHIN, lacks_queue).await;
        }
        wait_for(&server, "a", ENDED_WITHIN, has_succeeded).await;
        nothing_starts(&server).await;
        // Another controller knows from the statuses that they were in a queue.
        controller.abort();
        controller = start(&server, 1, false);
        nothing_starts(&server).await;
        assert_eq!(started(&server), ["a"]);
        create_queue_of(&server, "default", json!({ "cpus": 3 }));
        for job in jobs {
            wait_for(&server, job, ENDED_WITHIN, has_succeeded).await;
        }
        assert_eq!(server.lock().broken_promises, Vec::<String>::new());
        controller.abort();
        cluster.abort();
    });
}

#[test]
fn a_queue_that_is_deleted_and_made_again_breaks_no_promise() {
    play_numbered(40, |number| Story {
        jobs: vec![0, 1, 0, 0, 3],
        longest: 400,
        by_hand: Some((ByHand::DeleteQueue(20 + number * 67 % 1_500), number * 7 % 300)),
        ..Story::numbered(number).one_more_controller_every(2)
    });
}

#[test]
fn nothing_starts_in_a_queue_on_hold_and_what_runs_goes_on() {
    block_on(async {
        let (server, cluster) = with_function(3_000);
        create_queue_of(&server, "q", json!({ "cpus": 1 }));
        submit(&server, "a", Some("q"));
        let controller = start(&server, 0, false);
        one_starts(&server).await;
        submit(&server, "b", Some("q"));
        change_spec(&server, "computequeues", "q", "hold", json!(true));
        let says = |status: &Value, words: &str| status.to_string().contains(words);
        wait_for(&server, "b", 2 * TOLD_WITHIN, |status| says(status, "is on hold")).await;
        wait_for(&server, "a", ENDED_WITHIN, has_succeeded).await;
        nothing_starts(&server).await;
        change_spec(&server, "computequeues", "q", "cpus", json!(0));
        change_spec(&server, "computequeues", "q", "hold", json!(false));
        submit(&server, "c", Some("q"));
        wait_for(&server, "c", 2 * TOLD_WITHIN, |status| says(status, "has 0 CPUs")).await;
        nothing_starts(&server).await;
        change_spec(&server, "computequeues", "q", "cpus", json!(2));
        for job in ["b", "c"] {
            wait_for(&server, job, ENDED_WITHIN, has_succeeded).await;
        }
        controller.abort();
        cluster.abort();
    });
}

#[test]
fn a_waiting_job_takes_the_queue_and_the_priority_that_it_is_given() {
    block_on(async {
        let (server, cluster) = with_function(150);
        create_queue_of(&server, "closed", json!({ "cpus": 0 }));
        create_queue_of(&server, "open", json!({ "cpus": 0 }));
        for job in ["z", "y", "x"] {
            submit(&server, job, Some("closed"));
        }
        let controller = start(&server, 0, false);
        for job in ["z", "y", "x"] {
            wait_for(&server, job, 2 * TOLD_WITHIN, waits_for_cpus).await;
            change_spec(&server, "computejobs", job, "queue", json!("open"));
            wait_for(&server, job, TOLD_WITHIN, |status| {
                status.to_string().contains("\\\"open\\\"")
            })
            .await;
        }
        change_spec(&server, "computejobs", "y", "priority", json!(5));
        tokio::time::sleep(Duration::from_millis(500)).await;
        change_spec(&server, "computequeues", "open", "cpus", json!(1));
        for job in ["x", "y", "z"] {
            wait_for(&server, job, ENDED_WITHIN, has_succeeded).await;
        }
        // Those of one second start in the order of their creation, whatever their names.
        assert_eq!(started(&server), ["y", "z", "x"]);
        controller.abort();
        cluster.abort();
    });
}
