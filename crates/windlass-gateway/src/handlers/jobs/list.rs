//! `GET /v1/namespaces/{namespace}/jobs`: many jobs, filtered and by pages.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::Uri;
use serde_json::Value;
use windlass_core::fields::Fields;
use windlass_core::jobs::{Filter, Page};
use windlass_core::labels::Selector;
use windlass_core::{Phase, name};

use crate::middleware::path_target::{Namespace, Target};
use crate::protocol::error::ApiError;
use crate::protocol::query::{invalid_parameter, parameters, parse_fields, unknown_parameter};
use crate::protocol::resource_list::ResourceList;

/// Jobs of a page for a caller who does not say. A job may have 128 KiB of input and 32 KiB of
/// result, so this bounds an answer to 16 MiB.
pub(crate) const DEFAULT_LIMIT: u32 = 100;
/// Most jobs of a page.
pub(crate) const MAX_LIMIT: u32 = 500;
/// Longest token of a page.
pub(crate) const MAX_CONTINUE_BYTES: usize = 2048;

/// `?function=&phase=&queue=&labelSelector=&limit=&continue=&fields=`
pub(crate) async fn list_jobs(
    Target { state, of: Namespace(namespace), .. }: Target<Namespace>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (filter, fields) = filter_of(&uri)?;
    let Page { items, continue_from } = state.gateway.jobs.list(&namespace, &filter).await?;
    const KIND: &str = "ComputeJobList";
    Ok(match fields {
        None => Json(ResourceList::page(KIND, items, continue_from)).into_response(),
        Some(fields) => {
            let items = items.iter().map(|job| fields.select(job)).collect();
            Json(ResourceList::<Value>::page(KIND, items, continue_from)).into_response()
        }
    })
}

fn filter_of(uri: &Uri) -> Result<(Filter, Option<Fields>), ApiError> {
    let mut filter = Filter { limit: DEFAULT_LIMIT, ..Filter::default() };
    let mut selected = None;
    for (key, value) in parameters(uri)? {
        match key.as_str() {
            "function" => match name::problem(&value) {
                None => filter.function = Some(value),
                Some(why) => return Err(invalid_parameter("function", why)),
            },
            "phase" => {
                let phase = parse_phase(&value).ok_or_else(|| {
                    invalid_parameter(
                        "phase",
                        "Queued, Starting, Running, Succeeded, Failed or Cancelled",
                    )
                })?;
                filter.phase = Some(phase);
            }
            "limit" => match value.parse() {
                Ok(limit @ 1..=MAX_LIMIT) => filter.limit = limit,
                _ => return Err(invalid_parameter("limit", "a number from 1 to 500")),
            },
            "continue" if value.len() <= MAX_CONTINUE_BYTES => filter.continue_from = Some(value),
            "continue" => return Err(invalid_parameter("continue", "not a token of a page")),
            "queue" => match name::problem(&value) {
                None => filter.queue = Some(value),
                Some(why) => return Err(invalid_parameter("queue", why)),
            },
            "labelSelector" => {
                let selector = Selector::parse(&value);
                filter.labels = selector.map_err(|why| invalid_parameter("labelSelector", &why))?;
            }
            "fields" => selected = Some(parse_fields(&value)?),
            _ => {
                return Err(unknown_parameter(
                    key,
                    "function, phase, queue, labelSelector, limit, continue, fields",
                ));
            }
        }
    }
    Ok((filter, selected))
}

fn parse_phase(word: &str) -> Option<Phase> {
    serde_json::from_value(Value::from(word)).ok()
}
