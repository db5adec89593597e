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

pub mod access;
pub mod admission;
pub mod apply;
pub mod attempt;
pub mod changes;
pub mod claims;
mod clock;
pub mod context;
pub mod crd;
pub mod driver;
mod error;
mod follow;
mod hindrance;
pub mod jobs;
pub mod lease;
mod look;
mod malformed;
pub mod metrics;
pub mod notices;
pub mod observe;
mod orphans;
mod reconcile;
pub mod reports;
pub mod sweep;
pub mod traces;
mod unseen;
pub mod watched;
mod world;

pub use access::ClusterAccess;
pub use attempt::ReportPlace;
pub use driver::{LONGEST_SILENCE, Settings, run};
pub use jobs::Cluster;
pub use metrics::Metrics;
pub use reports::ClusterReports;
pub use sweep::sweep;

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
