//! Where jobs are: the one seam between the commands and what runs jobs.
//!
//! [`resolve`] turns what the command line and the environment name into a `dyn Jobs`, so that every command is
//! written once: [`rest_jobs`] and [`rest_blobs`] for a server, `windlass-kube` for a cluster.

pub(crate) mod advice;
mod events;
pub(crate) mod follow;
mod http_client;
pub(crate) mod local_file;
pub(crate) mod named_functions;
pub(crate) mod resolve;
mod rest_blobs;
mod rest_changes;
mod rest_jobs;
mod rest_path;
mod rest_result;
mod rest_watch;
mod server_token;
pub(crate) mod submission;
