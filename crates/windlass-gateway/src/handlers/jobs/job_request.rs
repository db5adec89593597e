//! What a caller submits: read from its request, and one job for each `Idempotency-Key`.

use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};
use windlass_core::idempotency::{self, Key};
use windlass_core::job::MAX_INPUT_BYTES;
use windlass_core::jobs::{Submission, Verb, check_uid};
use windlass_core::labels::Labels;
use windlass_core::parse::{self, Unread};
use windlass_core::{Error, Job, JobKey, JobSpec, Metadata, Problem};

use super::validate_and_submit::validate_and_submit;
use crate::middleware::permissions::is_also_permitted;
use crate::protocol::bearer::BearerToken;
use crate::protocol::error::ApiError;
use crate::protocol::problem::ProblemKind;
use crate::state::GatewayState;

/// How often the job of a key is read, each time followed by a try to submit it. A second is needed when another
/// request under the key was first, a third when that job was deleted since.
const SUBMIT_TRIES: u32 = 3;

/// A job that a caller asks for.
pub(crate) struct JobRequest {
    name: Option<String>,
    wanted: Wanted,
    /// Of a request under a key.
    request_sha256: Option<String>,
    /// The answer comes after its end.
    is_waited_for: bool,
}

/// What a caller asks for.
enum Wanted {
    New(Box<NewJob>),
    /// The same again as this job, with this UID if one is told, which is read when it is known that the request is no repetition.
    RetryOf {
        name: String,
        uid: Option<String>,
    },
}

/// A job as its caller describes it.
#[derive(Clone)]
struct NewJob {
    spec: JobSpec,
    labels: Labels,
    /// The name of the job that it repeats, with changes.
    retry_of: Option<String>,
}

/// A job that was submitted.
pub(crate) struct SubmittedJob {
    pub(crate) job: Job,
    /// An earlier request under the same key has created it.
    pub(crate) is_replay: bool,
}

/// The key of a request, where it has one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<Key>, ApiError> {
    let wrong = |why: &str| ApiError::new(ProblemKind::Key, format!("Idempotency-Key {why}"));
    let mut lines = headers.get_all("idempotency-key").iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => Key::parse(line.as_bytes()).map(Some).map_err(wrong),
        _ => Err(wrong("is given twice")),
    }
}

/// What to do with an input that is too large for a job.
pub(super) const LARGE_INPUT: &str = "send a larger one before, by PUT to .../blobs/sha256:DIGEST, and name it by \
     inputBlob, of the mediaType application/json, in place of input";

