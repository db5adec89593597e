//! What an engine is configured with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use windlass_core::Cpus;
use windlass_core::assignment::RunAs;
use windlass_metrics::JobMetrics;
use windlass_worker::stop_signals::StopSignals;

use crate::functions::Library;
use crate::process::Logs;

/// The one namespace of a machine.
pub const NAMESPACE: &str = "default";

/// Configuration of an engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// CPUs to grant.
    pub cpus: Cpus,
    /// Functions and queues.
    pub functions: Arc<Library>,
    /// Directory of everything that is kept. It is made when it is not there; one engine at a time
    /// uses it.
    pub data: PathBuf,
    /// Whether what is accepted must survive a loss of power. A job that lives no longer than its
    /// caller needs no waits for the disk.
    pub durable: bool,
    /// Most jobs that wait for CPUs, all queues together.
    pub max_queued: u32,
    /// Most bytes of jobs, results, logs and blobs that are kept. Beyond it submissions are refused.
    pub max_stored_bytes: u64,
    /// Most that the directory of one attempt may take of the disk, in bytes; `None` for no bound.
    pub attempt_disk_bytes: Option<u64>,
    /// The windlass program, which is started as `PROGRAM worker`.
    pub program: PathBuf,
    /// Where functions write what is neither result nor progress.
    pub logs: Logs,
    /// The signals by which the engine stops at once, if it does by any.
    pub stop: Option<StopSignals>,
    /// How many files a function may have open, unless it raises that itself; `None` for as many as this process.
    pub descriptors: Option<u64>,
    /// How long a function may take to stop, before it is killed.
    pub grace: Duration,
    /// Whether functions are kept out of the data directory, but for their own attempt's files. It must
    /// be possible: `windlass_worker::can_hide`.
    pub hides_data: bool,
    /// The user that functions run as, if that is another than this process's. Only root can do that.
    pub run_as: Option<RunAs>,
    /// Most resident memory of all functions together that wait for a job, in bytes; 0 to keep none.
    pub warm_memory_bytes: u64,
    /// Where what is measured of jobs goes.
    pub metrics: JobMetrics,
    /// Told after each turn in which something has happened to jobs.
    pub activity: Arc<Notify>,
}

impl Config {
    /// The directory that functions are kept out of, if they are out of one.
    pub(crate) fn hidden(&self) -> Option<PathBuf> {
        self.hides_data.then(|| self.data.clone())
    }
}
