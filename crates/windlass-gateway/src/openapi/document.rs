//! The document of the API: what it is, for programs and for people.
//!
//! In: the table of routes, the words of [`operations`](super::operations), core's types by
//! [`schemas`]. Out: one OpenAPI 3.1 document, and the [`page`] that is made from it. What follows
//! from a route is added here, so that it is always right: the parameters of its path, who may
//! call it, and how the guard refuses.
//!
//! Deliberately absent: the input schemas of functions, which are data and not of the API
//! (`GET .../functions/{name}` has them); addresses outside; scripts.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};
use windlass_core::{API_VERSION, AttemptNumber};

use super::operation::{Answer, Body, Content, Operation, Parameter, Tag};
use super::operations::{OPERATIONS, operation_of};
use super::{page, schemas};
use crate::protocol::error::ProblemDocument;
use crate::protocol::problem::ProblemKind;
use crate::protocol::route::{Guard, Route};
use crate::state::ApiDocument;

/// What the document says before its operations.
const ABOUT: &str = "\
Windlass runs expensive, parallel requests: a request names a function, carries an input and asks for a number \
of CPUs. It is granted the CPUs, runs with exactly that many threads, tells how far it is, and gives its result.

A request carries `Authorization: Bearer TOKEN`. On one machine the token is in the file `token` of the server's \
data directory and the one namespace is `default`; on a cluster it is a token of the cluster, good for what its \
owner may do with `computejobs`. Who may not read a namespace gets 404 for all that is in it.

Every refusal is a problem document (RFC 9457) whose `type` a program can rely on; where a body is wrong, \
`problems` names each place with a JSON pointer. 429 and 503 say in `Retry-After` when to come again. A path that \
does not exist is 404, a method that it does not have 405 with `Allow`. HEAD is answered where GET is. A head of \
more than 32 KiB or 64 lines is 431, without a document.

Answers may get further fields in a later version; a client ignores what it does not know. What a function reads \
as `input` is described by the function itself (`spec.inputSchema`), not here.";

/// The document of these routes, and its page.
pub(crate) fn api_document(routes: &[Route]) -> ApiDocument {
    let document = openapi_document(routes);
    let json = document.to_string();
    let page = page::render(&document);
    ApiDocument { document, json, page, page_policy: page::content_security_policy() }
}

/// The OpenAPI document of these routes.
fn openapi_document(routes: &[Route]) -> Value {
    let mut generator = schemas::generator();
    schemas::schema_of::<ProblemDocument<'_>>(&mut generator);
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut refusals = BTreeMap::new();
    for route in routes {
        let Some(operation) = operation_of(route) else { continue };
        let described = describe(route, operation, &mut generator, &mut refusals);
        let methods = paths.entry(route.path).or_default();
        methods.insert(route.method.as_str().to_ascii_lowercase(), described);
    }
    let tags: Vec<_> = Tag::ALL
        .map(Tag::describe)
        .into_iter()
        .map(|(name, text)| json!({ "name": name, "description": text }))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Windlass",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "x-api-version": API_VERSION,
        },
        "servers": [{ "url": "/", "description": "The server that gives this document." }],
        "security": [{ "bearer": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "responses": refusals,
            "schemas": schemas::definitions(generator),
        }
    })
}

fn describe(
    route: &Route,
    operation: &Operation,
    generator: &mut SchemaGenerator,
    refusals: &mut BTreeMap<String, Value>,
) -> Value {
    let mut answers = BTreeMap::new();
    for answer in operation.answers {
        answers.insert(answer.status.to_string(), describe_answer(operation, answer, generator));
    }
    for (status, kinds) in refused_with(route, operation) {
        let name = kinds.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join("Or");
        answers.insert(
            status.to_string(),
            json!({ "$ref": format!("#/components/responses/{name}") }),
        );
        refusals.entry(name).or_insert_with(|| describe_refusal(&kinds));
    }
    let parameters: Vec<_> = names_in(route.path)
        .map(describe_path_parameter)
        .chain(operation.parameters.iter().map(describe_parameter))
        .collect();
    let mut described = json!({
        "operationId": operation.id,
        "tags": [operation.tag.describe().0],
        "summary": operation.summary,
        "description": operation.text,
        "parameters": parameters,
        "responses": answers,
    });
    if let Some(body) = &operation.body {
        let mut content = json!({ "schema": (body.schema)(generator) });
        if let Some(example) = body.example {
            content["example"] = example();
        }
        described["requestBody"] = json!({
            "description": body.text,
            "required": true,
            "content": { body.media_type: content },
        });
    }
    if route.guard == Guard::Open {
        described["security"] = json!([{}, { "bearer": [] }]);
    }
    described
}

