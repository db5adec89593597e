//! Pods for which the node has no room.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use windlass_kube::Settings;

use super::late_needs::{TOLD_WITHIN, has_reason, has_succeeded, wait_for, with_function};
use super::write_faults::random_faults;
use crate::controller::{settings, start, start_with};
use crate::objects::{create_job_of, create_queue, set_node_cpus};
use crate::play::play_numbered;
use crate::server::{ReadFaults, Server, random_below};
use crate::story::{ByHand, Story};
use crate::virtual_time::block_on;

/// Longest time until a job that may start has ended: a pause of up to 10 s is over by then.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// In this time another attempt would have been made: after the timeout of the pod and a pause of a second.
const WOULD_START: Duration = Duration::from_secs(3);

/// A server whose node has so many CPUs, and a cluster whose attempts take up to so many milliseconds.
fn world(node_cpus: u32, longest: u64) -> (Server, JoinHandle<()>) {
    let (server, cluster) = with_function(longest);
    set_node_cpus(&server, node_cpus);
    (server, cluster)
}

/// A job of so many CPUs, or at least so many.
fn submit(server: &Server, name: &str, [min, max]: [u32; 2]) {
    let spec = json!({ "function": "f", "parallelism": max, "minParallelism": min,
        "input": { "crashes": 0 } });
    create_job_of(server, name, spec);
}

fn gave_back(status: &Value) -> bool {
    status["phase"] == "Queued"
        && status["failure"]["reason"] == "Unschedulable"
        && has_reason(status, "Unschedulable")
}

fn is_pending(status: &Value) -> bool {
    status["phase"] == "Starting" && has_reason(status, "Unschedulable")
}

/// Whether the scheduler has said of a pod that it finds no node for it.
async fn one_is_refused(server: &Server) {
    let is_refused = |pod: &Value| !pod["status"]["conditions"].is_null();
    let waited = timeout(ENDED_WITHIN, async {
        while !server.lock().all("pods").any(|(_, pod)| is_refused(pod)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{:#?}", server.lock().writes);
}

#[test]
fn a_job_for_which_no_node_has_room_lets_the_next_ones_start() {
    block_on(async {
        let (server, cluster) = world(1, 150);
        create_queue(&server, 2);
        submit(&server, "large", [2, 2]);
        let controller = start(&server, 0, false);
        wait_for(&server, "large", TOLD_WITHIN, is_pending).await;
        submit(&server, "a", [1, 1]);
        submit(&server, "b", [1, 1]);
        wait_for(&server, "large", TOLD_WITHIN, gave_back).await;
        // Long before the large one is tried again.
        for job in ["a", "b"] {
            wait_for(&server, job, TOLD_WITHIN, has_succeeded).await;
        }
        set_node_cpus(&server, 2);
        let succeeded = |status: &Value| has_succeeded(status) && status["retries"].is_null();
        wait_for(&server, "large", ENDED_WITHIN, succeeded).await;
        assert_eq!(server.lock().broken_promises, Vec::<String>::new());
        controller.abort();
        cluster.abort();
    });
}

#[test]
fn a_job_that_may_take_fewer_cpus_starts_with_those_for_which_there_is_room() {
    block_on(async {
        for has_queue in [true, false] {
            let (server, cluster) = world(1, 150);
            has_queue.then(|| create_queue(&server, 4));
            submit(&server, "j0", [1, 4]);
            let controller = start(&server, 0, false);
            let succeeded =
                |status: &Value| has_succeeded(status) && status["parallelism"] == json!(1);
            wait_for(&server, "j0", Duration::from_secs(9), succeeded).await;
            controller.abort();
            cluster.abort();
        }
    });
}

/// Nobody waits for its CPUs where there is no queue; and by 0 the operator says that its place is with the scheduler.
#[test]
fn a_pod_waits_on_where_giving_its_cpus_back_is_of_no_use() {
    block_on(async {
        let off = Settings { unschedulable_timeout: None, ..settings() };
        for (settings, has_queue) in [(settings(), false), (off, true)] {
            let (server, cluster) = world(1, 150);
            has_queue.then(|| create_queue(&server, 4));
            submit(&server, "j0", [2, 2]);
            let controller = start_with(&server, settings, 0);
            wait_for(&server, "j0", TOLD_WITHIN, is_pending).await;
            tokio::time::sleep(WOULD_START).await;
            set_node_cpus(&server, 2);
            let at_once = |status: &Value| has_succeeded(status) && status["attempt"] == 1;
            wait_for(&server, "j0", TOLD_WITHIN, at_once).await;
            controller.abort();
            cluster.abort();
        }
    });
}

#[test]
fn an_attempt_that_has_found_a_node_goes_on_however_late_its_watch_is() {
    block_on(async {
        let (server, cluster) = world(1, 600_000);
        create_queue(&server, 2);
        submit(&server, "j0", [2, 2]);
        server.lock().read_faults =
            Some(ReadFaults { late_pods: 1_500, ..ReadFaults::late(10, 1) });
        let controller = start(&server, 0, false);
        one_is_refused(&server).await;
        set_node_cpus(&server, 2);
        let is_told = |status: &Value| status["phase"] == "Running" || has_succeeded(status);
        wait_for(&server, "j0", ENDED_WITHIN, |status| is_told(status) || gave_back(status)).await;
        wait_for(&server, "j0", TOLD_WITHIN, |status| status["attempt"] == 1).await;
        wait_for(&server, "j0", TOLD_WITHIN, is_told).await;
        controller.abort();
        cluster.abort();
    });
}

#[test]
fn faults_and_deaths_while_there_is_no_room_break_no_promise() {
    play_numbered(48, |seed| {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: u64| random_below(&mut state, below);
        let faults = random_faults(&mut random);
        Story {
            faults,
            node_cpus: Some((1, 600 + random(4_000))),
            jobs: vec![0; 3],
            cancel: seed.is_multiple_of(5).then(|| random(2_000)),
            by_hand: (seed % 6 == 3).then_some((ByHand::Delete, 200 + seed * 20)),
            read_faults: seed.is_multiple_of(4).then(|| ReadFaults::late(20 + seed * 10, seed + 1)),
            ..Story::numbered(seed).one_more_controller_every(2).quota_but_every(2, 7)
        }
    });
}
