//! Requests and answers as the API server's HTTP has them.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use serde_json::{Value, json};

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

pub(super) type Query = BTreeMap<String, String>;

/// A request's path.
#[derive(Clone)]
pub(super) struct Path {
    pub(super) plural: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Path {
    pub(super) fn read(path: &str) -> Option<Self> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        match parts.next()? {
            "api" => drop(parts.next()?),
            "apis" => drop((parts.next()?, parts.next()?)),
            _ => return None,
        }
        let mut rest: Vec<_> = parts.map(str::to_owned).collect();
        let namespace = (rest.first().is_some_and(|part| part == "namespaces") && rest.len() > 2)
            .then(|| rest.drain(..2).nth(1))
            .flatten();
        let mut rest = rest.into_iter();
        Some(Self { plural: rest.next()?, namespace, name: rest.next(), subresource: rest.next() })
    }
}

/// The parameters of a request.
pub(super) fn read_query(query: &str) -> Query {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), decoded(&value.replace('+', " ")))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex: String = if byte == b'%' {
            rest.by_ref().take(2).map(char::from).collect()
        } else {
            String::new()
        };
        bytes.push(u8::from_str_radix(&hex, 16).unwrap_or(byte));
    }
    String::from_utf8(bytes).unwrap()
}

pub(super) fn json_answer(code: StatusCode, value: &Value) -> Answer {
    let body = Full::new(Bytes::from(value.to_string()));
    let body = UnsyncBoxBody::new(body.map_err(|never| match never {}));
    Response::builder().status(code).body(body).unwrap()
}

/// What the core API has, as far as somebody asks.
pub(super) fn core_resources() -> Answer {
    let resize = json!({ "name": "pods/resize", "singularName": "", "namespaced": true,
        "kind": "Pod", "verbs": ["get", "patch"] });
    let all = json!({ "kind": "APIResourceList", "groupVersion": "v1", "resources": [resize] });
    json_answer(StatusCode::OK, &all)
}

pub(super) fn problem(code: u16, message: &str) -> Answer {
    let reason = match code {
        404 => "NotFound",
        409 if message.starts_with("already") => "AlreadyExists",
        409 => "Conflict",
        _ => "InternalError",
    };
    let status = json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
        "reason": reason, "message": message });
    json_answer(StatusCode::from_u16(code).unwrap(), &status)
}
