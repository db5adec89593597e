//! Some fields of a job instead of all: `metadata.name,status.phase`.
//!
//! A job may have 128 KiB of input and 32 KiB of result; who lists a thousand wants neither. Which
//! fields there are is read from the job's own schema, so that a new one is known here, too.
//!
//! Deliberately absent: a language. No wildcards, no list positions, nothing inside of the input.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::Job;
use crate::error::clip;

/// Most paths of one selection.
pub const MAX_PATHS: usize = 16;

/// Some fields of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields(Vec<String>);

impl Fields {
    /// Reads paths that are separated by commas. Otherwise says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let paths: Vec<&str> = text.split(',').take(MAX_PATHS + 1).collect();
        if paths.len() > MAX_PATHS {
            return Err(format!("at most {MAX_PATHS} fields"));
        }
        match paths.iter().find(|path| !KNOWN.contains(**path)) {
            None => Ok(Self(paths.into_iter().map(str::to_owned).collect())),
            Some(unknown) => {
                let unknown = clip((*unknown).to_owned(), 64);
                Err(format!("a job has no field {unknown:?}; such as metadata.name,status.phase"))
            }
        }
    }

    /// All fields but the input, as text: for whoever has the input, or does not want it.
    pub fn all_but_input() -> String {
        let is_wanted = |path: &&String| match path.split_once('.') {
            None => path.as_str() != "spec",
            Some(("spec", field)) => field != "input" && !field.contains('.'),
            Some(_) => false,
        };
        KNOWN.iter().filter(is_wanted).cloned().collect::<Vec<_>>().join(",")
    }

    /// These fields of a job, as far as it has them, each in its place.
    pub fn select(&self, job: &Job) -> Value {
        // A job always serializes.
        let whole = serde_json::to_value(job).unwrap_or_default();
        let mut some = Map::new();
        for path in &self.0 {
            let mut found = Some(&whole);
            for part in path.split('.') {
                found = found.and_then(|value| value.get(part));
            }
            if let Some(value) = found {
                insert_at(&mut some, path, value);
            }
        }
        Value::Object(some)
    }
}

/// Puts a value at its path. A path that goes into what is there whole changes nothing.
fn insert_at(object: &mut Map<String, Value>, path: &str, value: &Value) {
    match path.split_once('.') {
        None => drop(object.insert(path.to_owned(), value.clone())),
        Some((part, rest)) => {
            let inner = object.entry(part).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert_at(inner, rest, value);
            }
        }
    }
}

/// The paths of all fields that a job may have.
static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let schema = schemars::schema_for!(Job).to_value();
    let mut known = BTreeSet::new();
    walk(&schema, &schema, "", &mut known);
    known
});

fn walk(root: &Value, schema: &Value, at: &str, known: &mut BTreeSet<String>) {
    if let Some(pointer) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#'))
        && let Some(referred) = root.pointer(pointer)
    {
        walk(root, referred, at, known);
    }
    // An optional field is this or null.
    for choice in schema["anyOf"].as_array().into_iter().flatten() {
        walk(root, choice, at, known);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        walk(root, field, &path, known);
        known.insert(path);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Metadata, Phase};

    fn job() -> Job {
        let spec = serde_json::from_value(json!({ "function": "f", "input": { "a": 1 } })).unwrap();
        let mut job = Job::new(Metadata { name: "j".into(), ..Metadata::default() }, spec);
        job.status.phase = Some(Phase::Running);
        job
    }

    #[test]
    fn some_fields_are_in_their_places_and_missing_ones_are_left_out() {
        let select = |text: &str| Fields::parse(text).unwrap().select(&job());
        assert_eq!(
            select("metadata.name,status.phase,spec.function"),
            json!({
                "metadata": { "name": "j" },
                "status": { "phase": "Running" },
                "spec": { "function": "f" }
            })
        );
        assert_eq!(select("status.result.sha256"), json!({}));
        assert_eq!(
            select("spec.input,kind"),
            json!({ "spec": { "input": { "a": 1 } }, "kind": "ComputeJob" })
        );
        // A whole and its part, in either order, are the whole.
        let whole = json!({ "spec": serde_json::to_value(&job().spec).unwrap() });
        assert_eq!(select("spec,spec.function"), whole);
        assert_eq!(select("spec.function,spec"), whole);
    }

    #[test]
    fn all_but_the_input_is_a_job_without_it() {
        let mut job = job();
        let some = Fields::parse(&Fields::all_but_input()).unwrap().select(&job);
        assert_eq!(some["spec"].get("input"), None);
        job.spec.input.clear();
        assert_eq!(serde_json::from_value::<Job>(some).unwrap(), job);
    }

    #[test]
    fn every_field_of_a_status_is_known() {
        for path in [
            "apiVersion",
            "metadata.creationTimestamp",
            "metadata.annotations",
            "spec.ttlSecondsAfterFinished",
            "status.conditions",
            "status.progress.fraction",
            "status.result.text",
            "status.failure.exitCode",
            "status.timeline.finished",
            "status.usage.cpuSeconds",
            "status.waiting",
        ] {
            assert!(Fields::parse(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn unknown_and_too_many_fields_are_refused() {
        for text in [
            "",
            ",",
            "status.",
            "status.phase,",
            "nope",
            "spec.input.a",
            "status phase",
            "status.conditions.0",
            "metadata.name, status.phase",
            &"x".repeat(100_000),
        ] {
            assert!(Fields::parse(text).is_err(), "{text:.80}");
        }
        assert!(Fields::parse(&vec!["kind"; 16].join(",")).is_ok());
        assert!(Fields::parse(&vec!["kind"; 17].join(",")).is_err());
    }
}
