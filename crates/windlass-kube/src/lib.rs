//! Windlass on Kubernetes: the only crate that names it.
//!
//! In: ComputeJob, ComputeFunction and ComputeQueue objects, batch Jobs and pods, worker reports.
//! Out: one batch Job an attempt, and the status of ComputeJobs. Deciding is core's. The folders are the way of the data:
//!
//! | folder | what it does | asks the API server |
//! | --- | --- | --- |
//! | `attempt` | builds the batch Job of an attempt; observes an attempt from its batch Job and pods | no |
//! | `cache` | what the watches have brought | watches |
//! | `queueing` | who may start | no |
//! | `controller` | reconciles each ComputeJob that has changed | yes |
//! | `gateway` | serves the REST gateway and the command line | yes |
//!
//! The files beside the folders are their shared ground: each folder may use them, and the folders above it in the table.
//!
//! Deliberately absent: finalizers, admission webhooks, pod-shaped fields in a ComputeJob, and any
//! write of what was not observed.

use std::time::Duration;

mod attempt;
mod cache;
mod controller;
pub mod crd;
mod error;
mod gateway;
pub mod kubeconfig;
mod labels;
pub mod metrics;
mod queueing;
mod status;

pub use attempt::report_endpoint::{Authorities, ReportEndpoint};
pub use controller::run::{LONGEST_SILENCE, run};
pub use controller::settings::{Ended, Settings};
pub use gateway::access::ClusterAccess;
pub use gateway::jobs::Cluster;
pub use gateway::reports::ClusterReports;
pub use gateway::result_gc::sweep;
pub use metrics::Metrics;

/// A client for the cluster that the environment names: `KUBECONFIG`, or the pod's own.
///
/// The client repeats nothing by itself: a repeated POST is a second effect, and a caller who waits
/// decides when to give up. Its calls are counted in `metrics`. An answer that says nothing for as long as
/// `longest_silence` has failed; without one, a stream may be silent for ever, as that of a log is.
pub async fn client(
    metrics: &Metrics,
    longest_silence: Option<Duration>,
) -> Result<kube::Client, windlass_core::Error> {
    let config = kube::Config::infer().await;
    let mut config = config.map_err(|error| unreachable(&error))?;
    config.read_timeout = longest_silence;
    // Not from when the connection was last used.
    config.reset_reader_on_write = true;
    build(config, Some(metrics))
}

fn build(
    mut config: kube::Config,
    metrics: Option<&Metrics>,
) -> Result<kube::Client, windlass_core::Error> {
    config.default_retry = false;
    let builder =
        kube::client::ClientBuilder::try_from(config).map_err(|error| unreachable(&error))?;
    Ok(match metrics {
        Some(metrics) => builder.with_layer(&metrics::Calls(metrics.clone())).build(),
        None => builder.build(),
    })
}

fn unreachable(error: &dyn std::error::Error) -> windlass_core::Error {
    windlass_core::Error::unavailable(error.to_string())
}
