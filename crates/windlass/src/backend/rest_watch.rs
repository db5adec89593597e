//! Follows one job of a server by its events.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use hyper::Method;
use serde::Deserialize;
use windlass_core::fields::Fields;
use windlass_core::jobs::Watch;
use windlass_core::status::Progress;
use windlass_core::{AttemptNumber, Error, Job, JobKey};

use super::events::{ServerSentEvent, ServerSentEvents};
use super::http_client::{Client, RequestParts};
use super::rest_path::{no_job, path};

/// How long a server that was there may be gone while a job of it is followed.
const PATIENCE: Duration = Duration::from_secs(60);

/// First and longest pause between two tries.
const BACKOFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// The changes of one job without its input, from the server's events. A connection that is lost is made again: the
/// first event of each is the job as it is.
pub(super) struct RestWatch {
    client: Client,
    key: JobKey,
    events: Option<ServerSentEvents>,
    latest: Option<Job>,
}

impl RestWatch {
    /// Not connected yet.
    pub(super) fn new(client: Client, key: JobKey) -> Self {
        Self { client, key, events: None, latest: None }
    }

    /// Begins to listen.
    pub(super) async fn connect(&mut self) -> Result<(), Error> {
        let path = path(&self.key, &format!("/events?fields={}", Fields::all_but_input()));
        let answer = self.client.open(Method::GET, &path, RequestParts::default()).await;
        let answer = answer.map_err(|error| no_job(error, &self.key))?;
        self.events = Some(ServerSentEvents::new(answer.into_body()));
        Ok(())
    }

    /// What an event tells, if it tells anything of the job.
    fn job_in(&mut self, event: &ServerSentEvent) -> Result<Option<Job>, Error> {
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
                let told: ProgressEvent = serde_json::from_slice(&event.data).map_err(unread)?;
                let Some(job) = &mut self.latest else { return Ok(None) };
                // Of an attempt that the job does not know yet, nothing is shown.
                if job.status.attempt != Some(told.attempt) {
                    return Ok(None);
                }
                job.status.progress = Some(told.progress);
                Ok(Some(job.clone()))
            }
            "problem" => {
                let problem: ProblemEvent = serde_json::from_slice(&event.data).map_err(unread)?;
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
struct ProgressEvent {
    attempt: AttemptNumber,
    progress: Progress,
}

/// The last event of a job that cannot be followed any more.
#[derive(Deserialize)]
struct ProblemEvent {
    status: u16,
    detail: String,
}

#[async_trait]
impl Watch for RestWatch {
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
            match events.next_event().await {
                Ok(Some(event)) => {
                    if let Some(job) = self.job_in(&event)? {
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
