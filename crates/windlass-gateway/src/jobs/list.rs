//! `GET /v1/namespaces/{namespace}/jobs`: many jobs, filtered and by pages.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::{Extension, Json};
use http::Uri;
use schemars::JsonSchema;
use serde::Serialize;
use windlass_core::jobs::Filter;
use windlass_core::{API_VERSION, Job, Phase, name};

use crate::Shared;
use crate::guard::Namespace;
use crate::problem::Kind;
use crate::refusal::Refusal;

/// Jobs of a page for a caller who does not say. A job may have 128 KiB of input and 32 KiB of
/// result, so this bounds an answer to 16 MiB.
pub(crate) const DEFAULT_LIMIT: u32 = 100;
/// Most jobs of a page.
pub(crate) const MAX_LIMIT: u32 = 500;
/// Longest token of a page.
pub(crate) const MAX_CONTINUE_BYTES: usize = 2048;

/// A list in the shape that the Kubernetes API gives.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}List")]
pub(crate) struct Listing<T> {
    /// Always `windlass.dev/v1alpha1`.
    api_version: &'static str,
    /// The kind of the items, and `List`.
    kind: &'static str,
    /// Where the list goes on.
    metadata: ListMetadata,
    /// The items, in the order of their names.
    items: Vec<T>,
}

/// Where a list goes on.
#[derive(Serialize, JsonSchema)]
struct ListMetadata {
    /// The token of the next page, for `?continue=`; absent on the last.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    continue_from: Option<String>,
}

impl<T> Listing<T> {
    pub(crate) fn new(kind: &'static str, items: Vec<T>, continue_from: Option<String>) -> Self {
        Self { api_version: API_VERSION, kind, metadata: ListMetadata { continue_from }, items }
    }
}

/// `?function=&phase=&limit=&continue=`
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(Namespace(namespace)): Extension<Namespace>,
    uri: Uri,
) -> Result<Json<Listing<Job>>, Refusal> {
    let filter = filter(&uri)?;
    let page = shared.gateway.jobs.list(&namespace, &filter).await?;
    Ok(Json(Listing::new("ComputeJobList", page.items, page.continue_from)))
}

fn filter(uri: &Uri) -> Result<Filter, Refusal> {
    let wrong = |key: &str, why: &str| Refusal::new(Kind::Query, format!("{key}: {why}"));
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
        return Err(Refusal::new(Kind::Query, "the query cannot be read"));
    };
    let mut filter = Filter { limit: DEFAULT_LIMIT, ..Filter::default() };
    for (key, value) in pairs {
        match key.as_str() {
            "function" => match name::problem(&value) {
                None => filter.function = Some(value),
                Some(why) => return Err(wrong("function", why)),
            },
            "phase" => {
                let phase = phase(&value).ok_or_else(|| {
                    wrong("phase", "Queued, Starting, Running, Succeeded, Failed or Cancelled")
                })?;
                filter.phase = Some(phase);
            }
            "limit" => match value.parse() {
                Ok(limit @ 1..=MAX_LIMIT) => filter.limit = limit,
                _ => return Err(wrong("limit", "a number from 1 to 500")),
            },
            "continue" if value.len() <= MAX_CONTINUE_BYTES => filter.continue_from = Some(value),
            "continue" => return Err(wrong("continue", "not a token of a page")),
            _ => {
                let known =
                    "there is no such parameter; there are function, phase, limit, continue";
                let key = windlass_core::error::clip(key, 64);
                return Err(wrong(&format!("{key:?}"), known));
            }
        }
    }
    Ok(filter)
}

fn phase(word: &str) -> Option<Phase> {
    serde_json::from_value(serde_json::Value::from(word)).ok()
}
