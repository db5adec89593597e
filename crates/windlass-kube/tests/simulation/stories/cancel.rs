//! A job that is cancelled while its function runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::late_needs::{phase_is, wait_for};
use crate::cluster;
use crate::controller::start;
use crate::objects::{change_spec, create_function, create_job};
use crate::server::{Server, State, is_live};
use crate::virtual_time::block_on;

/// Longest time until something follows.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn the_batch_job_stays_until_the_worker_has_ended_so_that_it_can_leave_the_log() {
    for is_managed in [false, true] {
        block_on(async move {
            let server = Server::new(BTreeMap::new());
            create_function(&server);
            create_job(&server, 0, 0);
            let cluster = tokio::spawn(cluster::run(server.clone(), 600_000, 1));
            let controller = start(&server, 0, is_managed);
            wait_for(&server, "j0", SOON, phase_is("Running")).await;
            change_spec(&server, "computejobs", "j0", "cancel", json!(true));
            let deleted = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
            let (mut was_stopping, has) = (false, |state: &State| state.all("jobs").count() > 0);
            let ended = timeout(SOON, async {
                loop {
                    {
                        let state = server.lock();
                        let Some((_, pod)) = state.all("pods").find(|(_, pod)| is_live(pod)) else {
                            break;
                        };
                        was_stopping |= deleted(pod);
                        assert!(has(&state), "the worker runs, and its batch Job is gone");
                    }
                    sleep(Duration::from_millis(2)).await;
                }
            });
            assert!(ended.await.is_ok() && was_stopping);
            wait_for(&server, "j0", SOON, phase_is("Cancelled")).await;
            assert!(!has(&server.lock()), "a batch Job is left");
            controller.abort();
            cluster.abort();
        });
    }
}

#[test]
fn the_batch_job_goes_though_nobody_tells_that_the_worker_has_ended() {
    block_on(async move {
        let server = Server::new(BTreeMap::new());
        create_function(&server);
        create_job(&server, 0, 0);
        let cluster = tokio::spawn(cluster::run(server.clone(), 600_000, 1));
        let controller = start(&server, 0, false);
        wait_for(&server, "j0", SOON, phase_is("Running")).await;
        // Its kubelet is gone.
        cluster.abort();
        change_spec(&server, "computejobs", "j0", "cancel", json!(true));
        let gone = timeout(SOON, async {
            while server.lock().all("jobs").count() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(gone.await.is_ok(), "the batch Job stays as long as the pod");
        assert_eq!(server.lock().all("pods").count(), 1);
        controller.abort();
    });
}
