//! `/v1/namespaces/{namespace}/functions`: what may run.

use axum::Json;
use windlass_core::Function;

use crate::middleware::target::{Target, TargetNamespace};
use crate::protocol::error::ApiError;
use crate::protocol::resource_list::ResourceList;

/// All functions of a namespace.
pub(crate) async fn list_functions(
    TargetNamespace { state, namespace, .. }: TargetNamespace,
) -> Result<Json<ResourceList<Function>>, ApiError> {
    let functions = state.gateway.jobs.functions(&namespace).await?;
    Ok(Json(ResourceList::complete("ComputeFunctionList", functions)))
}

/// One function.
pub(crate) async fn get_function(
    Target { state, key, .. }: Target,
) -> Result<Json<Function>, ApiError> {
    Ok(Json(state.gateway.jobs.function(&key.namespace, &key.name).await?))
}
