//! `/v1/namespaces/{namespace}/queues`: who may use how many CPUs, and what of them is in use.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use windlass_core::{Error, JobKey, Queue};

use crate::middleware::guard::Namespace;
use crate::protocol::error::ApiError;
use crate::protocol::resource_list::ResourceList;
use crate::state::GatewayState;

/// All queues of a namespace.
pub(crate) async fn list_queues(
    State(state): State<Arc<GatewayState>>,
    Extension(Namespace(namespace)): Extension<Namespace>,
) -> Result<Json<ResourceList<Queue>>, ApiError> {
    let queues = state.gateway.jobs.queues(&namespace).await?;
    Ok(Json(ResourceList::complete("ComputeQueueList", queues)))
}

/// One queue. Jobs may name one that is not there: then there is no quota.
pub(crate) async fn get_queue(
    State(state): State<Arc<GatewayState>>,
    Extension(key): Extension<JobKey>,
) -> Result<Json<Queue>, ApiError> {
    // A back end may not know of a single queue what is in use; of the list it does.
    let queues = state.gateway.jobs.queues(&key.namespace).await?;
    let found = queues.into_iter().find(|queue| queue.metadata.name == key.name);
    Ok(Json(found.ok_or(Error::NotFound { kind: Queue::KIND, name: key.name })?))
}
