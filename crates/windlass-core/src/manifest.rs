//! Manifests against the schema that an API server checks them by.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use schemars::{JsonSchema, schema_for};
use serde_json::Value;

use crate::{Function, Problem, Queue, schema};

/// What breaks the bounds of a ComputeFunction, or of a ClusterComputeFunction.
pub fn function_problems(function: &Value) -> Vec<Problem> {
    static SCHEMA: LazyLock<Result<Validator, String>> = LazyLock::new(validator::<Function>);
    problems(&SCHEMA, function)
}

/// What breaks the bounds of a ComputeQueue.
pub fn queue_problems(queue: &Value) -> Vec<Problem> {
    static SCHEMA: LazyLock<Result<Validator, String>> = LazyLock::new(validator::<Queue>);
    problems(&SCHEMA, queue)
}

/// The definition of the resource in a cluster is made from the same type.
fn validator<T: JsonSchema>() -> Result<Validator, String> {
    schema::validator(&schema_for!(T).to_value())
}

fn problems(schema: &Result<Validator, String>, manifest: &Value) -> Vec<Problem> {
    match schema {
        Ok(schema) => {
            let mut found = Vec::new();
            schema.iter_errors(manifest).for_each(|error| collect(&error, &mut found));
            found
        }
        Err(why) => vec![Problem::at("", format!("the schema cannot be used: {why}"))],
    }
}

/// Of a field that may be absent, what is wrong within it: that it is not absent says nothing.
fn collect(error: &ValidationError<'_>, found: &mut Vec<Problem>) {
    let depth = |branch: &&Vec<ValidationError<'_>>| {
        branch.iter().map(|error| error.instance_path().as_str().len()).max()
    };
    match error.kind() {
        ValidationErrorKind::AnyOf { context } => {
            let deepest = context.iter().max_by_key(depth);
            deepest.into_iter().flatten().for_each(|error| collect(error, found));
        }
        _ => found.push(Problem::at(error.instance_path().to_string(), error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(found: Vec<Problem>) -> Vec<String> {
        found.into_iter().map(|problem| problem.pointer).collect()
    }

    #[test]
    fn what_breaks_a_bound_of_a_function_is_named() {
        let told = |field: &str, value: Value| {
            let mut spec = json!({ "command": ["f"] });
            spec[field] = value;
            pointers(function_problems(&json!({ "apiVersion": "windlass.dev/v1alpha1",
                "kind": "ComputeFunction", "metadata": { "name": "f" }, "spec": spec })))
        };
        assert_eq!(told("command", json!(["f", "g"])), [""; 0]);
        let table = [
            ("description", json!("x".repeat(1025)), "/spec/description"),
            ("command", json!([]), "/spec/command"),
            ("args", json!(vec!["x"; 65]), "/spec/args"),
            ("passEnv", json!(["A=B"]), "/spec/passEnv/0"),
            ("maxInputBytes", json!(0), "/spec/maxInputBytes"),
            ("memory", json!({ "base": "1.5Gi" }), "/spec/memory/base"),
            ("parallelism", json!({ "max": 1025 }), "/spec/parallelism/max"),
            ("timeoutSeconds", json!({ "default": 0 }), "/spec/timeoutSeconds/default"),
            ("startDeadlineSeconds", json!(604_801), "/spec/startDeadlineSeconds"),
            ("retries", json!(101), "/spec/retries"),
            ("maxResultBytes", json!(0), "/spec/maxResultBytes"),
            ("warm", json!({ "maxJobs": 0 }), "/spec/warm/maxJobs"),
        ];
        for (field, value, pointer) in table {
            assert_eq!(told(field, value), [pointer], "{field}");
        }
    }

    #[test]
    fn what_breaks_a_bound_of_a_queue_is_named() {
        let told = |spec: Value| {
            pointers(queue_problems(&json!({ "apiVersion": "windlass.dev/v1alpha1",
                "kind": "ComputeQueue", "metadata": { "name": "q" }, "spec": spec })))
        };
        assert_eq!(told(json!({ "cpus": 0 })), [""; 0]);
        let wrong = told(json!({ "cpus": 1_000_001, "weight": 0, "maxQueued": 0,
            "maxParallelismPerJob": 0 }));
        let fields = ["cpus", "maxParallelismPerJob", "maxQueued", "weight"];
        assert_eq!(wrong, fields.map(|field| format!("/spec/{field}")));
    }
}
