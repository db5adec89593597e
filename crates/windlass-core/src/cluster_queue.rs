//! ClusterComputeQueue: CPUs that the queues of several namespaces share. Written by cluster admins.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Cpus;

/// CPUs for all the ComputeQueues of some namespaces. What one of them leaves idle the others use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterQueueSpec {
    /// CPUs that may be granted at the same time to all jobs of these namespaces. With 0 they wait.
    #[schemars(range(max = 1_000_000))]
    pub cpus: Cpus,
    /// Which namespaces, by their labels. An empty selector means all namespaces.
    pub namespace_selector: NamespaceSelector,
    /// Whether the jobs of all these namespaces wait: nothing new starts, and what runs goes on. Default false.
    #[serde(default)]
    pub hold: bool,
}

/// The CPUs that the queues of a namespace share with those of other namespaces, and how much of them is in use: by all of
/// these namespaces together, and told coarsely.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SharedCpus {
    /// Name of the ClusterComputeQueue.
    pub name: String,
    /// CPUs that it has.
    pub cpus: Cpus,
    /// Whether it is on hold: nothing new starts in its namespaces.
    #[serde(default)]
    pub hold: bool,
    /// CPUs that jobs hold, told again with a grant or when that has changed by half.
    pub granted: Cpus,
    /// Jobs that wait, told again when that has changed by half.
    pub waiting: u32,
}

/// Selects namespaces by their labels, as `LabelSelector` of Kubernetes does: all requirements must be met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels that the namespace has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 64,
        "additionalProperties" = { "type": "string", "maxLength": 63 }
    ))]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelRequirement {
    /// Key of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// What is required of it.
    pub operator: LabelOperator,
    /// The values of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// What may be required of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// It has one of the values.
    In,
    /// It has none of the values, or is missing.
    NotIn,
    /// It is there.
    Exists,
    /// It is missing.
    DoesNotExist,
}

impl ClusterQueueSpec {
    /// CPUs that may be held before another job starts.
    pub fn capacity(&self) -> Cpus {
        if self.hold { 0 } else { self.cpus }
    }

    /// Why a job that needs at least `min` CPUs waits, although its own queue has room for it.
    pub fn why_jobs_wait(&self, name: &str, min: Cpus) -> String {
        let shared = format!("ClusterComputeQueue {name:?}");
        match self.cpus {
            _ if self.hold => format!("{shared} is on hold: nothing new starts in its namespaces"),
            0 => format!("{shared} has 0 CPUs: nothing starts in its namespaces"),
            cpus if cpus < min => format!("needs {min} CPUs, and {shared} has {cpus} in all"),
            cpus => {
                format!(
                    "{shared} has {cpus} CPUs for all its namespaces and none to spare for this job now"
                )
            }
        }
    }
}

impl NamespaceSelector {
    /// Whether a namespace with these labels is selected.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.is_met(labels))
    }
}

impl LabelRequirement {
    fn is_met(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let is_listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            LabelOperator::In => is_listed,
            LabelOperator::NotIn => !is_listed,
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn selects(selector: Value, labels: &[(&str, &str)]) -> bool {
        let selector: NamespaceSelector = serde_json::from_value(selector).unwrap();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        selector.selects(&labels.collect())
    }

    #[test]
    fn namespaces_are_selected_as_kubernetes_selects() {
        let team = |operator: &str, values: Value| json!({ "matchExpressions": [{ "key": "team", "operator": operator, "values": values }] });
        for (selector, of_team, of_none) in [
            (json!({}), true, true),
            (json!({ "matchLabels": { "team": "a" } }), true, false),
            (json!({ "matchLabels": { "team": "b" } }), false, false),
            (json!({ "matchLabels": { "team": "a", "site": "x" } }), false, false),
            (team("In", json!(["b", "a"])), true, false),
            (team("NotIn", json!(["b", "a"])), false, true),
            (team("NotIn", json!(["b"])), true, true),
            (team("Exists", json!([])), true, false),
            (team("DoesNotExist", json!([])), false, true),
        ] {
            let told =
                (selects(selector.clone(), &[("team", "a")]), selects(selector.clone(), &[]));
            assert_eq!(told, (of_team, of_none), "{selector}");
        }
    }

    #[test]
    fn a_selector_must_be_given() {
        let spec = json!({ "cpus": 4 });
        assert!(
            serde_json::from_value::<ClusterQueueSpec>(spec).is_err(),
            "it would mean all or none"
        );
    }
}
