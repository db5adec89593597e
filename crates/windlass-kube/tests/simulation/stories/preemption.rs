//! Jobs that are ended for others, where their queues say so.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::late_needs::{block_on, phase_is, wait_for};
use crate::cluster;
use crate::controller::start;
use crate::objects::{
    create_function, create_job_of, create_queue_of, create_shared_queues, create_urgent_job,
    let_queue_preempt,
};
use crate::play::play_numbered;
use crate::server::{ReadFaults, Server};
use crate::story::Story;

/// Longest time until something follows.
const SOON: Duration = Duration::from_secs(20);

/// An urgent job comes while three others run, or wait.
fn urgent(number: u64) -> Story {
    Story {
        shared: number.is_multiple_of(2),
        urgent_after: Some(300 + 37 * (number % 20)),
        longest: 1500,
        jobs: vec![0, 0, 1],
        ..Story::numbered(number)
    }
}

#[test]
fn two_or_three_controllers_end_jobs_for_others_and_break_no_promise() {
    play_numbered(40, |number| {
        let two = Story { controllers: 2, ..urgent(number) };
        Story {
            cancel: number.is_multiple_of(3).then_some(number * 13),
            read_faults: number
                .is_multiple_of(4)
                .then_some(ReadFaults::late(10 * number, number + 1)),
            ..two.one_more_controller_every(5)
        }
    });
}

#[test]
fn a_job_that_is_ended_for_another_says_so_and_is_run_again() {
    for is_shared in [false, true] {
        block_on(async move {
            let server = Server::new(BTreeMap::new());
            create_function(&server);
            if is_shared {
                create_shared_queues(&server, 3);
            } else {
                create_queue_of(&server, "default", json!({ "cpus": 3 }));
            }
            let_queue_preempt(&server, is_shared.then_some(3));
            let cluster = tokio::spawn(cluster::run(server.clone(), 4_000, 1));
            let queue = if is_shared { "other" } else { "default" };
            let spec = json!({ "function": "f", "queue": queue, "parallelism": 2, "input": { "crashes": 0 } });
            create_job_of(&server, "j0", spec);
            let controller = start(&server, 0, false);
            wait_for(&server, "j0", SOON, phase_is("Running")).await;
            create_urgent_job(&server);
            wait_for(&server, "j0", SOON, |status| {
                status["failure"]["reason"] == "Preempted"
                    && status["failure"]["message"]
                        == "ended for a job of queue \"default\" with priority 9"
            })
            .await;
            wait_for(&server, "urgent", SOON, phase_is("Succeeded")).await;
            wait_for(&server, "j0", SOON, |status| {
                status["phase"] == "Succeeded"
                    && status["attempt"] == 2
                    && status["retries"].is_null()
            })
            .await;
            controller.abort();
            cluster.abort();
        });
    }
}
