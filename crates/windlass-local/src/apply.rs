//! Effects, no decisions: one function an action.

use std::io;

use tokio::sync::mpsc;
use windlass_core::{AttemptNumber, Cpus, FunctionSpec, Job, Limits};

use crate::attempt::{self, Handle};
use crate::driver::Event;
use crate::store::Store;
use crate::{Config, observe::Trace};

/// Starts an attempt.
pub(crate) fn start(
    config: &Config,
    job: &Job,
    limits: &Limits,
    function: &FunctionSpec,
    attempt: AttemptNumber,
    cpus: Cpus,
    events: &mpsc::UnboundedSender<Event>,
) -> io::Result<Handle> {
    tracing::info!(job = %job.key(), attempt, cpus, "attempt started");
    attempt::start(config, job, limits, function, attempt, cpus, events.clone())
}

/// Ends what runs of an attempt. When it is gone, nothing happens.
pub(crate) fn remove(trace: &mut Trace, handle: Option<&mut Handle>) {
    trace.stopping = true;
    if let Some(handle) = handle {
        handle.stop();
    }
}

/// Deletes a job whose time to live is over, and its stored result.
pub(crate) fn expire(config: &Config, store: &Store, job: &Job) {
    store.remove(&job.metadata.name);
    forget_result(config, job);
}

/// Deletes what an attempt may have stored as a result, when it does not count.
pub(crate) fn forget_attempt(config: &Config, uid: &str, attempt: AttemptNumber) {
    remove_result(config, &windlass_worker::stored_name(uid, attempt));
}

/// Deletes the stored result of a job that is forgotten.
pub(crate) fn forget_result(config: &Config, job: &Job) {
    if let Some(location) = job.status.result.as_ref().and_then(|r| r.location.as_ref()) {
        remove_result(config, location);
    }
}

fn remove_result(config: &Config, location: &str) {
    let path = attempt::results(&config.data).join(location);
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a result cannot be removed");
    }
}
