//! Jobs for which no node has room.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{MANY_SECONDS, pods};
use crate::support::cluster::{Namespace, get, node_cpus};
use crate::support::eventually;

/// Longest time until a job has ended that is tried with fewer CPUs, with the chart's defaults.
const LESS_ROOM: Duration = Duration::from_secs(30);

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
    namespace.apply("small", &json!({ "function": "echo" })).unwrap();
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
