//! What a job needs and does not have yet: it waits, says why, and goes on when it is there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use windlass_kube::{ManageJobs, Settings};

use crate::cluster;
use crate::controller::{settings, start, start_with};
use crate::objects::{create_function, create_job, create_jobs_elsewhere};
use crate::server::{Server, key};
use crate::virtual_time::{block_on, now};

/// Longest time until a job says why it waits.
pub(super) const TOLD_WITHIN: Duration = Duration::from_secs(3);

/// Waits until the status of the only job is so.
async fn wait(server: &Server, within: Duration, is_so: impl Fn(&Value) -> bool) {
    wait_for(server, "j0", within, is_so).await;
}

/// Whether a status has this phase.
pub(super) fn phase_is(phase: &'static str) -> impl Fn(&Value) -> bool {
    move |status| status["phase"] == phase
}

/// Waits until the status of this job is so.
pub(super) async fn wait_for(
    server: &Server,
    job: &str,
    within: Duration,
    is_so: impl Fn(&Value) -> bool,
) {
    let status = || server.lock().objects[&key("computejobs", job)]["status"].clone();
    let waited = timeout(within, async {
        while !is_so(&status()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{}", status());
}

/// Whether a condition of a status has this reason.
pub(super) fn has_reason(status: &Value, reason: &str) -> bool {
    let conditions = status["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|condition| condition["reason"] == reason))
}

pub(super) fn has_succeeded(status: &Value) -> bool {
    status["phase"] == "Succeeded"
}

/// A server with a function, whose attempts take up to so many milliseconds, and a cluster that runs them.
pub(super) fn with_function(longest: u64) -> (Server, JoinHandle<()>) {
    let server = Server::new(BTreeMap::new());
    create_function(&server);
    let cluster = tokio::spawn(cluster::run(server.clone(), longest, 1));
    (server, cluster)
}

/// A server with a job that has said that its function is not there, its cluster and its controller.
pub(super) async fn without_function() -> (Server, [JoinHandle<()>; 2]) {
    let server = Server::new(BTreeMap::new());
    create_job(&server, 0, 0);
    let cluster = tokio::spawn(cluster::run(server.clone(), 150, 1));
    let controller = start(&server, 0, false);
    wait(&server, TOLD_WITHIN, |status| has_reason(status, "FunctionNotFound")).await;
    (server, [cluster, controller])
}

/// A server with a function and a job of it.
fn with_one_job() -> Server {
    let server = Server::new(BTreeMap::new());
    create_function(&server);
    create_job(&server, 0, 0);
    server
}

#[test]
fn a_job_waits_for_a_function_that_is_created_after_it() {
    block_on(async {
        let (server, tasks) = without_function().await;
        create_function(&server);
        wait(&server, Duration::from_secs(10), has_succeeded).await;
        tasks.iter().for_each(JoinHandle::abort);
    });
}

/// Nobody waits for it: the Job controller makes pods until it is told. It is asked again after 10 s.
#[test]
fn jobs_start_while_the_api_server_does_not_tell_its_version() {
    block_on(async {
        let server = with_one_job();
        let cluster = tokio::spawn(cluster::run(server.clone(), 150, 1));
        let settings = Settings { manage_jobs: ManageJobs::Auto, ..settings() };
        let controller = start_with(&server, settings, 0);
        wait(&server, TOLD_WITHIN, |status| status["phase"] == "Succeeded").await;
        server.lock().minor = Some(33);
        tokio::time::sleep(Duration::from_secs(10)).await;
        create_job(&server, 1, 0);
        let is_managed = timeout(TOLD_WITHIN, async {
            while !server.lock().writes.iter().any(|write| write.contains("POST pods/j1-")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(is_managed.await.is_ok(), "{:#?}", server.lock().writes);
        controller.abort();
        cluster.abort();
    });
}

/// The end of its first attempt cannot be told, and the pod of the second is not made at the first try.
#[test]
fn an_error_at_one_batch_job_of_a_job_holds_up_no_other() {
    block_on(async {
        let server = Server::new(BTreeMap::new());
        let refused = ["PATCH jobs/j0-00000000-1/status", "POST pods/j0-00000000-2-pod"];
        server.lock().refused = vec![(refused[0], usize::MAX), (refused[1], 1)];
        create_function(&server);
        create_job(&server, 0, 1);
        let cluster = tokio::spawn(cluster::run(server.clone(), 150, 1));
        let controller = start(&server, 0, true);
        wait(&server, Duration::from_secs(30), |status| status["phase"] == "Succeeded").await;
        controller.abort();
        cluster.abort();
    });
}

/// Each creation there takes longer than the reconciles would have room for.
#[test]
fn a_webhook_that_hangs_is_told_and_holds_up_no_other_namespace() {
    hangs_for("jobs", false);
}

/// A webhook hangs that is asked about these objects, which a controller makes that manages its batch Jobs, or not.
fn hangs_for(plural: &'static str, manages: bool) {
    block_on(async {
        let (server, cluster) = with_function(150);
        server.lock().hung = Some((plural, "hung", Duration::from_secs(5)));
        create_jobs_elsewhere(&server, "hung", 200);
        let controller = start(&server, 0, manages);
        for (index, after) in [1, 5, 7].into_iter().enumerate() {
            tokio::time::sleep(Duration::from_secs(after)).await;
            create_job(&server, index, 0);
            wait_for(&server, &format!("j{index}"), TOLD_WITHIN, has_succeeded).await;
        }
        assert_eq!(told_of_webhook(&server), 200, "each job says what it waits for");
        controller.abort();
        cluster.abort();
    });
}

/// How many jobs say that a webhook cannot be asked.
fn told_of_webhook(server: &Server) -> usize {
    let is_told = |job: &Value| job["status"].to_string().contains("failed calling webhook");
    server.lock().all("computejobs").filter(|(_, job)| is_told(job)).count()
}

/// One that is asked about pods, where this controller makes them.
#[test]
fn a_webhook_that_hangs_for_pods_is_told_and_holds_up_no_other_namespace() {
    hangs_for("pods", true);
}

/// More batch Jobs without a pod than may be tried at a time, of which a new controller remembers nothing.
#[test]
fn a_batch_job_that_is_held_up_for_its_pod_says_so_though_it_is_not_tried() {
    const JOBS: usize = 100;
    block_on(async {
        let (server, cluster) = with_function(150);
        server.lock().refused = vec![("POST pods/", usize::MAX)];
        create_jobs_elsewhere(&server, "hung", JOBS);
        let first = start(&server, 0, true);
        let made = timeout(Duration::from_secs(60), async {
            while server.lock().all("jobs").count() < JOBS {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(made.await.is_ok(), "{} batch Jobs", server.lock().all("jobs").count());
        first.abort();
        server.lock().refused = Vec::new();
        let after = Duration::from_secs(5);
        server.lock().hung = Some(("pods", "hung", after));
        let second = start(&server, 1, true);
        // Batch Jobs of another maker are left alone for as long again.
        tokio::time::sleep(2 * after + TOLD_WITHIN).await;
        assert_eq!(told_of_webhook(&server), JOBS, "each job says what it waits for");
        second.abort();
        cluster.abort();
    });
}

#[test]
fn why_there_is_no_pod_is_told_within_seconds() {
    block_on(async {
        let server = with_one_job();
        // Nobody makes a pod: an admission plugin refuses it.
        let controller = start(&server, 0, false);
        let made = timeout(TOLD_WITHIN, async {
            loop {
                let made = server.lock().all("jobs").next().map(|(_, job)| job.clone());
                if let Some(job) = made {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let batch_job = made.await.unwrap();
        let event = json!({ "apiVersion": "v1", "kind": "Event", "metadata": {},
            "firstTimestamp": now(), "reason": "FailedCreate",
            "involvedObject": { "kind": "Job", "uid": batch_job["metadata"]["uid"] },
            "message": "pods is forbidden: no PriorityClass with name high was found" });
        server.lock().create(key("events", "e"), event);
        let told = |status: &Value| {
            has_reason(status, "FailedCreate") && status.to_string().contains("PriorityClass")
        };
        wait(&server, TOLD_WITHIN, told).await;
        controller.abort();
    });
}
