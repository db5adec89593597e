//! Who may start, for jobs whose queue is a ComputeQueue. No file here asks the API server.
//!
//! [`admission`] answers jobs and takes in what the watches bring. [`state`] is what it knows, [`missing_queue`] what it
//! says to jobs without their queue, and [`claim_write`] is the next write of a ComputeQueue or a ClusterComputeQueue.
//! [`cluster_queues`] and [`sharing`] say which namespaces share CPUs, [`schedulers`] has core's decisions for each such
//! pool, and [`ledger`] what is claimed of one. `admission/preemption.rs` ends attempts for jobs that fit no other way.

pub(crate) mod admission;
pub(crate) mod claim_write;
pub(crate) mod cluster_queues;
pub(crate) mod key;
pub(crate) mod ledger;
mod missing_queue;
mod pace;
mod schedulers;
mod sharing;
pub(crate) mod state;
