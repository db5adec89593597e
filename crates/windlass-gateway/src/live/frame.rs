//! What is shown of a job at one moment, and its bytes as an event: written once, for all streams.

use std::sync::OnceLock;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use windlass_core::live::{EventId, Shown};
use windlass_core::status::Progress;
use windlass_core::{AttemptNumber, Job};

use crate::refusal::Refusal;

pub(crate) struct Frame {
    shown: Shown,
    pub(crate) id: EventId,
    job: OnceLock<Bytes>,
    progress: OnceLock<Bytes>,
}

/// The data of `event: progress`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ProgressEvent")]
pub(crate) struct Told<'a> {
    /// The attempt that tells it.
    attempt: AttemptNumber,
    /// How far it is.
    progress: &'a Progress,
}

impl Frame {
    pub(crate) fn new(shown: Shown) -> Self {
        let id = shown.id();
        Self { shown, id, job: OnceLock::new(), progress: OnceLock::new() }
    }

    pub(crate) fn stored(&self) -> &Job {
        &self.shown.job
    }

    /// `event: job`
    pub(crate) fn job(&self) -> Bytes {
        self.job.get_or_init(|| event("job", Some(&self.id), &*self.shown.job())).clone()
    }

    /// `event: progress`
    pub(crate) fn progress(&self) -> Bytes {
        let write = || match &self.shown.live {
            Some(live) => {
                let told = Told { attempt: live.attempt, progress: &live.progress };
                event("progress", Some(&self.id), &told)
            }
            None => Bytes::new(),
        };
        self.progress.get_or_init(write).clone()
    }
}

/// `event: problem`
pub(crate) fn problem(refusal: &Refusal) -> Bytes {
    format!("event: problem\ndata: {}\n\n", refusal.document()).into()
}

fn event(kind: &str, id: Option<&EventId>, data: &impl Serialize) -> Bytes {
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
