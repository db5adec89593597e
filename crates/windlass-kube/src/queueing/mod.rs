//! Who may start, for jobs whose queue is a ComputeQueue. No file here asks the API server.
//!
//! [`admission`] answers jobs and takes in what the watches bring. [`state`] is what it knows, [`claim`] the next write
//! of a ComputeQueue.

pub(crate) mod admission;
pub(crate) mod claim;
mod pace;
pub(crate) mod state;
