//! What an engine is configured with.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Notify;
use windlass_core::Cpus;
use windlass_core::blobs::Quota;
use windlass_metrics::JobMetrics;
use windlass_worker::stop_signals::StopSignals;

use crate::functions::Library;
use crate::process::WorkerOptions;

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
    /// How much may be kept, and how much may wait.
    pub bounds: Bounds,
    /// How workers are started.
    pub worker: WorkerOptions,
    /// Whether functions are kept out of the data directory, but for their own attempt's files. It must
    /// be possible: `windlass_worker::can_hide`.
    pub hides_data: bool,
    /// The signals by which the engine stops at once, if it does by any.
    pub stop: Option<StopSignals>,
    /// Where what is measured of jobs goes.
    pub metrics: JobMetrics,
    /// Told after each turn in which something has happened to jobs.
    pub activity: Arc<Notify>,
}

/// How much may be kept, and how much may wait.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Most jobs that wait for CPUs, all queues together.
    pub max_queued: u32,
    /// Most bytes of jobs, results, logs and blobs that are kept. Beyond it submissions are refused.
    pub max_stored_bytes: u64,
    /// Most bytes of blobs; beyond it uploads are refused.
    pub blob_quota: Option<Quota>,
    /// Most that the directory of one attempt may take of the disk, in bytes; `None` for no bound.
    pub attempt_disk_bytes: Option<u64>,
    /// Most resident memory of all functions together that wait for a job, in bytes; 0 to keep none.
    pub warm_memory_bytes: u64,
}

impl Config {
    /// The directory that functions are kept out of, if they are out of one.
    pub(crate) fn hidden(&self) -> Option<PathBuf> {
        self.hides_data.then(|| self.data.clone())
    }
}
