//! Controllers with a defect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::timeout;
use windlass_kube::{ReportEndpoint, Settings};

use crate::cluster;
use crate::controller::{settings, start_with};
use crate::objects::{create_function, create_job};
use crate::play::{END, SETTLE};
use crate::server::Server;
use crate::virtual_time::block_on;

/// One controller with a defect: it panics at the first start of one job, and when another has ended.
#[test]
fn a_panic_at_one_of_a_hundred_jobs_stops_no_other() {
    const JOBS: usize = 100;
    block_on(async {
        let server = Server::new(BTreeMap::new());
        create_function(&server);
        (0..JOBS).for_each(|index| drop(create_job(&server, index, 0)));
        let starts = AtomicUsize::new(0);
        let authorities = move || {
            assert!(starts.fetch_add(1, Ordering::Relaxed) != 50, "a defect");
            Arc::from("")
        };
        let url = "http://gateway/v1/reports".to_owned();
        let settings = Settings {
            report: ReportEndpoint {
                url,
                authorities: Some(Arc::new(authorities)),
                keep_log_bytes: None,
            },
            ended: Some(Arc::new(|job| assert!(job.metadata.name != "j7", "another defect"))),
            ..settings()
        };
        let cluster = tokio::spawn(cluster::run(server.clone(), 150, 1));
        let controller = start_with(&server, settings, 0);
        let succeeded = || {
            let state = server.lock();
            state
                .all("computejobs")
                .filter(|(_, job)| job["status"]["phase"] == "Succeeded")
                .count()
        };
        let others = timeout(END, async {
            while succeeded() < JOBS - 1 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        assert!(others.await.is_ok(), "{} of {JOBS} jobs succeeded", succeeded());
        tokio::time::sleep(SETTLE).await;
        assert_eq!(succeeded(), JOBS - 1, "the job is left alone for minutes");
        assert!(!controller.is_finished(), "the controller has ended");
        assert_eq!(server.lock().broken_promises, Vec::<String>::new());
        let left = server.lock().all("jobs").count();
        assert!(left <= 1, "{left} batch Jobs are left");
        controller.abort();
        cluster.abort();
    });
}
