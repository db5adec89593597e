//! `Jobs` of a server, over its REST API.

use std::io;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use http_body_util::BodyExt as _;
use hyper::{HeaderMap, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use windlass_core::estimate::{Estimate, Estimates};
use windlass_core::explain::Explanation;
use windlass_core::history::HistoryReport;
use windlass_core::jobs::{
    Denied, Draining, Filter, MachineCapacity, Page, Submission, Watch, result_of,
};
use windlass_core::log_tail::{LogRange, WantedLog, wanted_attempt};
use windlass_core::result::{ByteStream, StoredResult};
use windlass_core::{Error, Function, Job, JobKey, Jobs, Problem, Queue};

use super::http_client::{Client, RequestParts};
use super::rest_path::{no_job, path};
use super::rest_result::RestResult;
use super::rest_watch::RestWatch;

/// Most jobs that are asked for at once: an answer of them is at most 16 MiB.
const PAGE: u32 = 100;

/// The same of jobs without input and result.
const BRIEF_PAGE: u32 = 500;

/// What a list of many jobs shows of each.
pub(super) const BRIEF_FIELDS: &str = "apiVersion,kind,metadata,spec.function,spec.queue,\
    spec.parallelism,spec.retries,spec.cancel,status.phase,status.conditions,status.attempt,\
    status.parallelism,status.waiting,status.progress,status.failure,status.timeline";

/// The jobs of a server.
#[derive(Clone)]
pub(crate) struct RestJobs(Client);

impl RestJobs {
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
        let Submission { namespace, name, spec, labels, retry_of, .. } = submission;
        let mut body = serde_json::to_value(spec).map_err(|error| Error::Bug(error.to_string()))?;
        if let Some(fields) = body.as_object_mut() {
            fields.extend(name.map(|name| ("name".to_owned(), Value::String(name))));
            fields.extend(retry_of.map(|name| ("retryOf".to_owned(), Value::String(name))));
            if !labels.is_empty() {
                fields.insert("labels".into(), json!(labels));
            }
        }
        let body = Some(body.to_string().into_bytes());
        let sent = RequestParts { body, ..under_key(key)? };
        let path = format!("/v1/namespaces/{namespace}/jobs");
        self.0.json(Method::POST, &path, sent).await.map_err(no_namespace)
    }

    /// Submits the same job again. The same key gives the same job again.
    pub(crate) async fn retry_once(
        &self,
        job: &JobKey,
        uid: Option<&str>,
        key: Option<&str>,
    ) -> Result<Job, Error> {
        let path = path(job, &with_uid("/retry", uid));
        let retried = self.0.json(Method::POST, &path, under_key(key)?).await;
        retried.map_err(|error| no_job(error, job))
    }

    /// Has the server take nothing new and end when nothing runs.
    pub(crate) async fn drain(&self) -> Result<Draining, Error> {
        self.0.json(Method::POST, "/v1/drain", RequestParts::default()).await
    }

    /// A code with which a browser gets the token that is used here; `None` where nobody is given one, and where this token
    /// is not the admin's.
    pub(crate) async fn login_code(&self) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Issued {
            code: String,
        }
        match self.0.json(Method::POST, "/v1/login-codes", RequestParts::default()).await {
            Ok(Issued { code }) => Ok(Some(code)),
            // A token that opens nothing opens no dashboard either.
            Err(Error::Denied(why)) if why == Denied::Unauthenticated.to_string() => {
                Err(Error::Denied(why))
            }
            Err(Error::Denied(_) | Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.0
    }

    /// Its URL.
    pub(crate) fn server(&self) -> &str {
        self.0.server()
    }

    /// Whether it answers that it is not ready, as one that is drained does until its end.
    pub(crate) async fn is_not_ready(&self) -> Result<bool, Error> {
        match self.0.status(Method::GET, "/readyz").await {
            Ok(status) => Ok(!status.is_success()),
            Err(Error::Unavailable { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Jobs with the fields that a list of many shows.
    pub(crate) async fn list_briefly(
        &self,
        namespace: &str,
        filter: &Filter,
    ) -> Result<Page, Error> {
        let path = list_path(namespace, filter, BRIEF_PAGE);
        self.page(format!("{path}&fields={BRIEF_FIELDS}")).await
    }

    async fn page(&self, path: String) -> Result<Page, Error> {
        let page = self.0.json(Method::GET, &path, RequestParts::default()).await;
        let page: ResourceList<Job> = page.map_err(no_namespace)?;
        Ok(Page { items: page.items, continue_from: page.metadata.continue_from })
    }

    async fn of_job<T: DeserializeOwned>(
        &self,
        method: Method,
        key: &JobKey,
        rest: &str,
    ) -> Result<T, Error> {
        let found = self.0.json(method, &path(key, rest), RequestParts::default()).await;
        found.map_err(|error| no_job(error, key))
    }

    async fn list_all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Error> {
        let found = self.0.json(Method::GET, path, RequestParts::default()).await;
        let found: ResourceList<T> = found.map_err(no_namespace)?;
        Ok(found.items)
    }

    async fn get_one<T: DeserializeOwned>(
        &self,
        namespace: &str,
        kinds: &str,
        kind: &'static str,
        name: &str,
    ) -> Result<T, Error> {
        let path = format!("/v1/namespaces/{namespace}/{kinds}/{name}");
        let found = self.0.json(Method::GET, &path, RequestParts::default()).await;
        found.map_err(|error| match error {
            Error::NotFound { .. } => Error::NotFound { kind, name: name.to_owned() },
            other => other,
        })
    }
}

/// A request under an idempotency key, if there is one.
fn under_key(key: Option<&str>) -> Result<RequestParts, Error> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        let wrong =
            |_| Error::Invalid(vec![Problem::at("", "the key has characters that none has")]);
        headers.insert("idempotency-key", key.parse().map_err(wrong)?);
    }
    Ok(RequestParts { headers, ..RequestParts::default() })
}

/// A list in the shape that the Kubernetes API gives.
#[derive(Deserialize)]
struct ResourceList<T> {
    #[serde(default)]
    metadata: ListMetadata,
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue")]
    continue_from: Option<String>,
}

/// Where the next page of jobs is, with at most so many of them.
fn list_path(namespace: &str, filter: &Filter, most: u32) -> String {
    let Filter { function, queue, phase, labels, limit, continue_from } = filter;
    let limit = if *limit == 0 { most } else { (*limit).min(most) };
    let mut path = format!("/v1/namespaces/{namespace}/jobs?limit={limit}");
    let selector = Some(labels.to_string()).filter(|text| !text.is_empty());
    for (name, value) in [
        ("labelSelector", selector.as_deref()),
        ("function", function.as_deref()),
        ("queue", queue.as_deref()),
        ("phase", phase.map(windlass_core::Phase::as_str)),
        ("continue", continue_from.as_deref()),
    ] {
        if let Some(value) = value {
            path += &format!("&{name}={}", escaped(value));
        }
    }
    path
}

fn log_path(key: &JobKey, what: &str, LogRange { tail, timestamps }: LogRange) -> String {
    // A server of an earlier version knows no times, and is asked for them only by whoever wants them.
    let times = if timestamps { "&timestamps=true" } else { "" };
    path(key, &format!("/logs?{what}tailBytes={tail}{times}"))
}

/// What a 404 means where a namespace alone is named: nobody says whether there is one.
fn no_namespace(error: Error) -> Error {
    match error {
        Error::NotFound { name: detail, .. } => Error::Denied(detail),
        other => other,
    }
}

#[async_trait]
impl Jobs for RestJobs {
    async fn submit(&self, submission: Submission) -> Result<Job, Error> {
        self.submit_once(submission, None).await
    }

    async fn get(&self, key: &JobKey) -> Result<Job, Error> {
        self.of_job(Method::GET, key, "").await
    }

    async fn list(&self, namespace: &str, filter: &Filter) -> Result<Page, Error> {
        self.page(list_path(namespace, filter, PAGE)).await
    }

    async fn cancel(&self, key: &JobKey, uid: Option<&str>) -> Result<Job, Error> {
        self.of_job(Method::POST, key, &with_uid("/cancel", uid)).await
    }

    async fn delete(&self, key: &JobKey, uid: Option<&str>) -> Result<(), Error> {
        let path = path(key, &with_uid("", uid));
        let deleted = self.0.whole(Method::DELETE, &path, RequestParts::default()).await;
        deleted.map(drop).map_err(|error| no_job(error, key))
    }

    async fn watch(&self, key: &JobKey) -> Result<Box<dyn Watch>, Error> {
        let mut watch = RestWatch::new(self.0.clone(), key.clone());
        watch.connect().await?;
        Ok(Box::new(watch))
    }

    async fn result(&self, key: &JobKey, partial: bool) -> Result<StoredResult, Error> {
        let job = self.get(key).await?;
        let result = result_of(&job, partial)?;
        StoredResult::of_status(key, result, |_| {
            Ok(Box::new(RestResult::new(self.0.clone(), key.clone(), partial)))
        })
    }

    async fn logs(&self, key: &JobKey, wanted: WantedLog) -> Result<Vec<u8>, Error> {
        let WantedLog { attempt, range } = wanted;
        if attempt.is_some() {
            // Who finds no such attempt is told so, and not that there is no such job.
            wanted_attempt(&self.get(key).await?, attempt)?;
        }
        let of = attempt.map(|number| format!("attempt={number}&")).unwrap_or_default();
        let path = log_path(key, &of, range);
        let logs = self.0.whole(Method::GET, &path, RequestParts::default()).await;
        Ok(logs.map_err(|error| no_job(error, key))?.to_vec())
    }

    async fn follow_logs(&self, key: &JobKey, range: LogRange) -> Result<ByteStream, Error> {
        let path = log_path(key, "follow=true&", range);
        let logs = self.0.open(Method::GET, &path, RequestParts::default()).await;
        let logs = logs.map_err(|error| no_job(error, key))?;
        Ok(Box::pin(logs.into_body().into_data_stream().map_err(io::Error::other)))
    }

    async fn function(&self, namespace: &str, name: &str) -> Result<Function, Error> {
        self.get_one(namespace, "functions", Function::KIND, name).await
    }

    async fn functions(&self, namespace: &str) -> Result<Vec<Function>, Error> {
        self.list_all(&format!("/v1/namespaces/{namespace}/functions")).await
    }

    async fn queue(&self, namespace: &str, name: &str) -> Result<Option<Queue>, Error> {
        match self.get_one(namespace, "queues", Queue::KIND, name).await {
            Ok(queue) => Ok(Some(queue)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn queues(&self, namespace: &str) -> Result<Vec<Queue>, Error> {
        self.list_all(&format!("/v1/namespaces/{namespace}/queues")).await
    }

    async fn hold_queue(&self, key: &JobKey, hold: bool) -> Result<Queue, Error> {
        let JobKey { namespace, name } = key;
        let what = if hold { "hold" } else { "resume" };
        let path = format!("/v1/namespaces/{namespace}/queues/{name}/{what}");
        let answer = self.0.json(Method::POST, &path, RequestParts::default()).await;
        answer.map_err(|error| no_queue(error, name))
    }

    async fn capacity(&self, namespace: &str) -> Result<MachineCapacity, Error> {
        let path = format!("/v1/namespaces/{namespace}/capacity");
        self.0.json(Method::GET, &path, RequestParts::default()).await.map_err(no_namespace)
    }

    async fn history(&self, namespace: &str) -> Result<HistoryReport, Error> {
        let path = format!("/v1/namespaces/{namespace}/history");
        self.0.json(Method::GET, &path, RequestParts::default()).await.map_err(no_namespace)
    }

    async fn estimates(&self, namespace: &str) -> Result<Estimates, Error> {
        let path = format!("/v1/namespaces/{namespace}/estimates");
        self.0.json(Method::GET, &path, RequestParts::default()).await.map_err(no_namespace)
    }

    async fn estimate(&self, key: &JobKey) -> Result<Option<Estimate>, Error> {
        let JobKey { namespace, name } = key;
        let path = format!("/v1/namespaces/{namespace}/jobs/{name}/explain");
        let told: Explanation = self.0.json(Method::GET, &path, RequestParts::default()).await?;
        Ok(told.estimate)
    }

    async fn ready(&self) -> Result<(), Error> {
        self.0.whole(Method::GET, "/readyz", RequestParts::default()).await.map(drop)
    }
}

/// What a 404 means where a queue is named.
fn no_queue(error: Error, name: &str) -> Error {
    match error {
        Error::NotFound { .. } => Error::NotFound { kind: Queue::KIND, name: name.to_owned() },
        other => other,
    }
}

/// The end of a job's path, for the job with this UID.
fn with_uid(rest: &str, uid: Option<&str>) -> String {
    uid.map_or_else(|| rest.to_owned(), |uid| format!("{rest}?uid={}", escaped(uid)))
}

/// A value of a query.
fn escaped(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().fold(String::new(), |text, byte| match is_plain(byte) {
        true => text + &char::from(byte).to_string(),
        false => text + &format!("%{byte:02X}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_query_is_one_value() {
        assert_eq!(escaped("a b&c=d/\u{e4}~"), "a%20b%26c%3Dd%2F%C3%A4~");
    }
}
