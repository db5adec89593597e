//! Queues of a cluster that are missing, deleted or closed, and jobs that change theirs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{MANY_SECONDS, pods, spinning};
use crate::support::cluster::{Namespace, get, kubectl, node_cpus};
use crate::support::eventually;

/// Longest time until a job whose queue has come has ended.
const SECONDS: Duration = Duration::from_secs(20);

/// Longest time until a job has ended that is tried with fewer CPUs, with the chart's defaults.
const LESS_ROOM: Duration = Duration::from_secs(30);

fn admitted(namespace: &Namespace, job: &str) -> Value {
    let job = namespace.job(job);
    let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == "Admitted").unwrap_or_default()
}

pub(super) fn is_told(namespace: &Namespace, job: &str, reason: &str, words: &str) {
    eventually(&format!("{job} says {reason}"), MANY_SECONDS, || {
        let told = admitted(namespace, job);
        let says = told["message"].as_str().is_some_and(|message| message.contains(words));
        (says && told["status"] == "False" && told["reason"] == reason).then_some(())
    });
}

/// An `echo` in this queue, or in none.
fn echo(namespace: &Namespace, name: &str, queue: Option<&str>) {
    let mut spec = json!({ "function": "echo" });
    if let Some(queue) = queue {
        spec["queue"] = json!(queue);
    }
    namespace.apply(name, &spec).unwrap();
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn no_job_leaves_a_quota_by_naming_a_queue_that_nobody_has_made() {
    let namespace = Namespace::new("escapes");
    echo(&namespace, "escapes", Some("nobodys"));
    echo(&namespace, "passes", None);
    assert_eq!(namespace.wait("passes")["status"]["phase"], "Succeeded");
    is_told(&namespace, "escapes", "QueueNotFound", "queue \"nobodys\" is not there");
    assert_eq!(pods(&namespace, "escapes"), Vec::<Value>::new());
    let made = Instant::now();
    namespace.apply_queue("nobodys", &json!({ "cpus": 1 }));
    assert_eq!(namespace.wait("escapes")["status"]["phase"], "Succeeded");
    assert!(made.elapsed() < SECONDS, "{:?}", made.elapsed());
    // The namespace has a queue now.
    echo(&namespace, "nameless", None);
    is_told(&namespace, "nameless", "QueueNotFound", "queue \"default\" is not there");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_deleted_queue_holds_its_jobs_until_it_is_there_again() {
    let namespace = Namespace::new("deleted-queue");
    namespace.apply_queue("default", &json!({ "cpus": 1 }));
    spinning(&namespace, "runs", &[]);
    let held = ["a", "b", "c"];
    held.iter().for_each(|job| echo(&namespace, job, None));
    held.iter().for_each(|job| is_told(&namespace, job, "WaitingForCpus", "has 1 CPUs"));
    kubectl(&["delete", "cqueue", "default", "-n", &namespace.0], "").unwrap();
    held.iter().for_each(|job| is_told(&namespace, job, "QueueNotFound", "was deleted"));
    assert_eq!(namespace.job("runs")["status"]["phase"], "Running");
    namespace.cancel("runs");
    namespace.wait("runs");
    // One that comes later runs from its beginning to its end, and those of the deleted queue still wait.
    namespace.apply_queue("other", &json!({ "cpus": 1 }));
    echo(&namespace, "later", Some("other"));
    assert_eq!(namespace.wait("later")["status"]["phase"], "Succeeded");
    for job in held {
        assert_eq!(pods(&namespace, job), Vec::<Value>::new());
        is_told(&namespace, job, "QueueNotFound", "was deleted");
    }
    namespace.apply_queue("default", &json!({ "cpus": 3 }));
    for job in held {
        assert_eq!(namespace.wait(job)["status"]["phase"], "Succeeded");
    }
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn queue_and_priority_are_changed_until_a_job_has_started() {
    let namespace = Namespace::new("moved");
    namespace.apply_queue("closed", &json!({ "cpus": 0 }));
    namespace.apply_queue("held", &json!({ "cpus": 2, "hold": true }));
    namespace.apply_queue("open", &json!({ "cpus": 1 }));
    echo(&namespace, "moved", Some("closed"));
    is_told(&namespace, "moved", "WaitingForCpus", "has 0 CPUs");
    let change = |spec: &Value| namespace.patch("moved", &[], &json!({ "spec": spec }).to_string());
    for (wrong, field) in
        [(json!({ "priority": 1001 }), "priority"), (json!({ "queue": "" }), "queue")]
    {
        let refused = change(&wrong).unwrap_err();
        assert!(refused.contains(field), "{refused}");
    }
    change(&json!({ "queue": null })).unwrap();
    is_told(&namespace, "moved", "QueueNotFound", "queue \"default\"");
    change(&json!({ "queue": "held", "priority": -5 })).unwrap();
    is_told(&namespace, "moved", "WaitingForCpus", "is on hold");
    change(&json!({ "queue": "open", "priority": 5 })).unwrap();
    assert_eq!(namespace.wait("moved")["status"]["phase"], "Succeeded");
    for late in [json!({ "queue": "closed" }), json!({ "queue": null }), json!({ "priority": 0 })] {
        let refused = change(&late).unwrap_err();
        assert!(refused.contains("only while the job has not started"), "{late}: {refused}");
    }
    change(&json!({ "queue": "open", "priority": 5 })).unwrap();
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_job_for_which_no_node_has_room_lets_others_start_and_takes_fewer_cpus_where_it_may() {
    let namespace = Namespace::new("room");
    let too_many = node_cpus() + 1;
    namespace.apply_queue("default", &json!({ "cpus": too_many }));
    let begun = Instant::now();
    let spec = json!({ "function": "echo", "parallelism": too_many, "minParallelism": 1 });
    namespace.apply("moldable", &spec).unwrap();
    let moldable = namespace.wait("moldable");
    assert_eq!(moldable["status"]["phase"], "Succeeded", "{moldable}");
    let fewer = moldable["status"]["parallelism"].as_u64().unwrap();
    assert!(fewer < too_many && moldable["status"]["retries"].is_null(), "{moldable}");
    assert!(begun.elapsed() < LESS_ROOM, "{:?}", begun.elapsed());

    namespace.apply("large", &json!({ "function": "echo", "parallelism": too_many })).unwrap();
    eventually("the large job has the queue's CPUs", MANY_SECONDS, || {
        (pods(&namespace, "large").len() == 1).then_some(())
    });
    echo(&namespace, "small", None);
    assert_eq!(namespace.wait("small")["status"]["phase"], "Succeeded");
    let large = namespace.job("large");
    assert_eq!(large["status"]["phase"], "Queued", "{large}");
    assert_eq!(large["status"]["failure"]["reason"], "Unschedulable", "{large}");
    eventually("an Event tells", MANY_SECONDS, || {
        let note = format!("attempt 1 gives {too_many} CPUs back, and is tried again: 0/");
        get(&["events", "-n", &namespace.0]).to_string().contains(&note).then_some(())
    });
    // It is tried again, and never given up before its start deadline.
    eventually("the next attempt", MANY_SECONDS, || {
        (namespace.job("large")["status"]["attempt"] == 2).then_some(())
    });
    namespace.cancel("large");
    assert_eq!(namespace.wait("large")["status"]["phase"], "Cancelled");
    namespace.becomes_empty("jobs,pods");
}
