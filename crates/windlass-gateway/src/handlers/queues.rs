//! `/v1/namespaces/{namespace}/queues`: who may use how many CPUs, and what of them is in use.

use axum::Json;
use windlass_core::{Error, JobKey, Queue};

use crate::middleware::path_target::{Namespace, Target};
use crate::protocol::error::ApiError;
use crate::protocol::resource_list::ResourceList;

/// All queues of a namespace.
pub(crate) async fn list_queues(
    Target { state, of: Namespace(namespace), .. }: Target<Namespace>,
) -> Result<Json<ResourceList<Queue>>, ApiError> {
    let queues = state.gateway.jobs.queues(&namespace).await?;
    Ok(Json(ResourceList::complete("ComputeQueueList", queues)))
}

/// One queue. Jobs may name one that is not there: then there is no quota.
pub(crate) async fn get_queue(
    Target { state, of: key, .. }: Target<JobKey>,
) -> Result<Json<Queue>, ApiError> {
    // A back end may not know of a single queue what is in use; of the list it does.
    let queues = state.gateway.jobs.queues(&key.namespace).await?;
    let mut found = queues.into_iter().find(|queue| queue.metadata.name == key.name);
    // A list may be a second old.
    if found.is_none() {
        found = state.gateway.jobs.queue(&key.namespace, &key.name).await?;
    }
    Ok(Json(found.ok_or(Error::NotFound { kind: Queue::KIND, name: key.name })?))
}

/// Nothing new starts in this queue from now on.
pub(crate) async fn hold_queue(target: Target<JobKey>) -> Result<Json<Queue>, ApiError> {
    set_hold(target, true).await
}

/// Its jobs start again.
pub(crate) async fn resume_queue(target: Target<JobKey>) -> Result<Json<Queue>, ApiError> {
    set_hold(target, false).await
}

async fn set_hold(
    Target { state, of: key, .. }: Target<JobKey>,
    hold: bool,
) -> Result<Json<Queue>, ApiError> {
    Ok(Json(state.gateway.jobs.hold_queue(&key, hold).await?))
}
