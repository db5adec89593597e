//! The schemas of the document: those of core's types, the ones that the CRDs are made from.
//!
//! Answers are described as they are written, bodies as they are read. What only an API server
//! understands (`x-kubernetes-*`) is taken out.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use windlass_core::fields::MAX_PATHS;
use windlass_core::name::MAX_NAME;
use windlass_core::{Job, JobSpec, labels};

use crate::live::job_event::{BegunEvent, DeletedEvent, ProgressEvent};
use crate::protocol::error::ProblemDocument;
use crate::protocol::resource_list::ResourceList;

/// The value of a label.
const LABEL_VALUE: &str = "^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$";

/// The key of a label: a name after an optional prefix, each bounded.
const LABEL_KEY: &str = "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*/)?\
                         [A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$";

/// The pattern of a key inside another. Its prefix has at most three parts there, so that it is never too long.
fn key_pattern() -> String {
    let key = LABEL_KEY.trim_start_matches('^').trim_end_matches('$');
    key.replace(")*/", "){0,2}/")
}

/// The pattern of a value inside another: bounded by itself.
const VALUE_PATTERN: &str = "([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?";

/// Labels in a query.
pub(super) fn label_list() -> Value {
    let pair = format!("{}={VALUE_PATTERN}", key_pattern());
    json!({ "type": "string", "pattern": format!("^{pair}(,{pair})*$"), "examples": ["team=blue,stage=test"] })
}

/// A selector of labels in a query.
pub(super) fn label_selector() -> Value {
    let (key, value) = (key_pattern(), VALUE_PATTERN);
    let part = format!("({key}(==?|!=){value}|!?{key}|{key} (in|notin) \\({value}(,{value})*\\))");
    json!({
        "type": "string",
        "maxLength": labels::MAX_SELECTOR_BYTES,
        "pattern": format!("^({part}(,{part})*)?$"),
        "examples": ["team=blue,stage in (test,dev),!draft"],
    })
}

/// How a schema is had: it may leave the types that it refers to with the generator.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Value;

/// Collects the types that answers refer to.
pub(super) fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator()
}

/// A reference to the schema of a type.
pub(super) fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// All the types that were referred to, by their names.
pub(super) fn definitions(mut generator: SchemaGenerator) -> Map<String, Value> {
    let mut definitions = generator.take_definitions(false);
    definitions.values_mut().for_each(tidy);
    definitions
}

/// The body of a submission: the fields of a job's spec, its name, its labels and the job that it repeats, and nothing else.
pub(super) fn submission(_: &mut SchemaGenerator) -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<JobSpec>().to_value();
    read_only(&mut schema);
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("title");
        schema.insert("additionalProperties".into(), json!(false));
    }
    let mut name = label();
    name["type"] = json!(["string", "null"]);
    name["description"] =
        json!("The job's name, unique in its namespace. Default: one that is made up.");
    schema["properties"]["name"] = name;
    let mut retry_of = label();
    retry_of["type"] = json!(["string", "null"]);
    retry_of["description"] = json!(
        "The name of the job that this one repeats, with changes: its annotation `windlass.dev/retry-of`. It is kept as it is \
         given; that job need not be there."
    );
    schema["properties"]["retryOf"] = retry_of;
    schema["properties"]["labels"] = json!({
        "type": ["object", "null"],
        "description": "Labels, by which the job is found again. Keys under `windlass.dev/` are refused.",
        "maxProperties": labels::MAX_LABELS,
        "propertyNames": { "pattern": LABEL_KEY },
        "additionalProperties":
            { "type": "string", "maxLength": labels::MAX_PART_BYTES, "pattern": LABEL_VALUE },
    });
    schema
}

/// The paths of all fields of a job, for `?fields=`: those that core knows, by the same schema.
pub(super) fn job_fields() -> Value {
    fn walk(root: &Value, schema: &Value, at: &str, known: &mut Vec<String>) {
        let referred =
            schema["$ref"].as_str().and_then(|path| root.pointer(path.strip_prefix('#')?));
        let choices = schema["anyOf"].as_array().into_iter().flatten();
        referred.into_iter().chain(choices).for_each(|part| walk(root, part, at, known));
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            walk(root, field, &path, known);
            known.push(path);
        }
    }
    let schema = schemars::schema_for!(Job).to_value();
    let mut known = Vec::new();
    walk(&schema, &schema, "", &mut known);
    known.sort_unstable();
    json!({ "type": "array", "minItems": 1, "maxItems": MAX_PATHS, "items": { "type": "string", "enum": known } })
}

/// A job, or with `?fields=` some fields of one.
pub(super) fn job_or_fields(generator: &mut SchemaGenerator) -> Value {
    let some = "With `fields`: only these, each in its place.";
    json!({ "anyOf": [schema_of::<Job>(generator), { "type": "object", "description": some }] })
}

/// A page of jobs, or with `?fields=` of some fields of each.
pub(super) fn jobs_or_fields(generator: &mut SchemaGenerator) -> Value {
    let some = schema_of::<ResourceList<Map<String, Value>>>(generator);
    json!({ "anyOf": [schema_of::<ResourceList<Job>>(generator), some] })
}

/// One event of the stream that follows a job.
pub(super) fn event(generator: &mut SchemaGenerator) -> Value {
    let data = [
        job_or_fields(generator),
        schema_of::<ProgressEvent<'_>>(generator),
        schema_of::<ProblemDocument<'_>>(generator),
    ];
    let text = "The job, its progress, or why it cannot be followed any more.";
    let mut event = event_of(&["job", "progress", "problem"], text, &data);
    event["properties"]["id"] =
        json!({ "type": "string", "description": "What has been seen: for `Last-Event-ID`." });
    event
}

