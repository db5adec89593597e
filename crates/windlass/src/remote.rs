//! `Jobs` of a server, over its REST API.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::{TryStreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Method, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use windlass_core::jobs::{Filter, Page, Submission, Watch};
use windlass_core::result::{ByteStream, Content, Stored, StoredResult, inline_bytes};
use windlass_core::status::Progress;
use windlass_core::{AttemptNumber, Error, Function, Job, JobKey, Jobs, Problem, Queue};

use crate::client::{Client, Sent};

/// Most jobs that are asked for at once: an answer of them is at most 16 MiB.
const PAGE: u32 = 100;

/// Longest silence of a stream; a server says something every 15 s.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a server that was there may be gone while a job of it is followed.
const PATIENCE: Duration = Duration::from_secs(60);

/// First and longest pause between two tries.
const BACKOFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// Longest event of a stream, in bytes: a job with its input and result, escaped.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// The jobs of a server.
#[derive(Clone)]
pub(crate) struct RemoteJobs(Client);

impl RemoteJobs {
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }

    /// Submits a job. The same key gives the same job again.
    pub(crate) async fn submit_once(
        &self,
        submission: Submission,
        key: Option<&str>,
    ) -> Result<Job, Error> {
        // A server makes the digest of a request itself.
        let Submission { namespace, name, spec, request_sha256: _ } = submission;
        let mut body = serde_json::to_value(spec).map_err(|error| Error::Bug(error.to_string()))?;
        if let (Some(fields), Some(name)) = (body.as_object_mut(), name) {
            fields.insert("name".into(), Value::String(name));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let wrong =
                |_| Error::Invalid(vec![Problem::at("", "the key has characters that none has")]);
            headers.insert("idempotency-key", key.parse().map_err(wrong)?);
        }
        let sent = Sent { body: Some(body.to_string().into_bytes()), headers };
        let path = format!("/v1/namespaces/{namespace}/jobs");
        self.0.json(Method::POST, &path, sent).await.map_err(no_place)
    }

    async fn of_job<T: DeserializeOwned>(
        &self,
        method: Method,
        key: &JobKey,
        rest: &str,
    ) -> Result<T, Error> {
        let found = self.0.json(method, &path(key, rest), Sent::default()).await;
        found.map_err(|error| no_job(error, key))
    }

    async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Error> {
        let found = self.0.json(Method::GET, path, Sent::default()).await;
        let found: Listing<T> = found.map_err(no_place)?;
        Ok(found.items)
    }

    async fn one<T: DeserializeOwned>(
        &self,
        namespace: &str,
        kinds: &str,
        kind: &'static str,
        name: &str,
    ) -> Result<T, Error> {
        let path = format!("/v1/namespaces/{namespace}/{kinds}/{name}");
        let found = self.0.json(Method::GET, &path, Sent::default()).await;
        found.map_err(|error| match error {
            Error::NotFound { .. } => Error::NotFound { kind, name: name.to_owned() },
            other => other,
        })
    }
}

/// A list in the shape that the Kubernetes API gives.
#[derive(Deserialize)]
struct Listing<T> {
    #[serde(default)]
    metadata: ListMetadata,
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue")]
    continue_from: Option<String>,
}

fn path(key: &JobKey, rest: &str) -> String {
    format!("/v1/namespaces/{}/jobs/{}{rest}", key.namespace, key.name)
}

/// What a 404 at a job's path means.
fn no_job(error: Error, key: &JobKey) -> Error {
    match error {
        Error::NotFound { .. } => Error::no_job(&key.name),
        other => other,
    }
}

/// What a 404 means where a namespace alone is named: nobody says whether there is one.
fn no_place(error: Error) -> Error {
    match error {
        Error::NotFound { name: detail, .. } => Error::Denied(detail),
        other => other,
    }
}

#[async_trait]
impl Jobs for RemoteJobs {
    async fn submit(&self, submission: Submission) -> Result<Job, Error> {
        self.submit_once(submission, None).await
    }

    async fn get(&self, key: &JobKey) -> Result<Job, Error> {
        self.of_job(Method::GET, key, "").await
    }

    async fn list(&self, namespace: &str, filter: &Filter) -> Result<Page, Error> {
        let Filter { function, queue, phase, limit, continue_from } = filter;
        let limit = if *limit == 0 { PAGE } else { (*limit).min(PAGE) };
        let mut path = format!("/v1/namespaces/{namespace}/jobs?limit={limit}");
        for (name, value) in [
            ("function", function.as_deref()),
            ("queue", queue.as_deref()),
            ("phase", phase.map(windlass_core::Phase::as_str)),
            ("continue", continue_from.as_deref()),
        ] {
            if let Some(value) = value {
                path += &format!("&{name}={}", escaped(value));
            }
        }
        let page = self.0.json(Method::GET, &path, Sent::default()).await;
        let page: Listing<Job> = page.map_err(no_place)?;
        Ok(Page { items: page.items, continue_from: page.metadata.continue_from })
    }

