//! `/v1/namespaces/{namespace}/queues`: who may use how many CPUs, and what of them is in use.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
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
) -> Result<Response, Refusal> {
    let queues = shared.gateway.jobs.queues(&namespace).await?;
    Ok(Json(Listing::new("ComputeQueueList", queues, None)).into_response())
}

/// One queue. A job may name one that has no such object: then there is no quota, and nothing to show.
pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
) -> Result<Response, Refusal> {
    let queues = shared.gateway.jobs.queues(&key.namespace).await?;
    let found = queues.into_iter().find(|queue| queue.metadata.name == key.name);
    let queue = found.ok_or(Error::NotFound { kind: Queue::KIND, name: key.name })?;
    Ok(Json(queue).into_response())
}
