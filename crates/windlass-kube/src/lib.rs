//! Windlass on Kubernetes: the only crate that names it.
//!
//! In: ComputeJob, ComputeFunction and ComputeQueue objects, batch Jobs and pods, worker reports.
//! Out: one batch Job an attempt, and the status of ComputeJobs. Deciding is core's: the file names
//! follow a job, [`observe`] -> core `plan` -> [`apply`] -> status, told once and last.
//!
//! Deliberately absent: finalizers, admission webhooks, pod-shaped fields in a ComputeJob, and any
//! write of what has not been seen.

pub mod access;
pub mod admission;
pub mod apply;
pub mod attempt;
pub mod cache;
pub mod crd;
pub mod driver;
mod error;
pub mod jobs;
pub mod observe;
pub mod reports;

pub use access::ClusterAccess;
pub use driver::{Settings, run};
pub use jobs::Cluster;
pub use reports::ClusterReports;
