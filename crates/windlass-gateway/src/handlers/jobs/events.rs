//! `GET /v1/namespaces/{namespace}/jobs/{name}/events`: the job on every change, until its end.
//!
//! Server-sent events, of three kinds:
//!
//! | event | data | when |
//! | --- | --- | --- |
//! | `job` | the job, whole or the `?fields=` of it, with its latest progress | at once, and each time it was stored |
//! | `progress` | `{"attempt", "progress"}`: what the job's status has in these two fields | each time its function reports more, in between |
//! | `problem` | a problem document | the job cannot be followed any more; the last event |
//!
//! The last `job` event is that of its end. A whole job may have 128 KiB of input, so progress is sent without it.
//!
//! An `id` says what a client that has read so far has seen ([`EventId`]). A client that sends it as
//! `Last-Event-ID`, to whichever replica, is sent what is new and still matters, the latest job or the
//! latest progress, nothing twice and nothing older. One that has seen the end gets 204, which ends
//! an `EventSource`.
//!
//! All streams of a job share one [`shared_watch`](crate::live::shared_watch) and the bytes of its
//! events, so that another stream costs the back end nothing.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use tokio::time::sleep;
use windlass_core::JobKey;
use windlass_core::fields::Fields;
use windlass_core::jobs::Verb;
use windlass_core::live::{EventId, News, Shown};

use super::stream_end::stream_over;
use crate::live::job_event::{JobEvent, problem_bytes};
use crate::live::shared_watch::{SharedWatch, Updates, WatchUpdate};
use crate::metrics::OpenStream;
use crate::middleware::path_target::Target;
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::headers::single_value;
use crate::protocol::query::only_fields;
use crate::state::{Gateway, GatewayState};

/// What a silent stream says now and then.
pub(super) const COMMENT: &[u8] = b":\n\n";

pub(crate) async fn follow_job(
    Target { state, of: key, token, .. }: Target<JobKey>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let fields = only_fields(&uri)?;
    let limits = state.gateway.limits.clone();
    let (first, watch, updates) = within(limits.request, subscribe(&state, &key)).await??;
    let seen = last_seen(&headers);
    let is_over = first.stored_job().status.is_finished();
    if is_over && EventId::news(seen.as_ref(), &first.id) == News::Nothing {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let stream = EventStream {
        next: Some(first),
        updates,
        seen,
        fields,
        keep_alive: limits.keep_alive,
        over: Box::pin(stream_over(&state, &token, Verb::Watch, &key.namespace)),
        _watch: watch,
        _open: state.gateway.meters.open_stream(),
    };
    let events = stream::unfold(Some(stream), |stream| async {
        let (bytes, stream) = stream?.next().await?;
        Some((Ok::<_, Infallible>(bytes), stream))
    });
    Ok(event_stream(events))
}

/// The answer that streams these events.
pub(super) fn event_stream(
    events: impl stream::Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Response {
    let mut response = Body::from_stream(events).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Proxies of the nginx family hold events back without it.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// What a client has seen; nothing, if no replica has sent it such an id.
fn last_seen(headers: &HeaderMap) -> Option<EventId> {
    single_value(headers, "last-event-id")?.parse().ok()
}

/// Subscribes to the job's shared watch. The first event is not older than the job at the time of the
/// request: a watch that another stream has started may be a moment behind.
async fn subscribe(
    state: &GatewayState,
    key: &JobKey,
) -> Result<(Arc<JobEvent>, Arc<SharedWatch>, Updates), ApiError> {
    let Gateway { jobs, live, .. } = &state.gateway;
    let now = jobs.get(key).await?;
    let watch = live.watches.subscribe(jobs, &live.cache, key, &now.metadata.uid);
    let mut updates = watch.updates();
    let first = updates.wait_for(Option::is_some).await.map_err(|_| ApiError::internal())?.clone();
    let shown = match first {
        Some(WatchUpdate::Event(event)) => event,
        Some(WatchUpdate::Failed(error)) => return Err(error),
        None => return Err(ApiError::internal()),
    };
    let current = Shown::new(Arc::new(now), None);
    let is_behind = EventId::news(Some(&shown.id), &current.id()) == News::Job;
    Ok((if is_behind { Arc::new(JobEvent::new(current)) } else { shown }, watch, updates))
}

/// One stream.
struct EventStream {
    /// What is to be shown, if it is news.
    next: Option<Arc<JobEvent>>,
    updates: Updates,
    seen: Option<EventId>,
    /// What was asked for of each job; all, if nothing was.
    fields: Option<Fields>,
    keep_alive: Duration,
    /// The end of the server, of this stream's time, or of the caller's right to it.
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    _watch: Arc<SharedWatch>,
    /// Counted as long as the stream is kept.
    _open: OpenStream,
}

impl EventStream {
    /// The next bytes, and what follows unless they are the last.
    async fn next(mut self) -> Option<(Bytes, Option<Self>)> {
        loop {
            if let Some(event) = self.next.take() {
                let news = EventId::news(self.seen.as_ref(), &event.id);
                self.seen = match news {
                    News::Nothing => self.seen,
                    _ => Some(EventId::and(self.seen, &event.id)),
                };
                let is_last = event.stored_job().status.is_finished();
                match news {
                    News::Job => {
                        let bytes = event.job_bytes(self.fields.as_ref());
                        return Some((bytes, (!is_last).then_some(self)));
                    }
                    News::Progress => return Some((event.progress_bytes(), Some(self))),
                    News::Nothing if is_last => return None,
                    News::Nothing => {}
                }
            }
            tokio::select! {
                changed = self.updates.changed() => {
                    if changed.is_err() {
                        // The watch has panicked, and that was logged.
                        return Some((problem_bytes(&ApiError::internal()), None));
                    }
                    match self.updates.borrow_and_update().clone() {
                        Some(WatchUpdate::Event(event)) => self.next = Some(event),
                        Some(WatchUpdate::Failed(why)) => return Some((problem_bytes(&why), None)),
                        None => {}
                    }
                }
                () = sleep(self.keep_alive) => {
                    return Some((Bytes::from_static(COMMENT), Some(self)));
                }
                () = &mut self.over => return None,
            }
        }
    }
}