    async fn cancel(&self, key: &JobKey) -> Result<Job, Error> {
        self.of_job(Method::POST, key, "/cancel").await
    }

    async fn delete(&self, key: &JobKey) -> Result<(), Error> {
        let deleted = self.0.whole(Method::DELETE, &path(key, ""), Sent::default()).await;
        deleted.map(drop).map_err(|error| no_job(error, key))
    }

    async fn watch(&self, key: &JobKey) -> Result<Box<dyn Watch>, Error> {
        let mut watch =
            RemoteWatch { client: self.0.clone(), key: key.clone(), events: None, latest: None };
        watch.connect().await?;
        Ok(Box::new(watch))
    }

    async fn result(&self, key: &JobKey) -> Result<StoredResult, Error> {
        let job = self.get(key).await?;
        let Some(result) = job.status.result.clone() else { return Err(Error::no_result(&job)) };
        let content = match &result.location {
            None => {
                Content::Inline(inline_bytes(&result).ok_or_else(|| Error::damaged(key))?.into())
            }
            Some(_) => Content::Stored(Box::new(RemoteResult(self.0.clone(), key.clone()))),
        };
        Ok(StoredResult {
            bytes: result.bytes,
            content_type: result.content_type,
            sha256: result.sha256,
            content,
        })
    }

    async fn logs(&self, key: &JobKey, limit: u64) -> Result<Vec<u8>, Error> {
        let path = path(key, &format!("/logs?tailBytes={limit}"));
        let logs = self.0.whole(Method::GET, &path, Sent::default()).await;
        Ok(logs.map_err(|error| no_job(error, key))?.to_vec())
    }

    async fn follow_logs(&self, key: &JobKey, tail: u64) -> Result<ByteStream, Error> {
        let path = path(key, &format!("/logs?follow=true&tailBytes={tail}"));
        let logs = self.0.open(Method::GET, &path, Sent::default()).await;
        let logs = logs.map_err(|error| no_job(error, key))?;
        Ok(Box::pin(logs.into_body().into_data_stream().map_err(io::Error::other)))
    }

    async fn function(&self, namespace: &str, name: &str) -> Result<Function, Error> {
        self.one(namespace, "functions", Function::KIND, name).await
    }

    async fn functions(&self, namespace: &str) -> Result<Vec<Function>, Error> {
        self.all(&format!("/v1/namespaces/{namespace}/functions")).await
    }

