//! `/v1/namespaces/{namespace}/functions`: what may run.
//!
//! People put secrets into the variables of a function. Their values are shown to whoever may write functions,
//! who knows them anyway, and to nobody else.

use axum::Json;
use windlass_core::{Function, JobKey};

use crate::middleware::target::{Namespace, Target};
use crate::protocol::bearer::BearerToken;
use crate::protocol::error::ApiError;
use crate::protocol::resource_list::ResourceList;
use crate::state::GatewayState;

/// All functions of a namespace.
pub(crate) async fn list_functions(
    Target { state, of: Namespace(namespace), token, .. }: Target<Namespace>,
) -> Result<Json<ResourceList<Function>>, ApiError> {
    let functions = state.gateway.jobs.functions(&namespace).await?;
    let shown = as_shown_to(&state, &token, &namespace, functions).await?;
    Ok(Json(ResourceList::complete("ComputeFunctionList", shown)))
}

/// One function.
pub(crate) async fn get_function(
    Target { state, of: key, token, .. }: Target<JobKey>,
) -> Result<Json<Function>, ApiError> {
    let function = state.gateway.jobs.function(&key.namespace, &key.name).await?;
    let mut shown = as_shown_to(&state, &token, &key.namespace, vec![function]).await?;
    shown.pop().map(Json).ok_or_else(ApiError::internal)
}

/// The functions as this caller may see them.
async fn as_shown_to(
    state: &GatewayState,
    token: &BearerToken,
    namespace: &str,
    functions: Vec<Function>,
) -> Result<Vec<Function>, ApiError> {
    let have_values = functions.iter().any(|function| !function.spec.env.is_empty());
    let access = &state.gateway.access;
    if !have_values || access.may_write_functions(Some(token.as_str()), namespace).await? {
        return Ok(functions);
    }
    Ok(functions.into_iter().map(Function::with_hidden_values).collect())
}
