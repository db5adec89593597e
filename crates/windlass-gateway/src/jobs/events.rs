//! `GET /v1/namespaces/{namespace}/jobs/{name}/events`: the job on every change, until its end.
//!
//! Server-sent events: `event: job` with the whole job as `data` and its resource version as
//! `id`. The first one is the job as it is, so a client that connects again has missed nothing
//! that still matters; one that has seen the end is told 204, which ends an `EventSource`. When
//! the job cannot be followed any more, `event: problem` with a problem document is the last.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use windlass_core::jobs::Watch;
use windlass_core::{Job, JobKey};

use crate::Shared;
use crate::guard::in_time;
use crate::metrics::OpenStream;
use crate::refusal::Refusal;

pub(crate) async fn events(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let limits = shared.gateway.limits.clone();
    let (first, watch) = in_time(limits.request, async {
        let mut watch = shared.gateway.jobs.watch(&key).await?;
        Ok::<_, Refusal>((watch.next().await?, watch))
    })
    .await??;
    if first.status.is_finished() && last_seen(&headers) == Some(&first.metadata.resource_version) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let open = shared.gateway.meters.stream();
    let events =
        follow(first, watch).take_until(Box::pin(shared.stream_over())).inspect(move |_| {
            // Counted as long as the stream is kept.
            let _: &OpenStream = &open;
        });
    let keep_alive = KeepAlive::new().interval(limits.keep_alive);
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    // Proxies of the nginx family hold events back without it.
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn last_seen(headers: &HeaderMap) -> Option<&str> {
    headers.get("last-event-id")?.to_str().ok()
}

/// What the stream does next.
enum Step {
    Tell(Box<Job>, Box<dyn Watch>),
    Ask(Box<dyn Watch>),
    End,
}

fn follow(first: Job, watch: Box<dyn Watch>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(Step::Tell(Box::new(first), watch), |step| async {
        let (job, watch) = match step {
            Step::Tell(job, watch) => (Ok(*job), watch),
            Step::Ask(mut watch) => (watch.next().await, watch),
            Step::End => return None,
        };
        Some(match job {
            Ok(job) if job.status.is_finished() => (Ok(of_job(&job)), Step::End),
            Ok(job) => (Ok(of_job(&job)), Step::Ask(watch)),
            Err(error) => (Ok(of_problem(&error.into())), Step::End),
        })
    })
}

fn of_job(job: &Job) -> Event {
    let event = Event::default().event("job");
    // A version with a line break would panic in `id`; none has one, and none is lost without.
    let version = &job.metadata.resource_version;
    let event = match version.contains(['\r', '\n', '\0']) {
        false => event.id(version),
        true => event,
    };
    // A job is JSON in every answer, so it is here.
    event.data(serde_json::to_string(job).unwrap_or_default())
}

fn of_problem(refusal: &Refusal) -> Event {
    Event::default().event("problem").data(refusal.document())
}
