//! Functions for all namespaces: which one a job means, and whether its namespace may use it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::late_needs::{has_reason, has_succeeded, wait_for, without_function};
use crate::cluster;
use crate::controller::start;
use crate::objects::{create_cluster_function, create_function, create_job};
use crate::server::{Server, key};
use crate::virtual_time::block_on;

/// Longest time until a job has ended that can run: a right is asked for again every few seconds.
const SOON: Duration = Duration::from_secs(20);

/// Longer than any event is on its way.
const WATCHES_TELL: Duration = Duration::from_millis(100);

fn is_refused(status: &Value) -> bool {
    has_reason(status, "FunctionNotFound") && status.to_string().contains("may not use")
}

#[test]
fn a_job_waits_until_its_namespace_may_use_the_function_for_all() {
    block_on(async {
        let (server, tasks) = without_function().await;
        create_cluster_function(&server);
        wait_for(&server, "j0", SOON, is_refused).await;
        assert!(server.lock().all("jobs").next().is_none(), "nothing was started");
        server.lock().usable.insert("f".into());
        wait_for(&server, "j0", SOON, has_succeeded).await;
        tasks.iter().for_each(JoinHandle::abort);
    });
}

#[test]
fn a_function_of_the_namespace_comes_before_one_for_all() {
    block_on(async {
        let server = Server::new(BTreeMap::new());
        create_cluster_function(&server);
        create_function(&server);
        let cluster = tokio::spawn(cluster::run(server.clone(), 150, 1));
        let controller = start(&server, 0, false);
        create_job(&server, 0, 0);
        // The one for all would be refused.
        wait_for(&server, "j0", SOON, has_succeeded).await;
        server.lock().delete(&key("computefunctions", "f"));
        // Another watch tells of that than of jobs: it has by then.
        tokio::time::sleep(WATCHES_TELL).await;
        create_job(&server, 1, 0);
        wait_for(&server, "j1", SOON, is_refused).await;
        controller.abort();
        cluster.abort();
    });
}
