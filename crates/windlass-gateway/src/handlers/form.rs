//! `multipart/form-data`: an input and files in one request, as `curl -F` and the form of a page send them.
//!
//! Each part goes to the store as it comes. The parser of parts takes all that is ready, so it is given one piece
//! at a time, and no head of a part is longer than a bound.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use http::{HeaderMap, header};
use multer::{Field, Multipart};
use serde_json::{Map, Value, json};
use windlass_core::blob::{MAX_FILES, file_name_problem};
use windlass_core::blobs::NotStored;
use windlass_core::result::ByteStream;
use windlass_core::{FunctionSpec, Problem, media_type, parse};

use super::input::{Incoming, Input, is_plain_json};
use super::jobs::validate_and_submit::find_function;
use crate::protocol::bearer::BearerToken;
use crate::protocol::body;
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::headers::single_value;
use crate::protocol::limits::MAX_SUBMIT_BYTES;
use crate::protocol::problem::ProblemKind;
use crate::state::GatewayState;

/// Most bytes that may come without a part that goes on or begins: the head of one.
const MAX_HEAD_BYTES: usize = 1 << 20;

/// The part that is a job's spec.
const JOB: &str = "job";

/// The part that is the input.
const INPUT: &str = "input";

/// A form on its way.
pub(crate) struct Form<'a> {
    state: &'a GatewayState,
    token: &'a BearerToken,
    namespace: &'a str,
    parts: Multipart<'static>,
    unused: Arc<AtomicUsize>,
}

/// Whether a request has a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let said = single_value(headers, header::CONTENT_TYPE);
    said.is_some_and(|said| media_type::essence(said) == "multipart/form-data")
}

impl<'a> Form<'a> {
    pub(crate) fn of(
        state: &'a GatewayState,
        token: &'a BearerToken,
        namespace: &'a str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, ApiError> {
        body::refuse_encoding(headers)?;
        let said = single_value(headers, header::CONTENT_TYPE).unwrap_or_default();
        let boundary = multer::parse_boundary(said)
            .map_err(|_| ApiError::new(ProblemKind::MediaType, "the form names no boundary"))?;
        let unused = Arc::new(AtomicUsize::new(0));
        let content = body::bounded_silence(body, state.gateway.limits.body);
        let paced = Paced { content, unused: Arc::clone(&unused), rests: false };
        Ok(Self { state, token, namespace, parts: Multipart::new(paced, boundary), unused })
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
        self.unused.store(0, Ordering::Relaxed);
        let field = self.parts.next_field().await;
        let field = field.map_err(|error| match failure(error) {
            Failure::Content(error) => NotStored::Content(error).into(),
            Failure::Form(why) => ApiError::new(ProblemKind::Malformed, why),
        })?;
        field.map(|field| Part::of(field, &self.unused)).transpose()
    }
}

/// A part of a form.
struct Part {
    name: String,
    media_type: String,
    content: ByteStream,
}

impl Part {
    fn of(field: Field<'static>, unused: &Arc<AtomicUsize>) -> Result<Self, ApiError> {
        let Some(name) = field.name().map(str::to_owned) else {
            return Err(ApiError::new(ProblemKind::Malformed, "a part of the form has no name"));
        };
        let said = field.headers().get(header::CONTENT_TYPE);
        let media_type = match said.map(|said| said.to_str().unwrap_or_default()) {
            Some(said) => said.to_owned(),
            None if field.file_name().is_some() => media_type::BYTES.to_owned(),
            None if name == JOB => media_type::JSON.to_owned(),
            None => "text/plain".to_owned(),
        };
        if let Some(why) = media_type::problem(&media_type) {
            return Err(wrong(format!("/{name}"), format!("its Content-Type {why}")));
        }
        let unused = Arc::clone(unused);
        let content = field.map_err(|error| match failure(error) {
            Failure::Content(error) => error,
            Failure::Form(why) => io::Error::other(why),
        });
        let content = content.inspect_ok(move |_| unused.store(0, Ordering::Relaxed));
        Ok(Self { name, media_type, content: Box::pin(content) })
    }
}

fn wrong(pointer: impl Into<String>, why: impl Into<String>) -> ApiError {
    ApiError::invalid(vec![Problem::at(pointer, why)])
}

/// Why a form cannot be read on.
enum Failure {
    /// Its bytes do not come.
    Content(io::Error),
    /// It is none.
    Form(String),
}

fn failure(error: multer::Error) -> Failure {
    match error {
        multer::Error::StreamReadFailed(error) => Failure::Content(match error.downcast() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        }),
        error => Failure::Form(format!("the form cannot be read: {error}")),
    }
}

/// A body in pieces, of which each is taken before the next one is given.
struct Paced {
    content: ByteStream,
    /// Bytes that were given since the last that a part was made of.
    unused: Arc<AtomicUsize>,
    rests: bool,
}

impl Stream for Paced {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rests) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = ready!(self.content.as_mut().poll_next(context));
        if let Some(Ok(piece)) = &piece {
            self.rests = true;
            let before = self.unused.fetch_add(piece.len(), Ordering::Relaxed);
            if before > MAX_HEAD_BYTES {
                return Poll::Ready(Some(Err(io::Error::other("the head of a part is too long"))));
            }
        }
        Poll::Ready(piece)
    }
}
