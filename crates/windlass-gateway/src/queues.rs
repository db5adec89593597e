//! `/v1/namespaces/{namespace}/queues`: who may use how many CPUs, and what of them is in use.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use windlass_core::{Error, JobKey, Queue};

use crate::Shared;
use crate::guard::Namespace;
use crate::jobs::list::Listing;
use crate::refusal::Refusal;

/// All queues of a namespace.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(Namespace(namespace)): Extension<Namespace>,
) -> Result<Json<Listing<Queue>>, Refusal> {
    let queues = shared.gateway.jobs.queues(&namespace).await?;
    Ok(Json(Listing::new("ComputeQueueList", queues, None)))
}

/// One queue. Jobs may name one that is not there: then there is no quota.
pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
) -> Result<Json<Queue>, Refusal> {
    // Of one alone a world need not know what is in use.
    let queues = shared.gateway.jobs.queues(&key.namespace).await?;
    let found = queues.into_iter().find(|queue| queue.metadata.name == key.name);
    Ok(Json(found.ok_or(Error::NotFound { kind: Queue::KIND, name: key.name })?))
}
