//! `GET /v1/namespaces/{namespace}/jobs/{name}/events`: the job on every change, until its end.
//!
//! Server-sent events, of three kinds:
//!
//! | event | data | when |
//! | --- | --- | --- |
//! | `job` | the whole job, with its latest progress | at once, and each time its world has stored it |
//! | `progress` | `{"attempt", "progress"}`: what the job's status has in these two fields | each time its function tells more, in between |
//! | `problem` | a problem document | the job cannot be followed any more; the last event |
//!
//! The last `job` event is that of its end. A whole job may have 128 KiB of input, so that progress is told without.
//!
//! An `id` says what whoever has read so far has seen ([`EventId`]). A client that sends it as
//! `Last-Event-ID`, to whichever replica, is shown what is new and still matters, the latest job or the
//! latest progress, nothing twice and nothing older; one that has seen the end is told 204, which ends
//! an `EventSource`.
//!
//! All streams of a job share one [`feed`](crate::live::feed) and the bytes of its events, so that
//! another stream costs the world nothing.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::watch;
use tokio::time::sleep;
use windlass_core::JobKey;
use windlass_core::jobs::Verb;
use windlass_core::live::{EventId, News, Shown};

use crate::Shared;
use crate::guard::{Token, in_time};
use crate::live::feed::{Feed, Told};
use crate::live::frame::{self, Frame};
use crate::metrics::OpenStream;
use crate::refusal::Refusal;

/// What a silent stream says now and then.
const COMMENT: &[u8] = b":\n\n";

pub(crate) async fn events(
    State(shared): State<Arc<Shared>>,
    Extension(key): Extension<JobKey>,
    Extension(token): Extension<Token>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let limits = shared.gateway.limits.clone();
    let (first, feed, told) = in_time(limits.request, join(&shared, &key)).await??;
    let seen = last_seen(&headers);
    let is_over = first.stored().status.is_finished();
    if is_over && EventId::news(seen.as_ref(), &first.id) == News::Nothing {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let follower = Follower {
        next: Some(first),
        told,
        seen,
        keep_alive: limits.keep_alive,
        over: Box::pin(shared.stream_over(&token, Verb::Watch, &key.namespace)),
        _feed: feed,
        _open: shared.gateway.meters.stream(),
    };
    let events = stream::unfold(Some(follower), |follower| async {
        let (bytes, follower) = follower?.next().await?;
        Some((Ok::<_, Infallible>(bytes), follower))
    });
    let mut response = Body::from_stream(events).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Proxies of the nginx family hold events back without it.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// What a client has seen; nothing, if it says what none of us has told it.
fn last_seen(headers: &HeaderMap) -> Option<EventId> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

type Telling = watch::Receiver<Option<Told>>;

/// Joins the job's feed. What is shown first is not older than the job when it was asked for: a feed
/// that somebody else has begun may be a moment behind.
async fn join(shared: &Shared, key: &JobKey) -> Result<(Arc<Frame>, Arc<Feed>, Telling), Refusal> {
    let crate::Gateway { jobs, live, .. } = &shared.gateway;
    let now = jobs.get(key).await?;
    let feed = live.feeds.join(jobs, &live.board, key, &now.metadata.uid);
    let mut told = feed.told();
    let first = told.wait_for(Option::is_some).await.map_err(|_| Refusal::internal())?.clone();
    let shown = match first {
        Some(Told::Frame(frame)) => frame,
        Some(Told::Problem(refusal)) => return Err(refusal),
        None => return Err(Refusal::internal()),
    };
    let asked = Shown::new(Arc::new(now), None);
    let is_behind = EventId::news(Some(&shown.id), &asked.id()) == News::Job;
    Ok((if is_behind { Arc::new(Frame::new(asked)) } else { shown }, feed, told))
}

/// One stream.
struct Follower {
    /// What is to be shown, if it is news.
    next: Option<Arc<Frame>>,
    told: Telling,
    seen: Option<EventId>,
    keep_alive: Duration,
    /// The end of the server, of this stream's time, or of the caller's right to it.
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    _feed: Arc<Feed>,
    /// Counted as long as the stream is kept.
    _open: OpenStream,
}

impl Follower {
    /// The next bytes, and what follows unless they are the last.
    async fn next(mut self) -> Option<(Bytes, Option<Self>)> {
        loop {
            if let Some(frame) = self.next.take() {
                let news = EventId::news(self.seen.as_ref(), &frame.id);
                self.seen = match news {
                    News::Nothing => self.seen,
                    _ => Some(EventId::and(self.seen, &frame.id)),
                };
                let is_last = frame.stored().status.is_finished();
                match news {
                    News::Job => return Some((frame.job(), (!is_last).then_some(self))),
                    News::Progress => return Some((frame.progress(), Some(self))),
                    News::Nothing if is_last => return None,
                    News::Nothing => {}
                }
            }
            tokio::select! {
                changed = self.told.changed() => {
                    if changed.is_err() {
                        // Without a word; its panic was logged.
                        return Some((frame::problem(&Refusal::internal()), None));
                    }
                    match self.told.borrow_and_update().clone() {
                        Some(Told::Frame(frame)) => self.next = Some(frame),
                        Some(Told::Problem(why)) => return Some((frame::problem(&why), None)),
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
