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
//! One job by file names: `gateway/submit` creates the ComputeJob. `cache/watch` brings it, `controller/on_watch` has it
//! reconciled, and `controller/reconcile` calls `fetch`, `validate`, `admit`, which asks `queueing/admission`, `plan`, `apply`
//! and `update_status`. `controller/claims` writes a grant; for whom others end, `queueing/admission/preemption` says.
//! `attempt/build_batch_job` makes the batch Job, whose pod the cluster's own Job controller makes, or
//! `controller/managed`. The worker in the pod reports: `gateway/reports` writes its result to the status, and
//! `gateway/kept_logs` keeps what it said. `controller/remove_attempt` deletes pod and batch Job.
//!
//! The files beside the folders are their shared ground: each folder may use them, and the folders above it in the table.
//!
//! Deliberately absent: finalizers, admission webhooks, pod-shaped fields in a ComputeJob, and any
//! write of what was not observed.

mod access_review;
mod attempt;
mod cache;
mod client;
pub mod condition;
mod controller;
pub mod crd;
mod error;
pub mod function_status;
mod gateway;
pub mod kubeconfig;
mod labels;
pub mod metrics;
mod pages;
mod queueing;
mod served;
mod status;
#[cfg(test)]
mod test_times;
mod version;
mod watch_backoff;

pub use attempt::build_standby::check_function;
pub use attempt::report_endpoint::{Authorities, ReportEndpoint};
pub use attempt::worker_source::WorkerImage;
pub use client::client;
pub use controller::manage_jobs::ManageJobs;
pub use controller::run::{LONGEST_SILENCE, run};
pub use controller::settings::{Ended, Settings};
pub use controller::worker_injection::{Injection, WorkerSettings};
pub use gateway::access::ClusterAccess;
pub use gateway::history::ClusterHistory;
pub use gateway::jobs::Cluster;
pub use gateway::reports::ClusterReports;
pub use gateway::store_gc::run_store_gc;
pub use metrics::Metrics;
