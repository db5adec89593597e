//! What is shown of a job at one moment, and its bytes as a server-sent event. The bytes are written
//! once, for all streams.

use std::sync::OnceLock;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use windlass_core::fields::Fields;
use windlass_core::live::{EventId, Shown};
use windlass_core::status::Progress;
use windlass_core::{AttemptNumber, Job};

use crate::protocol::error::ApiError;

/// A job as its streams show it at one moment.
pub(crate) struct JobEvent {
    shown: Shown,
    pub(crate) id: EventId,
    job: OnceLock<Bytes>,
    /// Of the first selection that was asked for: most clients ask for the same one.
    some: OnceLock<(Fields, Bytes)>,
    progress: OnceLock<Bytes>,
}

/// The data of `event: progress`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProgressEvent<'a> {
    /// The attempt that tells it.
    attempt: AttemptNumber,
    /// How far it is.
    progress: &'a Progress,
}

impl JobEvent {
    pub(crate) fn new(shown: Shown) -> Self {
        let id = shown.id();
        Self { shown, id, job: OnceLock::new(), some: OnceLock::new(), progress: OnceLock::new() }
    }

    pub(crate) fn stored_job(&self) -> &Job {
        &self.shown.job
    }

    /// `event: job`, with the whole job or some fields of it.
    pub(crate) fn job_bytes(&self, fields: Option<&Fields>) -> Bytes {
        let Some(fields) = fields else {
            return self.job.get_or_init(|| self.write_job(&*self.shown.job())).clone();
        };
        let write = || self.write_job(&fields.select(&self.shown.job()));
        let (written, bytes) = self.some.get_or_init(|| (fields.clone(), write()));
        if written == fields { bytes.clone() } else { write() }
    }

    fn write_job(&self, data: &impl Serialize) -> Bytes {
        sse_bytes("job", Some(&self.id), data)
    }

    /// `event: progress`
    pub(crate) fn progress_bytes(&self) -> Bytes {
        let write = || match &self.shown.live {
            Some(live) => {
                let data = ProgressEvent { attempt: live.attempt, progress: &live.progress };
                sse_bytes("progress", Some(&self.id), &data)
            }
            None => Bytes::new(),
        };
        self.progress.get_or_init(write).clone()
    }
}

/// `event: problem`
pub(crate) fn problem_bytes(error: &ApiError) -> Bytes {
    format!("event: problem\ndata: {}\n\n", error.to_json()).into()
}

/// The data of `event: begun`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BegunEvent {}

/// `event: begun`
pub(crate) fn begun_bytes() -> Bytes {
    sse_bytes("begun", None, &BegunEvent {})
}

/// The data of `event: deleted`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct DeletedEvent<'a> {
    /// The name of the job that is gone.
    name: &'a str,
    /// Its UID: the name may be another job's by now.
    uid: &'a str,
}

/// `event: deleted`
pub(crate) fn deleted_bytes(name: &str, uid: &str) -> Bytes {
    sse_bytes("deleted", None, &DeletedEvent { name, uid })
}

fn sse_bytes(kind: &str, id: Option<&EventId>, data: &impl Serialize) -> Bytes {
    let mut text = format!("event: {kind}\n").into_bytes();
    // A control character would end the line; no UID or version has one, and none is lost without.
    if let Some(id) = id.map(ToString::to_string)
        && !id.contains(char::is_control)
    {
        text.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    text.extend_from_slice(b"data: ");
    // JSON has no line breaks, and what has been read from JSON can be written.
    serde_json::to_writer(&mut text, data).unwrap_or_default();
    text.extend_from_slice(b"\n\n");
    text.into()
}
