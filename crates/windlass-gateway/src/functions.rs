//! `/v1/namespaces/{namespace}/functions`: what may run.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use windlass_core::{Error, JobKey};

use crate::Shared;
use crate::guard::Namespace;
use crate::jobs::list::Listing;
use crate::refusal::Refusal;

/// All functions of a namespace.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(Namespace(namespace)): Extension<Namespace>,
) -> Result<Response, Refusal> {
    let functions = shared.gateway.jobs.functions(&namespace).await?;
    Ok(Json(Listing::new("ComputeFunctionList", functions, None)).into_response())
}

/// One function.
pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
) -> Result<Response, Refusal> {
    let function = shared.gateway.jobs.function(&key.namespace, &key.name).await?;
    Ok(Json(function).into_response())
}

/// What to tell somebody who names a function that does not exist: those that do.
pub(crate) async fn unknown(shared: &Shared, namespace: &str, name: &str) -> Result<String, Error> {
    /// Most names that are listed.
    const SHOWN: usize = 20;
    let functions = shared.gateway.jobs.functions(namespace).await?;
    let mut names: Vec<&str> = functions.iter().map(|f| f.metadata.name.as_str()).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    Ok(match (names.is_empty(), more) {
        (true, _) => format!("there is no function {name:?}; there are none in {namespace:?}"),
        (false, 0) => format!("there is no function {name:?}; there are: {}", names.join(", ")),
        (false, more) => format!(
            "there is no function {name:?}; there are: {} and {more} more",
            names.join(", ")
        ),
    })
}
