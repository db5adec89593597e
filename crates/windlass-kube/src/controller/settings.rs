//! The settings of the controller.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use windlass_core::Job;

use super::manage_jobs::ManageJobs;
use super::worker_injection::WorkerSettings;
use crate::attempt::report_endpoint::ReportEndpoint;

/// What the command line sets.
#[derive(Clone)]
pub struct Settings {
    /// Only these namespaces; all when there are none.
    pub namespaces: Vec<String>,
    /// Where workers report to.
    pub report: ReportEndpoint,
    /// Namespace of the Lease by which one of several controllers leads; without one this one acts at
    /// once.
    pub lease_namespace: Option<String>,
    /// Who this is among them: the pod's name, for example. Made unique here.
    pub name: String,
    /// Whether a node whose object was deleted is known to run nothing any more. Without this an
    /// attempt that was there when its node was deleted is never taken for dead.
    pub deleted_nodes_are_fenced: bool,
    /// Whether a job that names no queue waits for one also where its namespace has none.
    pub require_queue: bool,
    /// How long a pod may wait for a node that has room before its CPUs are given back to its ComputeQueue; None for
    /// as long as it may take to start.
    pub unschedulable_timeout: Option<Duration>,
    /// Whether functions that say so have standbys.
    pub standbys: bool,
    /// Whether this controller manages the batch Jobs that it creates.
    pub manage_jobs: ManageJobs,
    /// How the worker comes into the pods of functions.
    pub worker: WorkerSettings,
    /// Called with each job that this process has seen to end, while it leads. Must return at once.
    pub ended: Option<Ended>,
    /// Reads the system's clock. A test in which time is virtual has its own.
    pub system_time: fn() -> Timestamp,
}

/// A function that is given a job.
pub type Ended = Arc<dyn Fn(&Job) + Send + Sync>;