/// One event of the stream that follows all jobs of a namespace.
pub(super) fn namespace_event(generator: &mut SchemaGenerator) -> Value {
    let data = [
        schema_of::<BegunEvent>(generator),
        job_or_fields(generator),
        schema_of::<DeletedEvent<'_>>(generator),
        schema_of::<ProblemDocument<'_>>(generator),
    ];
    let text = "Nothing yet, the job, which job is gone, or why they cannot be followed any more.";
    event_of(&["begun", "job", "deleted", "problem"], text, &data)
}

fn event_of(kinds: &[&str], text: &str, data: &[Value]) -> Value {
    json!({
        "type": "object",
        "description": "One event.",
        "required": ["event", "data"],
        "properties": {
            "event": { "type": "string", "enum": kinds },
            "data": {
                "type": "string",
                "description": text,
                "contentMediaType": "application/json",
                "contentSchema": { "anyOf": data }
            }
        }
    })
}

/// A name as Kubernetes has it: a DNS label.
pub(super) fn label() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME,
        "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
    })
}

/// Takes out what is for API servers only.
fn read_only(schema: &mut Value) {
    if let Some(schema) = schema.as_object_mut() {
        schema.retain(|keyword, _| !keyword.starts_with("x-kubernetes-"));
        bound(schema);
        parts(schema).for_each(read_only);
    }
}

/// A number of 32 bits has a largest one, which schemars leaves to its format.
fn bound(schema: &mut Map<String, Value>) {
    if schema.get("format").is_some_and(|format| format == "uint32") {
        schema.entry("maximum").or_insert_with(|| json!(u32::MAX));
    }
}

/// The same, and makes a schema of what is written say no more than that: an optional field is
/// absent, never null, and words are an `enum`.
fn tidy(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    schema.retain(|keyword, _| !keyword.starts_with("x-kubernetes-"));
    bound(schema);
    if let Some(words) = words(schema) {
        schema.remove("oneOf");
        schema.extend(words);
    }
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required =
        |name: &str| required.as_array().is_some_and(|all| all.contains(&json!(name)));
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, field) in fields.into_iter().flatten() {
        if !is_required(name) {
            never_null(field);
        }
    }
    parts(schema).for_each(tidy);
}

/// The schemas inside of a schema.
fn parts(schema: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    schema.iter_mut().flat_map(|(keyword, value)| match (keyword.as_str(), value) {
        ("properties", Value::Object(fields)) => fields.values_mut().collect::<Vec<_>>(),
        ("oneOf" | "anyOf" | "allOf", Value::Array(schemas)) => schemas.iter_mut().collect(),
        ("items" | "additionalProperties", schema @ Value::Object(_)) => vec![schema],
        _ => Vec::new(),
    })
}

/// `type`, `enum` and `description` of a choice between words, each of which is described.
fn words(schema: &Map<String, Value>) -> Option<Map<String, Value>> {
    let choices = schema.get("oneOf")?.as_array()?;
    let mut words = Vec::new();
    let mut text = schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    text.push('\n');
    for choice in choices {
        let word = choice.get("const")?.as_str()?;
        let meaning = choice.get("description").and_then(Value::as_str).unwrap_or_default();
        text += &format!("\n- `{word}`: {}", meaning.replace('\n', " "));
        words.push(word);
    }
    let described = json!({ "type": "string", "enum": words, "description": text.trim() });
    described.as_object().cloned()
}

/// Takes the null out of a field that is left out where it has no value.
fn never_null(field: &mut Value) {
    let null = json!("null");
    if let Some(Value::Array(types)) = field.get_mut("type") {
        types.retain(|name| *name != null);
        if let [only] = types.as_slice() {
            field["type"] = only.clone();
        }
    }
    let Some(Value::Array(choices)) = field.get_mut("anyOf") else { return };
    choices.retain(|choice| choice["type"] != null);
    if let ([Value::Object(only)], Some(field)) =
        (choices.clone().as_slice(), field.as_object_mut())
    {
        field.remove("anyOf");
        field.extend(only.clone());
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::{Function, Queue};

    use super::*;

    #[test]
    fn what_is_for_api_servers_is_taken_out() {
        let mut generator = generator();
        schema_of::<Job>(&mut generator);
        schema_of::<Function>(&mut generator);
        schema_of::<Queue>(&mut generator);
        let body = submission(&mut generator);
        let all = json!([definitions(generator), body]).to_string();
        assert!(!all.contains("x-kubernetes"), "{all}");
        assert!(!all.contains("self =="), "{all}");
    }

    #[test]
    fn a_field_that_is_left_out_is_never_null() {
        let mut generator = generator();
        schema_of::<Job>(&mut generator);
        let all = json!(definitions(generator));
        assert!(!all.to_string().contains(r#""null""#), "{all}");
        assert_eq!(all["JobStatus"]["properties"]["attempt"]["type"], "integer");
        assert_eq!(
            all["JobStatus"]["properties"]["result"]["$ref"],
            "#/components/schemas/JobResult"
        );
        assert_eq!(all["Phase"]["enum"].as_array().map(Vec::len), Some(6));
    }

    #[test]
    fn a_submission_has_the_specs_fields_and_a_name_and_no_others() {
        let body = submission(&mut generator());
        let fields: Vec<_> = body["properties"].as_object().unwrap().keys().collect();
        assert!(fields.iter().any(|name| *name == "name"), "{fields:?}");
        assert!(fields.iter().any(|name| *name == "timeoutSeconds"), "{fields:?}");
        assert_eq!(body["required"], json!(["function"]));
        assert_eq!(body["additionalProperties"], json!(false));
    }
}
