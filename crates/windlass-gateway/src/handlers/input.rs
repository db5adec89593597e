//! The body of a call as the input of its job: JSON that is small stays in the job, everything else is a blob.

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, header};
use serde_json::{Value, json};
use windlass_core::blobs::{Blobs, NewBlob};
use windlass_core::job::MAX_INPUT_BYTES;
use windlass_core::result::ByteStream;
use windlass_core::validate::only_inline;
use windlass_core::{BlobRef, FunctionSpec, JobKey, Problem, media_type, parse, strict_json};

use super::jobs::validate_and_submit::find_function;
use crate::protocol::bearer::BearerToken;
use crate::protocol::body::{self, Begin};
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::headers::single_value;
use crate::protocol::limits::MAX_SUBMIT_BYTES;
use crate::protocol::problem::ProblemKind;
use crate::state::GatewayState;

/// What a call's body is to its job.
pub(crate) enum Input {
    /// The field `input`.
    Inline(Value),
    /// The field `inputBlob`.
    Blob(BlobRef),
}

impl Input {
    /// The field of the spec that it is.
    pub(crate) fn into_field(self) -> (&'static str, Value) {
        match self {
            Self::Inline(input) => ("input", input),
            Self::Blob(blob) => ("inputBlob", json!(blob)),
        }
    }
}

/// An input on its way, and what its function takes.
pub(crate) struct Incoming<'a> {
    pub(crate) state: &'a GatewayState,
    pub(crate) namespace: &'a str,
    /// `None` where it is gone: a call that is repeated needs it no more.
    pub(crate) function: Option<FunctionSpec>,
    /// Its name.
    pub(crate) name: &'a str,
    pub(crate) media_type: String,
}

/// Reads the body of a call.
pub(crate) async fn read_input(
    state: &GatewayState,
    token: &BearerToken,
    function: &JobKey,
    headers: &HeaderMap,
    body: Body,
) -> Result<Input, ApiError> {
    body::refuse_encoding(headers)?;
    let JobKey { namespace, name } = function;
    let limits = &state.gateway.limits;
    let media_type = content_type(headers)?;
    let found = within(limits.request, find_function(state, token, namespace, name)).await??;
    let function = match found {
        Ok(function) => Some(function.spec),
        Err(_) if is_plain_json(&media_type) => None,
        Err(missing) => return Err(ApiError::new(ProblemKind::NotFound, missing.message)),
    };
    let incoming = Incoming { state, namespace, function, name, media_type };
    incoming.check_type()?;
    let content = body::bounded_silence(body, limits.body);
    if is_plain_json(&incoming.media_type) {
        let begin = body::read_begin(content, MAX_SUBMIT_BYTES, limits.body).await?;
        return incoming.read_json(begin).await;
    }
    incoming.store(body::announced_bytes(headers), content).await.map(Input::Blob)
}

impl Incoming<'_> {
    /// Whether the function takes its type.
    pub(crate) fn check_type(&self) -> Result<(), ApiError> {
        match &self.function {
            Some(function) if !function.takes(&self.media_type) => {
                let taken = function.input_types().join(", ");
                let why = format!("send Content-Type: {taken}, not {}", self.media_type);
                Err(ApiError::new(ProblemKind::MediaType, why))
            }
            _ => Ok(()),
        }
    }

    /// JSON, of which the begin was read.
    pub(crate) async fn read_json(&self, begin: Begin) -> Result<Input, ApiError> {
        let Begin { bytes, rest } = begin;
        let has_schema = self.function.as_ref().is_some_and(|spec| spec.input_schema.is_some());
        let no_room = self.state.gateway.blobs.is_none();
        if rest.is_none() {
            let value = parse::submitted(&bytes)?;
            let is_object = value.is_object();
            if is_object && (no_room || has_schema || is_small(&value)) {
                return Ok(Input::Inline(value));
            }
            if !is_object && (no_room || has_schema) {
                let problem = Problem::at("", "must be an object: the function's input");
                return Err(ApiError::invalid(vec![problem]));
            }
        } else if no_room {
            return Err(body::too_large(MAX_SUBMIT_BYTES as u64));
        } else if has_schema {
            return Err(ApiError::new(ProblemKind::TooLarge, only_inline(self.name)));
        }
        let begin = stream::once(async move { Ok::<Bytes, std::io::Error>(bytes) });
        let content: ByteStream = match rest {
            Some(rest) => Box::pin(begin.chain(rest)),
            None => Box::pin(begin),
        };
        self.store(None, content).await.map(Input::Blob)
    }

    /// Makes a blob of an input.
    pub(crate) async fn store(
        &self,
        announced: Option<u64>,
        content: ByteStream,
    ) -> Result<BlobRef, ApiError> {
        self.store_as(strict_json::is_json(&self.media_type), announced, content).await
    }

    /// Makes a blob of a file.
    pub(crate) async fn store_file(&self, content: ByteStream) -> Result<BlobRef, ApiError> {
        self.store_as(false, None, content).await
    }

    async fn store_as(
        &self,
        is_json: bool,
        announced: Option<u64>,
        content: ByteStream,
    ) -> Result<BlobRef, ApiError> {
        let blobs = blobs_of(self.state)?;
        let max = self.function.as_ref().map(FunctionSpec::max_input_bytes);
        if let Some(max) = max.filter(|max| announced.is_some_and(|bytes| bytes > *max)) {
            return Err(body::too_large(max));
        }
        let new = NewBlob { max_bytes: max, is_json, announced, ..NewBlob::default() };
        let stored = blobs.store(self.namespace, &new, content).await;
        let stored = self.state.gateway.meters.record_blob(stored)?.blob;
        let media_type = self.media_type.clone();
        Ok(BlobRef { sha256: stored.sha256, bytes: stored.bytes, media_type })
    }
}

/// Where blobs are kept.
pub(crate) fn blobs_of(state: &GatewayState) -> Result<&dyn Blobs, ApiError> {
    let why = "this server takes application/json of at most 128 KiB: its gateway has no object store (results.url) for others";
    let blobs = state.gateway.blobs.as_deref();
    blobs.ok_or_else(|| ApiError::new(ProblemKind::MediaType, why))
}

/// The media type of a body, which is that of bytes where nothing is said.
fn content_type(headers: &HeaderMap) -> Result<String, ApiError> {
    if !headers.contains_key(header::CONTENT_TYPE) {
        return Ok(media_type::BYTES.into());
    }
    let said = single_value(headers, header::CONTENT_TYPE).unwrap_or_default();
    match media_type::problem(said) {
        None => Ok(said.to_owned()),
        Some(why) => Err(ApiError::new(ProblemKind::MediaType, format!("Content-Type {why}"))),
    }
}

/// Whether a type is that of inline inputs.
pub(crate) fn is_plain_json(media_type: &str) -> bool {
    media_type::essence(media_type) == media_type::JSON
}

/// Whether a JSON value fits into a job.
fn is_small(value: &Value) -> bool {
    serde_json::to_vec(value).is_ok_and(|bytes| bytes.len() <= MAX_INPUT_BYTES)
}
