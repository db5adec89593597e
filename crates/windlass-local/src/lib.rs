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
//! | [`backup`] | copies a data directory into an archive, and makes one of it |
//! | [`process`] | starts workers, and ends what an earlier server left |
//! | [`functions`] | functions and queues from manifests |
//!
//! One job by file names: `gateway/submit` takes it from the HTTP server, `store/writer` commits it, and `store/transaction`
//! lets it begin meanwhile where its caller waits. `controller/run` hears of it, `controller/on_event` has it reconciled,
//! and `controller/admit` puts it in the line of `queueing/admission`. At the end of the turn `controller/grants` starts
//! whoever comes first: `controller/reconcile` asks core's `plan`, `controller/apply` does what it says,
//! `attempt/build_order` makes the order and `attempt/start` takes a worker that `attempt/worker_pool` has started ahead.
//! `attempt/give_order` gives the order to it. Then windlass-worker runs the function, and moves a large result into the
//! data directory. `attempt/watch_worker` hears its reports, `controller/on_event` and core's `transition` make a status of
//! them, `controller/update_status` and `store/writer` keep that. A small result is in the row of its job.
//!
//! Files of windlass-kube with another name, or another role:
//!
//! | step | on a cluster | here |
//! | --- | --- | --- |
//! | hears of a change | `controller/on_watch` | `controller/on_event` |
//! | grants | `controller/admit`, at once; `controller/claims` writes it | `controller/grants`, at the end of a turn |
//! | decides for a job | `controller/plan`, around core's | core's alone, from `controller/reconcile` |
//! | forms an attempt | `attempt/build_batch_job` | `attempt/build_order` |
//! | ends an attempt | `controller/remove_attempt` | `controller/apply` |
//! | takes a report | `gateway/reports` | `attempt/watch_worker`, `controller/on_event` |
//! | after a restart | caches that the watches fill | `controller/recover` |
//!
//! Deliberately absent: HTTP (the gateway's), and any second process that must be there.

mod attempt;
pub mod backup;
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
