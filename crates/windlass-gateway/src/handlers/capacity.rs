//! `GET /v1/namespaces/{namespace}/capacity`: what there is for all queues together.

use axum::Json;
use windlass_core::jobs::MachineCapacity;

use crate::middleware::path_target::{Namespace, Target};
use crate::protocol::error::ApiError;

pub(crate) async fn read_capacity(
    Target { state, of: Namespace(namespace), .. }: Target<Namespace>,
) -> Result<Json<MachineCapacity>, ApiError> {
    let mut capacity = state.gateway.jobs.capacity(&namespace).await?;
    // A machine tells it itself.
    if capacity.used.is_none() {
        (capacity.used, capacity.used_by) = state.gateway.live.usage.in_use(&namespace);
    }
    Ok(Json(capacity))
}
