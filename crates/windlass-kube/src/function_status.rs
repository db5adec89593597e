//! What the status of a ComputeFunction, or of a ClusterComputeFunction, says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::{Condition, ready};

/// Whether the pods of a function can be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionStatus {
    /// The generation of the function that this is about. -1 until it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, and `Stalled` of one that Windlass refuses until it is changed.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
}

impl FunctionStatus {
    /// Whether the pods of the function can be made, if that was told.
    pub(crate) fn ready(&self) -> Option<&Condition> {
        ready(&self.conditions)
    }
}
