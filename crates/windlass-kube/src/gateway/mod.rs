//! The back end of the REST gateway and of the command line, on a cluster.

pub(crate) mod access;
pub(crate) mod jobs;
pub(crate) mod logs;
pub(crate) mod reports;
pub(crate) mod result_gc;
