//! The real controller, as a task of the test.

use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use windlass_kube::{ManageJobs, Metrics, ReportEndpoint, Settings, WorkerSettings};

use crate::server::Server;
use crate::virtual_time::now;

/// `manages` says whether it makes the pods of its batch Jobs itself.
pub(crate) fn start(server: &Server, controller: usize, manages: bool) -> JoinHandle<()> {
    let manage_jobs = if manages { ManageJobs::Always } else { ManageJobs::Never };
    let name = format!("c{controller}");
    start_with(server, Settings { name, manage_jobs, ..settings() }, controller)
}

pub(crate) fn settings() -> Settings {
    Settings {
        namespaces: Vec::new(),
        report: ReportEndpoint {
            url: "http://gateway/v1/reports".into(),
            authorities: None,
            keep_log_bytes: None,
        },
        lease_namespace: None,
        name: String::new(),
        deleted_nodes_are_fenced: false,
        require_queue: false,
        unschedulable_timeout: Some(Duration::from_millis(300)),
        standbys: true,
        manage_jobs: ManageJobs::Never,
        worker: WorkerSettings::default(),
        ended: None,
        system_time: now,
    }
}

pub(crate) fn start_with(server: &Server, settings: Settings, controller: usize) -> JoinHandle<()> {
    let client = server.client(controller);
    tokio::spawn(async move {
        let ready = watch::Sender::new(false);
        let metrics = Metrics::register(&mut Registry::default());
        windlass_kube::run(client, settings, metrics, ready, std::future::pending()).await.unwrap();
    })
}
