//! Handles that the whole engine shares.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::config::Config;
use crate::data_dir::DataDir;
use crate::event::EventSender;
use crate::queueing::backlog::Backlog;
use crate::store::Store;
use tokio::sync::Notify;
use windlass_backend::Clock;
use windlass_core::Error;
use windlass_metrics::JobMetrics;

/// What the controller and those who serve callers work with.
pub(crate) struct Context {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<Store>,
    pub(crate) files: Arc<DataDir>,
    pub(crate) clock: Clock,
    /// This machine's name.
    pub(crate) host: String,
    /// How many jobs wait, and how many may.
    pub(crate) backlog: Arc<Backlog>,
    /// A shutdown has begun: no job is accepted any more.
    pub(crate) is_stopping: AtomicBool,
    /// A drain has begun: no job is accepted any more, and none starts. What runs goes on.
    pub(crate) is_draining: AtomicBool,
    pub(crate) events: EventSender,
    /// Told when nothing runs any more of a server that is drained.
    pub(crate) drained: Notify,
    /// What is measured of jobs.
    pub(crate) metrics: JobMetrics,
}

impl Context {
    /// Bytes that jobs, results, logs and blobs take.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.store.bytes() + self.files.bytes()
    }

    /// Whether what is kept may become more.
    pub(crate) fn check_room(&self) -> Result<(), Error> {
        let (stored, max) = (self.stored_bytes(), self.config.bounds.max_stored_bytes);
        if stored < max {
            return Ok(());
        }
        Err(Error::unavailable(format!(
            "jobs, results, logs and blobs take {stored} bytes, of {max} that they may; delete finished \
             jobs or wait until they expire"
        )))
    }
}
