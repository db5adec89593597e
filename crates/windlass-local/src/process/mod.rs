//! Processes of this machine: workers are started here, and what an earlier server has left running
//! is found and killed here. Nothing here knows of jobs.

pub(crate) mod leftovers;
mod spawn;

pub(crate) use spawn::{
    IdleWorker, PASSED_VARIABLES, WorkerCommand, image_of, search_path, signal,
};
pub use spawn::{Logs, WorkerOptions};
