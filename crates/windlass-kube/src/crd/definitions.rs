//! The definitions of the resources, as an API server takes them.
//!
//! `windlass print crds` writes what [`all`] gives; `manifests/crds.yaml` is that output.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, ValidationRule,
};
use kube::CustomResourceExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    ClusterComputeFunction, ClusterComputeQueue, ComputeFunction, ComputeJob, ComputeQueue,
};

/// The five definitions, ready to be applied.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut job = ComputeJob::crd();
    add_rules(
        &mut job,
        &[
            ("size(self.metadata.name) <= 63", "the name has at most 63 characters"),
            (&unless_started("self.spec.priority == oldSelf.spec.priority"), MOVED_TOO_LATE),
            (
                &unless_started(
                    "(has(self.spec.queue) ? self.spec.queue : '') == \
                     (has(oldSelf.spec.queue) ? oldSelf.spec.queue : '')",
                ),
                MOVED_TOO_LATE,
            ),
        ],
    );
    let (mut function, mut queue) = (ComputeFunction::crd(), ComputeQueue::crd());
    let mut cluster_function = ClusterComputeFunction::crd();
    let mut cluster_queue = ClusterComputeQueue::crd();
    for named in [&mut function, &mut cluster_function, &mut queue, &mut cluster_queue] {
        // Jobs name them, by a DNS label. That an object's name begins and ends with a letter or a digit is
        // Kubernetes' own rule.
        add_rules(
            named,
            &[(
                "self.metadata.name.matches('^[a-z0-9-]{1,63}$')",
                "the name has at most 63 lower-case letters, digits and '-'",
            )],
        );
    }
    for function in [&mut function, &mut cluster_function] {
        add_rules(
            function,
            &[(
                "!has(self.spec.warm) || self.spec.warm.min <= self.spec.warm.max",
                "spec.warm.min must not be above spec.warm.max",
            )],
        );
    }
    for crd in [&mut function, &mut cluster_function, &mut cluster_queue, &mut job] {
        for status in schemas(crd).filter_map(|root| root.properties.as_mut()?.get_mut("status")) {
            status.default = Some(JSON(json!({ "observedGeneration": UNSEEN })));
        }
    }
    let mut all = [function, cluster_function, queue, cluster_queue, job];
    for root in all.iter_mut().flat_map(schemas) {
        // The formats of Rust's integers mean nothing to an API server, which warns.
        *root = without(root, &|key, value| {
            key == "format" && value.as_str().is_some_and(|f| f.starts_with("uint"))
        });
    }
    all.into()
}

/// The generation that an API server gives to a status that nobody has written. What waits for an object by kstatus would
/// take one without any status for one that is done.
pub(super) const UNSEEN: i64 = -1;

/// What is said to somebody who changes the place of a job that has started.
const MOVED_TOO_LATE: &str = "queue and priority can be changed only while the job has not started";

/// A rule that holds from the first attempt on.
fn unless_started(rule: &str) -> String {
    let waits = "oldSelf.status.phase == 'Queued' && !has(oldSelf.status.attempt)";
    format!("!has(oldSelf.status) || !has(oldSelf.status.phase) || ({waits}) || {rule}")
}

/// The schemas of all the versions of a definition.
fn schemas(crd: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let versions = crd.spec.versions.iter_mut();
    versions.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
}

/// Adds CEL rules at the root of the schema, the only place that sees spec, status and metadata.
/// A rule about the status of an object that has none yet would fail without `has`.
fn add_rules(crd: &mut CustomResourceDefinition, rules: &[(&str, &str)]) {
    let rules = rules.iter().map(|(rule, message)| ValidationRule {
        rule: (*rule).into(),
        message: Some((*message).into()),
        ..ValidationRule::default()
    });
    for root in schemas(crd) {
        root.x_kubernetes_validations.get_or_insert_default().extend(rules.clone());
    }
}

/// A copy of the schema without the members for which `drop` holds.
fn without<T: Serialize + for<'a> Deserialize<'a> + Clone>(
    schema: &T,
    drop: &dyn Fn(&str, &Value) -> bool,
) -> T {
    fn walk(value: Value, drop: &dyn Fn(&str, &Value) -> bool) -> Value {
        match value {
            Value::Object(map) => map
                .into_iter()
                .filter(|(key, value)| !drop(key, value))
                .map(|(key, value)| (key, walk(value, drop)))
                .collect(),
            Value::Array(items) => items.into_iter().map(|item| walk(item, drop)).collect(),
            other => other,
        }
    }
    serde_json::to_value(schema)
        .ok()
        .and_then(|value| serde_json::from_value(walk(value, drop)).ok())
        .unwrap_or_else(|| schema.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windlass_core::function::{RESERVED_NAME, RESERVED_PREFIX};

    use super::*;

    #[test]
    fn functions_and_queues_have_names_that_a_job_can_name() {
        for mut crd in all() {
            let rules: Vec<_> = schemas(&mut crd)
                .flat_map(|root| root.x_kubernetes_validations.clone().unwrap_or_default())
                .map(|rule| rule.rule)
                .collect();
            let bounds_names = rules.iter().any(|rule| rule.contains("self.metadata.name"));
            assert!(bounds_names, "{}: {rules:?}", crd.spec.names.kind);
        }
    }

    #[test]
    fn a_variable_of_windlass_itself_is_refused_by_an_api_server_too() {
        let crds = serde_json::to_value(all()).unwrap();
        let schema = &crds[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let name = "/properties/spec/properties/env/items/properties/name";
        let name = schema.pointer(name).unwrap();
        let rule = format!("!self.startsWith('{RESERVED_PREFIX}')");
        let rules = json!([{ "rule": rule, "message": RESERVED_NAME }]);
        assert_eq!(name["x-kubernetes-validations"], rules);
    }
    #[test]
    fn no_column_of_a_job_counts_on_as_if_it_ran_after_its_end() {
        let crds = serde_json::to_value(all()).unwrap();
        let is_job = |crd: &&serde_json::Value| crd["spec"]["names"]["kind"] == "ComputeJob";
        let job = crds.as_array().unwrap().iter().find(is_job).unwrap();
        let columns = job["spec"]["versions"][0]["additionalPrinterColumns"].as_array().unwrap();
        // kubectl shows a date as the time since then. None is called the time that a job has taken.
        let since = columns.iter().filter(|column| column["type"] == "date");
        let shown: Vec<_> =
            since.map(|column| json!([column["name"], column["jsonPath"]])).collect();
        let expected = json!([
            ["Started", ".status.timeline.running"],
            ["Ended", ".status.timeline.finished"],
            ["Age", ".metadata.creationTimestamp"],
        ]);
        assert_eq!(json!(shown), expected);
    }
}
