//! Who may start: jobs whose queue is a ComputeQueue.

pub(crate) mod admission;