fn describe_answer(
    operation: &Operation,
    answer: &Answer,
    generator: &mut SchemaGenerator,
) -> Value {
    let mut described = json!({ "description": answer.text });
    let content = match answer.content {
        Content::None => None,
        Content::Json(schema) => Some(("application/json", json!({ "schema": schema(generator) }))),
        Content::Events(schema) => {
            Some(("text/event-stream", json!({ "schema": schema(generator) })))
        }
        Content::Text(media_type) => Some((media_type, json!({ "schema": { "type": "string" } }))),
        Content::Bytes => Some(("*/*", json!({}))),
    };
    if let Some((media_type, content)) = content {
        described["content"] = json!({ media_type: content });
    }
    for header in answer.headers {
        described["headers"][header.name] = json!({
            "description": header.text,
            "required": header.always,
            "schema": (header.schema)(),
        });
    }
    // What can be done with a new job, for people and for programs that walk through the API.
    if operation.id == "submitJob" {
        let about_one = OPERATIONS.iter().filter(|next| next.route.1.contains("/jobs/{name}"));
        for next in about_one {
            described["links"][next.id] = json!({
                "operationId": next.id,
                "parameters": {
                    "namespace": "$request.path.namespace",
                    "name": "$response.body#/metadata/name",
                }
            });
        }
    }
    described
}

/// How an operation says no, by status.
fn refused_with(route: &Route, operation: &Operation) -> BTreeMap<u16, Vec<ProblemKind>> {
    let by_guard: &[ProblemKind] = match route.guard {
        Guard::Open => &[ProblemKind::Unauthenticated, ProblemKind::Rate, ProblemKind::Unavailable],
        Guard::Metrics => &[
            ProblemKind::Unauthenticated,
            ProblemKind::Forbidden,
            ProblemKind::Rate,
            ProblemKind::Unavailable,
        ],
        Guard::Jobs(_)
        | Guard::Functions(_)
        | Guard::Queues(_)
        | Guard::Worker
        | Guard::Peer
        | Guard::Admin
        | Guard::LoginCode => &[
            ProblemKind::Unauthenticated,
            ProblemKind::Forbidden,
            ProblemKind::NotFound,
            ProblemKind::Rate,
            ProblemKind::Unavailable,
        ],
    };
    let everywhere: &[_] =
        &[ProblemKind::Host, ProblemKind::Origin, ProblemKind::Internal, ProblemKind::Deadline];
    let by_body = operation.body.as_ref().map_or(&[][..], Body::refusals);
    let mut refusals: BTreeMap<u16, Vec<ProblemKind>> = BTreeMap::new();
    for &kind in ProblemKind::ALL {
        if [by_guard, everywhere, by_body, operation.refusals]
            .iter()
            .any(|kinds| kinds.contains(&kind))
        {
            refusals.entry(kind.describe().2.as_u16()).or_default().push(kind);
        }
    }
    refusals
}

fn describe_refusal(kinds: &[ProblemKind]) -> Value {
    let described: Vec<_> = kinds.iter().map(|kind| kind.describe()).collect();
    let titles: Vec<_> = described.iter().map(|(_, title, _)| *title).collect();
    let types: Vec<_> = described.iter().map(|(name, _, _)| *name).collect();
    let mut refusal = json!({
        "description": format!("{}.", titles.join("; or: ")),
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [
                        { "$ref": "#/components/schemas/ProblemDocument" },
                        { "type": "object", "properties": { "type": { "enum": types } } }
                    ]
                }
            }
        }
    });
    let mut header = |name: &str, text: &str, schema: Value| {
        refusal["headers"][name] =
            json!({ "description": text, "required": true, "schema": schema });
    };
    if kinds.contains(&ProblemKind::Unauthenticated) {
        header("WWW-Authenticate", "What is needed.", json!({ "const": "Bearer" }));
    }
    if kinds.contains(&ProblemKind::Range) {
        let schema = json!({ "type": "string", "pattern": "^bytes \\*/[0-9]+$" });
        header("Content-Range", "How many bytes there are.", schema);
    }
    if kinds.iter().any(|kind| {
        matches!(kind, ProblemKind::Busy | ProblemKind::Rate | ProblemKind::Unavailable)
    }) {
        let schema = json!({ "type": "integer", "minimum": 1 });
        header("Retry-After", "When to come again, in seconds.", schema);
    }
    refusal
}

/// The names of the parameters of a path.
fn names_in(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn describe_path_parameter(name: &str) -> Value {
    let (text, schema) = match name {
        "namespace" => ("The namespace; `default` on one machine.", schemas::label()),
        "job_uid" => {
            ("UID of the job.", json!({ "type": "string", "minLength": 1, "maxLength": 64 }))
        }
        "attempt" => (
            "Number of the attempt.",
            json!({ "type": "integer", "minimum": 1, "maximum": AttemptNumber::MAX }),
        ),
        "digest" => (
            "The digest of the bytes.",
            json!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" }),
        ),
        _ => ("Its name.", schemas::label()),
    };
    json!({ "name": name, "in": "path", "required": true, "description": text, "schema": schema })
}

fn describe_parameter(parameter: &Parameter) -> Value {
    let schema = (parameter.schema)();
    let is_list = schema["type"] == "array";
    let mut described = json!({
        "name": parameter.name,
        "in": parameter.location,
        "required": parameter.required,
        "description": parameter.text,
        "schema": schema,
    });
    if is_list {
        // Separated by commas, not repeated.
        described["explode"] = json!(false);
    }
    described
}
