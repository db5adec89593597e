//! `/v1/namespaces/{namespace}/functions`: what may run.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use windlass_core::{Function, JobKey};

use crate::middleware::guard::Namespace;
use crate::protocol::error::ApiError;
use crate::protocol::resource_list::ResourceList;
use crate::state::GatewayState;

/// All functions of a namespace.
pub(crate) async fn list_functions(
    State(state): State<Arc<GatewayState>>,
    Extension(Namespace(namespace)): Extension<Namespace>,
) -> Result<Json<ResourceList<Function>>, ApiError> {
    let functions = state.gateway.jobs.functions(&namespace).await?;
    Ok(Json(ResourceList::complete("ComputeFunctionList", functions)))
}

/// One function.
pub(crate) async fn get_function(
    State(state): State<Arc<GatewayState>>,
    Extension(key): Extension<JobKey>,
) -> Result<Json<Function>, ApiError> {
    Ok(Json(state.gateway.jobs.function(&key.namespace, &key.name).await?))
}
