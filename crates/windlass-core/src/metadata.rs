//! The metadata of every object.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::schema;

/// The part of an object's metadata that Windlass reads or shows.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Name, unique in its namespace: a DNS label of at most 63 characters.
    #[serde(default)]
    #[schemars(length(max = 63))]
    pub name: String,
    /// Namespace. On one machine always `default`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Unique over all time: a job that is deleted and created again has another one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Changes with every write of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub resource_version: String,
    /// Counts the changes of the spec.
    pub generation: Option<i64>,
    /// When it was accepted.
    pub creation_timestamp: Option<Timestamp>,
    /// When its deletion was asked for.
    pub deletion_timestamp: Option<Timestamp>,
    /// The caller's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::label_map")]
    pub labels: BTreeMap<String, String>,
    /// What Windlass keeps beside the job. Of other annotations none is shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::label_map")]
    pub annotations: BTreeMap<String, String>,
}
