//! `?fields=metadata.name,status.phase`: the parts of a job that a caller wants to see.

use std::sync::LazyLock;

use axum::extract::Query;
use http::Uri;
use schemars::schema_for;
use serde::Serialize;
use serde_json::{Map, Value};
use windlass_core::Job;
use windlass_core::error::clip;

use crate::problem::Kind;
use crate::refusal::Refusal;

/// Most paths of a selection.
const MAX_PATHS: usize = 16;

/// Longest path, in names.
const MAX_DEPTH: usize = 8;

/// The shape of a job, from which a path is known to lead somewhere.
static SHAPE: LazyLock<Value> = LazyLock::new(|| schema_for!(Job).to_value());

/// What to show of a job: all of it, or only some paths.
#[derive(Debug, Default)]
pub(crate) struct Fields(Option<Vec<Vec<String>>>);

/// A job as it was asked for.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Shown {
    Whole(Box<Job>),
    Parts(Map<String, Value>),
}

impl Fields {
    /// Names joined by dots, paths by commas. A list is shown whole, and so is a free object such as the
    /// input.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let wrong = |why: String| Refusal::new(Kind::Query, format!("fields: {why}"));
        let mut paths = Vec::new();
        for path in text.split(',') {
            let names: Vec<String> =
                path.split('.').take(MAX_DEPTH + 1).map(str::to_owned).collect();
            if paths.len() == MAX_PATHS {
                return Err(wrong(format!("at most {MAX_PATHS} paths")));
            }
            if names.len() > MAX_DEPTH || !leads_somewhere(&names) {
                let path = clip(path.to_owned(), 64);
                return Err(wrong(format!("a job has no {path:?}")));
            }
            paths.push(names);
        }
        Ok(Self(Some(paths)))
    }

    /// The one parameter of a query that has no others.
    pub(crate) fn of_query(uri: &Uri) -> Result<Self, Refusal> {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(Refusal::new(Kind::Query, "the query cannot be read"));
        };
        match pairs.as_slice() {
            [] => Ok(Self::default()),
            [(key, value)] if key == "fields" => Self::parse(value),
            _ => Err(Refusal::new(Kind::Query, "there is one parameter, fields, once")),
        }
    }

    /// The job, or these parts of it beside its kind. What it has not is left out.
    pub(crate) fn of(&self, job: Job) -> Shown {
        let Some(paths) = &self.0 else { return Shown::Whole(Box::new(job)) };
        // A job always serializes, as an object.
        let Ok(Value::Object(whole)) = serde_json::to_value(&job) else {
            return Shown::Whole(Box::new(job));
        };
        let mut parts = Map::new();
        for kind in ["apiVersion", "kind"] {
            copy(&whole, &[kind.to_owned()], &mut parts);
        }
        for path in paths {
            copy(&whole, path, &mut parts);
        }
        Shown::Parts(parts)
    }
}

fn copy(from: &Map<String, Value>, path: &[String], to: &mut Map<String, Value>) {
    let Some((name, rest)) = path.split_first() else { return };
    match from.get(name) {
        Some(value) if rest.is_empty() => drop(to.insert(name.clone(), value.clone())),
        Some(Value::Object(inner)) => {
            let entry = to.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(entry) = entry {
                copy(inner, rest, entry);
            }
        }
        _ => {}
    }
}

fn leads_somewhere(path: &[String]) -> bool {
    let mut shape = Some(&*SHAPE);
    for name in path {
        shape = shape.and_then(|shape| property(shape, name));
    }
    shape.is_some()
}

/// The shape of a property, behind references and beside `null`.
fn property<'a>(shape: &'a Value, name: &str) -> Option<&'a Value> {
    if let Some(property) = shape.get("properties").and_then(|properties| properties.get(name)) {
        return Some(property);
    }
    if let Some(reference) = shape.get("$ref").and_then(Value::as_str) {
        return property(SHAPE.pointer(reference.strip_prefix('#')?)?, name);
    }
    ["anyOf", "allOf", "oneOf"]
        .iter()
        .filter_map(|of| shape.get(of)?.as_array())
        .flatten()
        .find_map(|shape| property(shape, name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windlass_core::{JobSpec, Metadata, Phase};

    use super::*;

    fn shown(fields: &str) -> Value {
        let metadata = Metadata { name: "a".into(), namespace: "b".into(), ..Metadata::default() };
        let input = json!({"x": 1}).as_object().unwrap().clone();
        let spec = JobSpec { function: "f".into(), input, ..JobSpec::default() };
        let mut job = Job::new(metadata, spec);
        job.status.phase = Some(Phase::Running);
        serde_json::to_value(Fields::parse(fields).unwrap().of(job)).unwrap()
    }

    #[test]
    fn only_what_was_asked_for_is_shown() {
        let (version, kind) = ("windlass.dev/v1alpha1", "ComputeJob");
        assert_eq!(
            shown("metadata.name,status.phase,metadata.namespace"),
            json!({ "apiVersion": version, "kind": kind,
                "metadata": { "name": "a", "namespace": "b" }, "status": { "phase": "Running" } })
        );
        assert_eq!(
            shown("spec.input"),
            json!({ "apiVersion": version, "kind": kind, "spec": { "input": { "x": 1 } } })
        );
        // Known, and not there.
        assert_eq!(
            shown("status.progress.message"),
            json!({ "apiVersion": version, "kind": kind })
        );
    }

    #[test]
    fn a_path_that_leads_nowhere_is_refused() {
        for known in ["status.timeline.finished", "status.result.sha256", "metadata.uid", "status"]
        {
            assert!(Fields::parse(known).is_ok(), "{known}");
        }
        let many = vec!["kind"; MAX_PATHS + 1].join(",");
        let deep = vec!["status"; 1000].join(".");
        for unknown in ["", "status.fase", "spec.input.x", "kind.x", "status..phase", &many, &deep]
        {
            assert!(Fields::parse(unknown).is_err(), "{unknown}");
        }
    }
}