    async fn queue(&self, namespace: &str, name: &str) -> Result<Option<Queue>, Error> {
        match self.one(namespace, "queues", Queue::KIND, name).await {
            Ok(queue) => Ok(Some(queue)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn queues(&self, namespace: &str) -> Result<Vec<Queue>, Error> {
        self.all(&format!("/v1/namespaces/{namespace}/queues")).await
    }

    async fn ready(&self) -> Result<(), Error> {
        self.0.whole(Method::GET, "/readyz", Sent::default()).await.map(drop)
    }
}

/// A value of a query.
fn escaped(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().fold(String::new(), |text, byte| match is_plain(byte) {
        true => text + &char::from(byte).to_string(),
        false => text + &format!("%{byte:02X}"),
    })
}

/// A result that is too large to be in the job.
struct RemoteResult(Client, JobKey);

#[async_trait]
impl Stored for RemoteResult {
    async fn read(self: Box<Self>, range: Range<u64>) -> Result<ByteStream, Error> {
        let Self(client, key) = *self;
        let mut headers = HeaderMap::new();
        let last = range.end.saturating_sub(1);
        if let Ok(part) = format!("bytes={}-{last}", range.start).parse() {
            headers.insert(header::RANGE, part);
        }
        let sent = Sent { headers, ..Sent::default() };
        let answer = client.open(Method::GET, &path(&key, "/result"), sent).await;
        let body = answer.map_err(|error| no_job(error, &key))?.into_body();
        Ok(Box::pin(stream::try_unfold(body, |mut body| async {
            Ok(piece(&mut body).await?.map(|piece| (piece, body)))
        })))
    }
}

/// The next piece of a body; none at its end. A silent server is as good as none.
async fn piece(body: &mut Incoming) -> io::Result<Option<Bytes>> {
    loop {
        let next = tokio::time::timeout(SILENCE, body.frame());
        let frame = next.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        match frame {
            None => return Ok(None),
            Some(frame) => {
                // Trailers say nothing to us.
                if let Ok(piece) = frame.map_err(io::Error::other)?.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

/// The changes of one job, from the server's events. A connection that is lost is made again: the
/// first event of each is the job as it is.
struct RemoteWatch {
    client: Client,
    key: JobKey,
    events: Option<Events>,
    latest: Option<Job>,
}

impl RemoteWatch {
    async fn connect(&mut self) -> Result<(), Error> {
        let path = path(&self.key, "/events");
        let answer = self.client.open(Method::GET, &path, Sent::default()).await;
        let answer = answer.map_err(|error| no_job(error, &self.key))?;
        self.events = Some(Events::new(answer.into_body()));
        Ok(())
    }

    /// What an event tells, if it tells anything of the job.
    fn told(&mut self, event: &Event) -> Result<Option<Job>, Error> {
        let unread = |error: serde_json::Error| {
            let server = self.client.server();
            Error::unavailable(format!("{server} tells something else: {error}"))
        };
        match event.kind.as_str() {
            "job" => {
                let job: Job = serde_json::from_slice(&event.data).map_err(unread)?;
                self.latest = Some(job.clone());
                Ok(Some(job))
            }
            "progress" => {
                let told: ProgressTold = serde_json::from_slice(&event.data).map_err(unread)?;
                let Some(job) = &mut self.latest else { return Ok(None) };
                // Of an attempt that the job does not know yet, nothing is shown.
                if job.status.attempt != Some(told.attempt) {
                    return Ok(None);
                }
                job.status.progress = Some(told.progress);
                Ok(Some(job.clone()))
            }
            "problem" => {
                let problem: Gone = serde_json::from_slice(&event.data).map_err(unread)?;
                Err(match problem.status {
                    404 => Error::no_job(&self.key.name),
                    _ => Error::unavailable(problem.detail),
                })
            }
            // What a later server tells beside.
            _ => Ok(None),
        }
    }
}

/// Progress between two events of the whole job.
#[derive(Deserialize)]
struct ProgressTold {
    attempt: AttemptNumber,
    progress: Progress,
}

/// The last event of a job that cannot be followed any more.
#[derive(Deserialize)]
struct Gone {
    status: u16,
    detail: String,
}

#[async_trait]
impl Watch for RemoteWatch {
    async fn next(&mut self) -> Result<Job, Error> {
        let mut pause = BACKOFF[0];
        let mut gone_since: Option<Instant> = None;
        loop {
            if self.events.is_none()
                && let Err(error) = self.connect().await
            {
                let since = *gone_since.get_or_insert_with(Instant::now);
                if !matches!(error, Error::Unavailable { .. } | Error::Busy { .. })
                    || since.elapsed() > PATIENCE
                {
                    return Err(error);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKOFF[1]);
                continue;
            }
            let Some(events) = &mut self.events else { continue };
            match events.next().await {
                Ok(Some(event)) => {
                    if let Some(job) = self.told(&event)? {
                        return Ok(job);
                    }
                }
                // The server ends streams now and then, and when it stops.
                Ok(None) | Err(_) => {
                    self.events = None;
                    gone_since.get_or_insert_with(Instant::now);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// The events of a stream (server-sent events, WHATWG HTML 9.2).
struct Events {
    body: Incoming,
    parser: Parser,
}

impl Events {
    fn new(body: Incoming) -> Self {
        Self { body, parser: Parser::default() }
    }

    /// The next event; none at the end of the stream.
    async fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = self.parser.events.pop_front() {
                return Ok(Some(event));
            }
            match piece(&mut self.body).await? {
                Some(piece) => self.parser.take(&piece)?,
                None => return Ok(None),
            }
        }
    }
}

/// An event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    kind: String,
    data: Vec<u8>,
}

/// Puts events together from pieces of a stream.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    event: Event,
    events: VecDeque<Event>,
}

impl Parser {
    fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        for &byte in piece {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() + self.event.data.len() > MAX_EVENT_BYTES {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "an endless event"));
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.end_line(line.strip_suffix(b"\r").unwrap_or(&line));
        }
        Ok(())
    }

    fn end_line(&mut self, line: &[u8]) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if !event.data.is_empty() {
                self.events.push_back(event);
            }
        } else if let Some(data) = value_of(line, b"data:") {
            if !self.event.data.is_empty() {
                self.event.data.push(b'\n');
            }
            self.event.data.extend_from_slice(data);
        } else if let Some(kind) = value_of(line, b"event:") {
            self.event.kind = String::from_utf8_lossy(kind).into_owned();
        }
    }
}

fn value_of<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(field)?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_however_the_stream_is_cut() {
        let stream = b": hello\n\nevent: job\nid: 7\ndata: {\"a\":\ndata: 1}\n\n:\n\n\
                       event:progress\r\ndata:{}\r\n\r\nevent: job\ndata: cut";
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            for piece in stream.chunks(size) {
                parser.take(piece).unwrap();
            }
            let events: Vec<_> = parser.events.into_iter().collect();
            let event =
                |kind: &str, data: &str| Event { kind: kind.into(), data: data.as_bytes().into() };
            assert_eq!(events, [event("job", "{\"a\":\n1}"), event("progress", "{}")], "{size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 64 * 1024];
        let taken = (0..=MAX_EVENT_BYTES / piece.len()).try_for_each(|_| parser.take(&piece));
        assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_value_of_a_query_is_one_value() {
        assert_eq!(escaped("a b&c=d/\u{e4}~"), "a%20b%26c%3Dd%2F%C3%A4~");
    }
}
