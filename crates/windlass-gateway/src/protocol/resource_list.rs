//! Many resources in one answer, as the Kubernetes API gives them.

use schemars::JsonSchema;
use serde::Serialize;
use windlass_core::API_VERSION;

/// A list in the shape that the Kubernetes API gives.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "{T}List")]
pub(crate) struct ResourceList<T> {
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

impl<T> ResourceList<T> {
    /// All that there are.
    pub(crate) fn complete(kind: &'static str, items: Vec<T>) -> Self {
        Self::page(kind, items, None)
    }

    /// One page, and the token of the next.
    pub(crate) fn page(kind: &'static str, items: Vec<T>, continue_from: Option<String>) -> Self {
        Self { api_version: API_VERSION, kind, metadata: ListMetadata { continue_from }, items }
    }
}
