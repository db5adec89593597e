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

mod attempt;
mod cache;
mod client;
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
pub use client::client;
pub use controller::run::{Ended, LONGEST_SILENCE, Settings, run};
pub use gateway::access::ClusterAccess;
pub use gateway::jobs::Cluster;
pub use gateway::reports::ClusterReports;
pub use gateway::result_gc::run_result_gc;
pub use metrics::Metrics;
