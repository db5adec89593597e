//! The step `fetch`: an active job, from memory or else from the store.

use std::sync::Arc;
use std::time::Duration;

use tracing::error;
use uuid::Uuid;
use windlass_core::Job;

use super::state::State;

/// When the store is asked again that could not be read.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// A job to reconcile. `None` when there is nothing to do now: it was deleted and is forgotten, or it
/// cannot be read and its turn comes later.
pub(super) fn fetch(state: &mut State, uid: Uuid) -> Option<Arc<Job>> {
    match state.jobs.load(uid, &state.ctx.store) {
        Ok(Some(job)) => return Some(job),
        Ok(None) => state.forget(uid),
        Err(error) => {
            error!(%uid, %error, "a job cannot be read");
            state.requeued.set(uid, Some(STORE_RETRY));
        }
    }
    None
}

/// A job that an event is about. One that cannot be read is as good as none.
pub(super) fn fetch_if_readable(state: &mut State, uid: Uuid) -> Option<Arc<Job>> {
    state.jobs.load(uid, &state.ctx.store).unwrap_or_else(|error| {
        error!(%uid, %error, "a job cannot be read");
        None
    })
}
