//! Chapters on queues that are missing, deleted or on hold, and on jobs that change theirs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{is_told, lingering, succeeds, time};
use crate::cluster::{pods, spinning};
use crate::support::cluster::{Namespace, kubectl};
use crate::support::{run, text};

/// Longest time until a job whose queue has come has ended.
const SECONDS: Duration = Duration::from_secs(20);

/// An `echo` in this queue, or in none.
fn echo(namespace: &Namespace, name: &str, queue: Option<&str>) {
    let mut spec = json!({ "function": "echo" });
    if let Some(queue) = queue {
        spec["queue"] = json!(queue);
    }
    namespace.apply(name, &spec).unwrap();
}

pub(super) fn nobody_leaves_a_quota() {
    let namespace = Namespace::new("escapes");
    echo(&namespace, "escapes", Some("nobodys"));
    echo(&namespace, "passes", None);
    succeeds(&namespace, "passes");
    is_told(&namespace, "escapes", "QueueNotFound", "queue \"nobodys\" is not there");
    assert_eq!(pods(&namespace, "escapes"), Vec::<Value>::new());
    let made = Instant::now();
    namespace.apply_queue("nobodys", &json!({ "cpus": 1 }));
    succeeds(&namespace, "escapes");
    assert!(made.elapsed() < SECONDS, "{:?}", made.elapsed());
    // The namespace has a queue now.
    echo(&namespace, "nameless", None);
    is_told(&namespace, "nameless", "QueueNotFound", "queue \"default\" is not there");
}

pub(super) fn a_deleted_queue_holds_its_jobs() {
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
    succeeds(&namespace, "later");
    for job in held {
        assert_eq!(pods(&namespace, job), Vec::<Value>::new());
        is_told(&namespace, job, "QueueNotFound", "was deleted");
    }
    namespace.apply_queue("default", &json!({ "cpus": 3 }));
    for job in held {
        succeeds(&namespace, job);
    }
}

/// By the command line: what runs goes on, what comes waits, and all that waited runs.
pub(super) fn a_queue_is_held_and_resumed() {
    let namespace = Namespace::new("hold");
    let windlass = |verb: &str| {
        let output = run(&["queues", verb, "default", "--namespace", &namespace.0]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    namespace.apply_queue("default", &json!({ "cpus": 2 }));
    spinning(&namespace, "runs", &[]);
    windlass("hold");
    let waiting = ["a", "b"];
    waiting.iter().for_each(|job| echo(&namespace, job, None));
    waiting.iter().for_each(|job| is_told(&namespace, job, "WaitingForCpus", "is on hold"));
    assert_eq!(namespace.job("runs")["status"]["phase"], "Running");
    windlass("resume");
    for job in waiting {
        succeeds(&namespace, job);
    }
    namespace.cancel("runs");
    namespace.wait("runs");
}

pub(super) fn jobs_are_moved_until_they_start() {
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
    succeeds(&namespace, "moved");
    for late in [json!({ "queue": "closed" }), json!({ "queue": null }), json!({ "priority": 0 })] {
        let refused = change(&late).unwrap_err();
        assert!(refused.contains("only while the job has not started"), "{late}: {refused}");
    }
    change(&json!({ "queue": "open", "priority": 5 })).unwrap();
}

/// The younger of two jobs starts first, once it has the higher priority.
pub(super) fn a_higher_priority_starts_first() {
    let namespace = Namespace::new("priority");
    namespace.apply_queue("default", &json!({ "cpus": 1 }));
    spinning(&namespace, "runs", &[]);
    // Longer than the whole seconds in which the times of starts are told.
    let waiting = ["older", "younger"];
    for job in waiting {
        namespace.apply(job, &lingering(2000, 0)).unwrap();
        is_told(&namespace, job, "WaitingForCpus", "has 1 CPUs");
    }
    namespace.patch("younger", &[], r#"{"spec":{"priority":5}}"#).unwrap();
    namespace.cancel("runs");
    let [older, younger] = waiting.map(|job| succeeds(&namespace, job));
    assert!(time(&younger, "admitted") < time(&older, "admitted"), "{older} {younger}");
}
