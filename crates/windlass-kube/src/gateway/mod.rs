//! The back end of the REST gateway and of the command line, on a cluster.
//!
//! [`jobs`] serves what the REST API asks, [`submit`] takes a new job in, [`history`] counts what happens to jobs,
//! [`estimates`] says when they end, from the [`open_jobs`]. [`watch`], [`changes`] and [`follow_logs`] are for what is
//! followed. [`logs`] reads the log of a pod, [`kept_logs`] what attempts have said whose pods are gone, [`kept_usage`]
//! what they have used, [`shared_cpus`] which CPUs a namespace shares with others. [`access`] asks the API server what a
//! caller may do. [`reports`] writes what workers report into the status, once [`worker_identity`] knows which pod
//! reports. [`store_gc`] deletes stored results whose job is gone, and blobs that no job names.

pub(crate) mod access;
mod assign;
mod changes;
mod estimates;
mod follow_logs;
pub(crate) mod history;
pub(crate) mod jobs;
mod kept_logs;
mod kept_usage;
mod logs;
mod open_jobs;
pub(crate) mod reports;
mod shared_cpus;
pub(crate) mod store_gc;
mod submit;
mod token;
mod watch;
mod worker_identity;
