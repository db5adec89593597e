//! Windlass on one machine: the same jobs, in processes of this machine.
//!
//! In: jobs through [`Jobs`](windlass_core::Jobs), manifests of functions and queues, and the
//! reports of workers. Out: one worker process an attempt, and the status of jobs.
//!
//! Deciding is core's. A job is reconciled in the steps fetch -> observe -> validate -> admit -> plan ->
//! apply -> update_status. The folders follow a job on its way:
//!
//! | folder | what it does |
//! | --- | --- |
//! | [`gateway`] | serves the REST server and the command line: submits, reads, cancels, logs |
//! | [`store`] | keeps what was accepted, in SQLite; it survives the process |
//! | [`queueing`] | who may wait, and who may start |
//! | [`controller`] | the one task that owns the jobs, and reconciles them one at a time |
//! | [`attempt`] | one try: the order for its worker, its supervision, what is observed of it |
//! | [`confine`] | which CPUs and how much memory an attempt has |
//! | [`process`] | starts workers, and ends what an earlier server left |
//! | [`functions`] | functions and queues from manifests |
//!
//! Deliberately absent: HTTP (the gateway's), and any second process that must be there.

mod attempt;
mod blobs;
pub mod bounded_file;
mod config;
mod confine;
mod controller;
mod data_dir;
mod engine;
mod event;
mod file_watch;
pub mod functions;
mod gateway;
mod inode;
mod ownership;
mod process;
mod queueing;
mod store;

pub use config::{Bounds, Config, NAMESPACE};
pub use controller::{is_python_worker, wrong_function};
pub use engine::Engine;
pub use functions::{Functions, Library};
pub use ownership::claim_directory_of_server;
pub use process::{Logs, WorkerOptions};
pub use store::StoreError;
