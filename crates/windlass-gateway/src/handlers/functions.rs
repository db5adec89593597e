//! `/v1/namespaces/{namespace}/functions`: what may run.
//!
//! People put secrets into the variables of a function. Their values are shown to whoever may write functions,
//! who knows them anyway, and to nobody else.

use axum::Json;
use windlass_core::jobs::Denied;
use windlass_core::{Error, Function, JobKey};

use crate::middleware::path_target::{Namespace, Target};
use crate::protocol::bearer::BearerToken;
use crate::protocol::error::ApiError;
use crate::protocol::resource_list::ResourceList;
use crate::state::GatewayState;

/// All functions that the caller may have run in a namespace.
pub(crate) async fn list_functions(
    Target { state, of: Namespace(namespace), token, .. }: Target<Namespace>,
) -> Result<Json<ResourceList<Function>>, ApiError> {
    let functions = usable_functions(&state, &token, &namespace).await?;
    let shown = as_shown_to(&state, &token, &namespace, functions).await?;
    Ok(Json(ResourceList::complete("ComputeFunctionList", shown)))
}

/// One function.
pub(crate) async fn get_function(
    Target { state, of: key, token, .. }: Target<JobKey>,
) -> Result<Json<Function>, ApiError> {
    let function = usable_function(&state, &token, &key.namespace, &key.name).await?;
    let mut shown = as_shown_to(&state, &token, &key.namespace, vec![function]).await?;
    shown.pop().map(Json).ok_or_else(ApiError::internal)
}

/// The functions as this caller may see them. Who may write those of the namespace need not know what is in the ones
/// for all.
async fn as_shown_to(
    state: &GatewayState,
    token: &BearerToken,
    namespace: &str,
    functions: Vec<Function>,
) -> Result<Vec<Function>, ApiError> {
    let hidden: Vec<_> = functions.iter().cloned().map(Function::with_hidden_values).collect();
    let access = &state.gateway.access;
    if hidden == functions || !access.may_write_functions(Some(token.as_str()), namespace).await? {
        return Ok(hidden);
    }
    let pairs = functions.into_iter().zip(hidden);
    Ok(pairs.map(|(whole, hidden)| if whole.is_for_all() { hidden } else { whole }).collect())
}

/// The function that a caller means by a name in a namespace. One for all namespaces, to which the caller has no right,
/// is not there.
pub(crate) async fn usable_function(
    state: &GatewayState,
    token: &BearerToken,
    namespace: &str,
    name: &str,
) -> Result<Function, Error> {
    let function = state.gateway.jobs.function(namespace, name).await?;
    if may_use(state, token, namespace, &function).await? {
        return Ok(function);
    }
    Err(Error::NotFound { kind: Function::KIND, name: name.to_owned() })
}

/// All that a caller can mean so.
pub(crate) async fn usable_functions(
    state: &GatewayState,
    token: &BearerToken,
    namespace: &str,
) -> Result<Vec<Function>, Error> {
    let mut usable = Vec::new();
    for function in state.gateway.jobs.functions(namespace).await? {
        if may_use(state, token, namespace, &function).await? {
            usable.push(function);
        }
    }
    Ok(usable)
}

async fn may_use(
    state: &GatewayState,
    token: &BearerToken,
    namespace: &str,
    function: &Function,
) -> Result<bool, Error> {
    if !function.is_for_all() {
        return Ok(true);
    }
    let (access, name) = (&state.gateway.access, &function.metadata.name);
    match access.may_use_function(Some(token.as_str()), namespace, name).await {
        Ok(may) => Ok(may),
        Err(Denied::Unavailable { message, retry_after }) => {
            Err(Error::Unavailable { message, retry_after })
        }
        Err(_) => Ok(false),
    }
}
