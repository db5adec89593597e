//! Who may start, for jobs whose queue is a ComputeQueue. No file here asks the API server.
//!
//! [`admission`] answers jobs and takes in what the watches bring. [`state`] is what it knows, [`missing_queue`] what it
//! says to jobs without their queue, and [`claim`] is the next write of a ComputeQueue or a ClusterComputeQueue.
//! [`cluster_queues`] has the namespaces that share CPUs, [`schedulers`] core's decisions for each such pool, and
//! [`ledger`] what is claimed of one.

pub(crate) mod admission;
pub(crate) mod claim;
mod cluster_queues;
pub(crate) mod ledger;
mod missing_queue;
mod pace;
mod schedulers;
pub(crate) mod state;
