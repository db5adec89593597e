//! Who may start, for jobs whose queue is a ComputeQueue. No file here asks the API server.
//!
//! [`admission`] answers jobs and takes in what the watches bring. [`state`] is what it knows, [`missing_queue`] what it
//! says to jobs without their queue, and [`claim`] is the next write of a ComputeQueue.

pub(crate) mod admission;
pub(crate) mod claim;
mod missing_queue;
mod pace;
pub(crate) mod state;
