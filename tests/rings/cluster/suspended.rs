//! Batch Jobs that somebody else suspends.

use std::time::{Duration, Instant};

use serde_json::json;

use super::managed::{batch_job, suspend};
use super::{MANY_SECONDS, pods, spinning};
use crate::support::cluster::{Namespace, get};
use crate::support::eventually;

/// Five seconds for who may have had it go on, the two ticks of a second that look after it, and the writes.
const CANCELLED: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_job_whose_batch_job_is_suspended_is_cancelled_and_starts_nothing_when_that_is_resumed() {
    let namespace = Namespace::new("suspended-cancelled");
    spinning(&namespace, "pauses", &[]);
    let name = batch_job(&namespace).unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
    suspend(&namespace, &name, true);
    eventually("its pod is gone", MANY_SECONDS, || {
        pods(&namespace, "pauses").is_empty().then_some(())
    });
    let cancelled = Instant::now();
    namespace.cancel("pauses");
    eventually("it is suspended for good", MANY_SECONDS, || {
        batch_job(&namespace).filter(|job| job["spec"]["parallelism"] == 0)
    });
    suspend(&namespace, &name, false);
    eventually("it is gone, and no pod came", MANY_SECONDS, || {
        assert!(pods(&namespace, "pauses").is_empty(), "it runs again");
        batch_job(&namespace).is_none().then_some(())
    });
    assert_eq!(namespace.wait("pauses")["status"]["phase"], "Cancelled");
    let taken = cancelled.elapsed();
    println!("cancelled after {taken:.1?}");
    assert!(taken <= CANCELLED, "cancelled after {taken:?}");
    assert_eq!(get(&["jobs,pods", "-n", &namespace.0])["items"], json!([]));
}
