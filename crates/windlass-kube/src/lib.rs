//! Windlass on Kubernetes: the only crate that names it.
//!
//! In: ComputeJob, ComputeFunction and ComputeQueue objects, batch Jobs and pods, worker reports.
//! Out: one batch Job an attempt, and the status of ComputeJobs. Deciding is core's: the file names
//! follow a job: [`changes`] -> `world`, where [`observe`] makes [`traces`] of them -> [`driver`] ->
//! `reconcile`, with `look` and `hindrance` -> [`admission`] and [`claims`] -> core `plan` -> [`apply`] -> status,
//! told once and last.
//!
//! Deliberately absent: finalizers, admission webhooks, pod-shaped fields in a ComputeJob, and any
//! write of what has not been seen.

use std::time::Duration;

mod attempt;
mod cache;
mod clock;
mod controller;
pub mod crd;
mod error;
mod gateway;
pub mod kubeconfig;
mod labels;
pub mod metrics;
mod queueing;

pub use attempt::build::ReportPlace;
pub use controller::run::{Ended, LONGEST_SILENCE, Settings, run};
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
