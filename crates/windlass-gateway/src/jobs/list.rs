//! `GET /v1/namespaces/{namespace}/jobs`: many jobs, filtered and by pages.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::Uri;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use windlass_core::fields::Fields;
use windlass_core::jobs::{Filter, Page};
use windlass_core::{API_VERSION, Phase, name};

use crate::Shared;
use crate::guard::Namespace;
use crate::query::{fields, pairs, unknown, wrong};
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

/// `?function=&phase=&queue=&limit=&continue=&fields=`
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(Namespace(namespace)): Extension<Namespace>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let (filter, fields) = asked(&uri)?;
    let Page { items, continue_from } = shared.gateway.jobs.list(&namespace, &filter).await?;
    const KIND: &str = "ComputeJobList";
    Ok(match fields {
        None => Json(Listing::new(KIND, items, continue_from)).into_response(),
        Some(fields) => {
            let items = items.iter().map(|job| fields.of(job)).collect();
            Json(Listing::<Value>::new(KIND, items, continue_from)).into_response()
        }
    })
}

fn asked(uri: &Uri) -> Result<(Filter, Option<Fields>), Refusal> {
    let mut filter = Filter { limit: DEFAULT_LIMIT, ..Filter::default() };
    let mut some = None;
    for (key, value) in pairs(uri)? {
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
            "queue" => match name::problem(&value) {
                None => filter.queue = Some(value),
                Some(why) => return Err(wrong("queue", why)),
            },
            "fields" => some = Some(fields(&value)?),
            _ => return Err(unknown(key, "function, phase, queue, limit, continue, fields")),
        }
    }
    Ok((filter, some))
}

fn phase(word: &str) -> Option<Phase> {
    serde_json::from_value(Value::from(word)).ok()
}
