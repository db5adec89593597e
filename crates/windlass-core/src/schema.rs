//! Pieces of JSON Schema that the derive cannot express.
//!
//! CEL rules (`x-kubernetes-validations`) are written here because they belong to the field, not
//! to the program that installs them. An API server refuses a rule whose estimated cost is too
//! high: comparing strings or untyped values at spec level is, comparing one field with its old
//! self is not.

use jsonschema::{PatternOptions, Validator};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// What checks values by a schema, or why it is none.
pub(crate) fn validator(schema: &Value) -> Result<Validator, String> {
    // The default engine backtracks: a pattern could take time without bound.
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
    options.build(schema).map_err(|error| error.to_string())
}

/// A JSON object of any content.
pub(crate) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// A JSON object of any content that cannot be changed.
pub(crate) fn immutable_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-validations": immutable()
    })
}

/// A bounded map of strings.
pub(crate) fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 253 }
    })
}

/// The conditions: a list with one entry a type.
pub(crate) fn rules(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({ "rule": rule, "message": message })).collect()
}

/// This field can't change once it is set.
pub(crate) fn immutable() -> Value {
    rules(&[("self == oldSelf", "is immutable; delete the job and submit another")])
}

/// `cancel` goes from false to true and stays.
pub(crate) fn latch() -> Value {
    rules(&[("self || !oldSelf", "a cancelled job stays cancelled")])
}

/// Optional fields of the spec can be neither added nor taken away.
pub(crate) fn immutable_presence(fields: &[&str]) -> Value {
    fields
        .iter()
        .map(|field| {
            json!({
                "rule": format!("has(self.{field}) == has(oldSelf.{field})"),
                "message": format!("{field} is immutable; delete the job and submit another"),
            })
        })
        .collect()
}
