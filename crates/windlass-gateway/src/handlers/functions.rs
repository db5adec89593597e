//! `/v1/namespaces/{namespace}/functions`: what may run.

use axum::Json;
use windlass_core::{Function, JobKey};

use crate::middleware::target::{Namespace, Target};
use crate::protocol::error::ApiError;
use crate::protocol::resource_list::ResourceList;

/// All functions of a namespace.
pub(crate) async fn list_functions(
    Target { state, of: Namespace(namespace), .. }: Target<Namespace>,
) -> Result<Json<ResourceList<Function>>, ApiError> {
    let functions = state.gateway.jobs.functions(&namespace).await?;
    Ok(Json(ResourceList::complete("ComputeFunctionList", functions)))
}

/// One function.
pub(crate) async fn get_function(
    Target { state, of: key, .. }: Target<JobKey>,
) -> Result<Json<Function>, ApiError> {
    Ok(Json(state.gateway.jobs.function(&key.namespace, &key.name).await?))
}
