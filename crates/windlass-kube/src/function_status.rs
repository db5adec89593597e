//! What the status of a ComputeFunction, or of a ClusterComputeFunction, says.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windlass_core::status::Truth;

/// Whether the pods of a function can be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionStatus {
    /// One, `Ready`.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub conditions: Vec<FunctionCondition>,
}

/// The type of the condition of a function.
pub(crate) const READY: &str = "Ready";

/// A condition of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionCondition {
    /// What it is about.
    #[serde(rename = "type")]
    #[schemars(length(max = 64))]
    pub kind: String,
    /// Whether it is so.
    pub status: Truth,
    /// One word for why.
    #[schemars(length(min = 1, max = 128))]
    pub reason: String,
    /// A sentence for a person: what Windlass refuses, with its path, or the API server's words.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The generation of the function that was looked at.
    pub observed_generation: i64,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
}

impl FunctionStatus {
    /// Whether the pods of the function can be made, if that was told.
    pub(crate) fn ready(&self) -> Option<&FunctionCondition> {
        self.conditions.iter().find(|condition| condition.kind == READY)
    }
}
