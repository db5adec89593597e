//! `multipart/form-data`: an input and files in one request, as `curl -F` and the form of a page send them.
//!
//! Each part goes to the store as it comes.

use std::collections::BTreeSet;

use axum::body::Body;
use http::{HeaderMap, header};
use serde_json::{Map, Value, json};
use windlass_core::blob::{MAX_FILES, file_name_problem};
use windlass_core::blobs::NotStored;
use windlass_core::{FunctionSpec, Problem, media_type, parse};

use super::input::{Incoming, Input, is_plain_json};
use super::jobs::validate_and_submit::find_function;
use crate::protocol::bearer::BearerToken;
use crate::protocol::body;
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::headers::single_value;
use crate::protocol::limits::MAX_SUBMIT_BYTES;
use crate::protocol::multipart::{JOB, Part, Parts, Unread};
use crate::protocol::problem::ProblemKind;
use crate::state::GatewayState;

/// The part that is the input.
const INPUT: &str = "input";

/// A form on its way.
pub(crate) struct Form<'a> {
    state: &'a GatewayState,
    token: &'a BearerToken,
    namespace: &'a str,
    parts: Parts,
}

/// Whether a request has a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let said = single_value(headers, header::CONTENT_TYPE);
    said.is_some_and(|said| media_type::essence(said) == "multipart/form-data")
}

impl<'a> Form<'a> {
    pub(crate) fn of_request(
        state: &'a GatewayState,
        token: &'a BearerToken,
        namespace: &'a str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, ApiError> {
        body::refuse_encoding(headers)?;
        let said = single_value(headers, header::CONTENT_TYPE).unwrap_or_default();
        let content = body::bounded_silence(body, state.gateway.limits.body);
        let no_boundary = || ApiError::new(ProblemKind::MediaType, "the form names no boundary");
        let parts = Parts::of_body(said, content).ok_or_else(no_boundary)?;
        Ok(Self { state, token, namespace, parts })
    }

    /// The fields of a job: its part `job` comes first, and the others belong to it.
    pub(crate) async fn job(mut self) -> Result<Value, ApiError> {
        let first = self.next().await?;
        let Some(part) = first.filter(|part| part.name == JOB) else {
            return Err(wrong(format!("/{JOB}"), "must be the first part of the form"));
        };
        let (max, limit) = (MAX_SUBMIT_BYTES, self.state.gateway.limits.body);
        let begin = body::read_begin(part.content, max, limit).await?;
        if begin.rest.is_some() {
            return Err(body::too_large(max as u64));
        }
        let mut job = parse::submitted(&begin.bytes)?;
        let function = job["function"].as_str().unwrap_or_default().to_owned();
        let spec = self.function(&function).await?.map_err(|why| ApiError::invalid(vec![why]))?;
        let sent = self.read_inputs(&function, &spec).await?;
        let Some(fields) = job.as_object_mut() else {
            return Err(wrong("", "must be an object: the fields of a job's spec"));
        };
        for (field, value) in sent {
            if fields.insert(field.clone(), value).is_some() {
                let why = "is in the job and beside it; leave out one";
                return Err(wrong(format!("/{field}"), why));
            }
        }
        Ok(job)
    }

    /// The fields of a spec that a form is to a call: it has the input and files of any other name.
    pub(crate) async fn inputs(mut self, function: &str) -> Result<Map<String, Value>, ApiError> {
        let missing = |problem: Problem| ApiError::new(ProblemKind::NotFound, problem.message);
        let spec = self.function(function).await?.map_err(missing)?;
        self.read_inputs(function, &spec).await
    }

    async fn function(&self, name: &str) -> Result<Result<FunctionSpec, Problem>, ApiError> {
        let limit = self.state.gateway.limits.request;
        let found =
            within(limit, find_function(self.state, self.token, self.namespace, name)).await??;
        Ok(found.map(|function| function.spec))
    }

    async fn read_inputs(
        &mut self,
        function: &str,
        spec: &FunctionSpec,
    ) -> Result<Map<String, Value>, ApiError> {
        let (mut fields, mut files, mut names) = (Map::new(), Map::new(), BTreeSet::new());
        while let Some(part) = self.next().await? {
            let name = part.name.clone();
            if !names.insert(name.clone()) {
                return Err(wrong(format!("/{name}"), "is there twice"));
            }
            if name == INPUT {
                let (field, value) = self.input(part, spec, function).await?.into_field();
                fields.insert(field.into(), value);
            } else if files.len() == MAX_FILES {
                return Err(wrong("/files", format!("at most {MAX_FILES}")));
            } else if let Some(why) = file_name_problem(&name) {
                return Err(wrong("/files", format!("{name:?} {why}")));
            } else {
                let incoming = self.incoming(&part, spec, function);
                let blob = incoming.store_file(part.content).await?;
                files.insert(name, json!(blob));
            }
        }
        if !files.is_empty() {
            fields.insert("files".into(), files.into());
        }
        Ok(fields)
    }

    async fn input(
        &self,
        part: Part,
        spec: &FunctionSpec,
        function: &str,
    ) -> Result<Input, ApiError> {
        let incoming = self.incoming(&part, spec, function);
        incoming.check_type()?;
        if !is_plain_json(&part.media_type) {
            return incoming.store(None, part.content).await.map(Input::Blob);
        }
        let limit = self.state.gateway.limits.body;
        let begin = body::read_begin(part.content, MAX_SUBMIT_BYTES, limit).await?;
        incoming.read_json(begin).await
    }

    fn incoming<'b>(&'b self, part: &Part, spec: &FunctionSpec, name: &'b str) -> Incoming<'b> {
        let (function, media_type) = (Some(spec.clone()), part.media_type.clone());
        Incoming { state: self.state, namespace: self.namespace, function, name, media_type }
    }

    async fn next(&mut self) -> Result<Option<Part>, ApiError> {
        self.parts.next().await.map_err(|why| match why {
            Unread::Content(error) => NotStored::Content(error).into(),
            Unread::Form(why) => ApiError::new(ProblemKind::Malformed, why),
            Unread::Part { name, why } => wrong(format!("/{name}"), why),
        })
    }
}

fn wrong(pointer: impl Into<String>, why: impl Into<String>) -> ApiError {
    ApiError::invalid(vec![Problem::at(pointer, why)])
}
