//! What the status of a function or of a ClusterComputeQueue says of it, by the API conventions of Kubernetes.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_core::status::Truth;

/// The type of the condition that every object has.
pub(crate) const READY: &str = "Ready";
/// The type of the condition of an object that has to be changed.
pub(crate) const STALLED: &str = "Stalled";

/// A condition of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    #[schemars(length(max = 64))]
    pub kind: String,
    /// Whether it is so.
    pub status: Truth,
    /// One word for why.
    #[schemars(length(min = 1, max = 128))]
    pub reason: String,
    /// A sentence for a person.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The generation of the object that was looked at.
    pub observed_generation: i64,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
}

/// Of these conditions, whether the object can be used, if that was told.
pub(crate) fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.kind == READY)
}