impl JobRequest {
    /// Reads the fields of a spec, and beside them the job's name, its labels and the job that it repeats.
    pub(crate) fn read(mut body: Value, key: Option<&Key>) -> Result<Self, ApiError> {
        let wrong = |pointer: &str, message: &str| {
            ApiError::from(Unread::Misshapen(vec![Problem::at(pointer, message)]))
        };
        let Some(fields) = body.as_object_mut() else {
            return Err(wrong("", "must be an object: the fields of a job's spec"));
        };
        let name = match fields.remove("name") {
            None | Some(Value::Null) => None,
            Some(Value::String(_)) if key.is_some() => {
                return Err(wrong("/name", "is computed from the Idempotency-Key; leave out one"));
            }
            Some(Value::String(name)) => Some(name),
            Some(_) => return Err(wrong("/name", "must be a string")),
        };
        // Of all that was sent, the labels with it.
        let request_sha256 = key.map(|_| idempotency::digest(&body));
        let labels = match body.as_object_mut().and_then(|fields| fields.remove("labels")) {
            None | Some(Value::Null) => Labels::new(),
            Some(labels) => labels_of(labels)?,
        };
        let retry_of = match body.as_object_mut().and_then(|fields| fields.remove("retryOf")) {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name),
            Some(_) => return Err(wrong("/retryOf", "must be a string: the name of a job")),
        };
        let spec: JobSpec = parse::value_of(body)?;
        if spec.input_bytes().len() > MAX_INPUT_BYTES {
            return Err(ApiError::new(
                ProblemKind::TooLarge,
                format!(
                    "an input has at most {MAX_INPUT_BYTES} bytes of compact JSON; {LARGE_INPUT}"
                ),
            ));
        }
        let name = key.map(Key::job_name).or(name);
        let wanted = Wanted::New(Box::new(NewJob { spec, labels, retry_of }));
        Ok(Self { name, wanted, request_sha256, is_waited_for: false })
    }

    /// The same again as this job.
    pub(crate) fn retry_of(name: &str, uid: Option<String>, key: Option<&Key>) -> Self {
        // No body of a submission has this field and no function.
        let mut request = json!({ "retryOf": name });
        if let Some(uid) = &uid {
            request["uid"] = json!(uid);
        }
        Self {
            name: key.map(Key::job_name),
            wanted: Wanted::RetryOf { name: name.to_owned(), uid },
            request_sha256: key.map(|_| idempotency::digest(&request)),
            is_waited_for: false,
        }
    }

    /// Its caller waits so long for its end.
    pub(crate) fn waited_for(self, limit: Option<Duration>) -> Self {
        Self { is_waited_for: limit.is_some_and(|limit| !limit.is_zero()), ..self }
    }

    /// Submits the job, or finds the one that was created under the same key. Nothing of a
    /// repetition is checked but that it is one: queues may be full and functions gone by now.
    pub(crate) async fn submit(
        self,
        state: &GatewayState,
        token: &BearerToken,
        namespace: &str,
    ) -> Result<SubmittedJob, ApiError> {
        let (Some(name), Some(request)) = (&self.name, &self.request_sha256) else {
            let job =
                validate_and_submit(state, token, self.submission(state, namespace).await?).await?;
            return Ok(SubmittedJob { job, is_replay: false });
        };
        let job_key = JobKey::new(namespace, name);
        for _ in 0..SUBMIT_TRIES {
            match state.gateway.jobs.get(&job_key).await {
                Ok(job) if idempotency::is_of_request(&job, request) => {
                    return self.replay(state, token, job).await;
                }
                Ok(_) => {
                    let why = format!(
                        "another request had this Idempotency-Key, and job {name:?} is of that; take another key, or \
                         delete that job to use this one again"
                    );
                    return Err(ApiError::new(ProblemKind::KeyReused, why));
                }
                Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            match validate_and_submit(state, token, self.submission(state, namespace).await?).await
            {
                // Another request under the key was first.
                Err(Error::Conflict(_)) => {}
                submitted => return Ok(SubmittedJob { job: submitted?, is_replay: false }),
            }
        }
        let why = "the job of this Idempotency-Key comes and goes";
        Err(Error::unavailable(why).into())
    }

    /// The job of an earlier request, perhaps of another caller, as far as this one may see it: one who may submit but
    /// not read gets no more than they have sent.
    async fn replay(
        &self,
        state: &GatewayState,
        token: &BearerToken,
        mut job: Job,
    ) -> Result<SubmittedJob, ApiError> {
        let namespace = &job.metadata.namespace;
        if !is_also_permitted(state, token, Verb::Get, namespace).await? {
            job = as_asked_for(self.submission(state, namespace).await?, job);
        }
        Ok(SubmittedJob { job, is_replay: true })
    }

    async fn submission(&self, state: &GatewayState, namespace: &str) -> Result<Submission, Error> {
        let mut submission = match &self.wanted {
            Wanted::New(new) => {
                let NewJob { spec, labels, retry_of } = NewJob::clone(new);
                let namespace = namespace.to_owned();
                Submission { namespace, spec, labels, retry_of, ..Submission::default() }
            }
            Wanted::RetryOf { name, uid } => {
                let ended = state.gateway.jobs.get(&JobKey::new(namespace, name)).await?;
                check_uid(&ended, uid.as_deref())?;
                Submission::retry_of(&ended)?
            }
        };
        if self.request_sha256.is_some() {
            idempotency::keep(&mut submission.spec);
        }
        submission.name.clone_from(&self.name);
        submission.request_sha256.clone_from(&self.request_sha256);
        submission.is_waited_for = self.is_waited_for;
        Ok(submission)
    }
}

/// The labels of a document.
fn labels_of(value: Value) -> Result<Labels, ApiError> {
    let wrong = |_| Problem::at("/labels", "must be an object of strings");
    Ok(serde_json::from_value(value).map_err(|error| Unread::Misshapen(vec![wrong(error)]))?)
}

/// A job as whoever has asked for it knows it: nothing that was done to it since, by whom ever.
fn as_asked_for(asked: Submission, job: Job) -> Job {
    let Metadata { name, namespace, uid, creation_timestamp, .. } = job.metadata;
    let labels = asked.labels;
    let metadata =
        Metadata { name, namespace, uid, creation_timestamp, labels, ..Metadata::default() };
    Job::new(metadata, asked.spec)
}
