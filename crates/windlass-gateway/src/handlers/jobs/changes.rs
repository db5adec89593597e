//! `GET /v1/namespaces/{namespace}/events`: what happens to any job of the namespace, from now on.
//!
//! Server-sent events, of four kinds:
//!
//! | event | data | when |
//! | --- | --- | --- |
//! | `begun` | `{}` | at once: what happens from now on is told |
//! | `job` | the job, whole or the `?fields=` of it, without its input and the bytes of its result | it is new or has changed, within a moment |
//! | `deleted` | `{"name", "uid"}` | it is gone |
//! | `problem` | a problem document | changes were missed or cannot be followed any more; the last event |
//!
//! Whoever shows all jobs opens the stream, lists the jobs once it has begun, and then applies its events. After
//! a `problem`, or a lost connection, they begin again. All streams of a namespace share one
//! [`namespace_watch`](crate::live::namespace_watch).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use http::Uri;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;
use windlass_core::Error;
use windlass_core::fields::Fields;
use windlass_core::jobs::Verb;

use super::events::{COMMENT, event_stream};
use super::stream_end::stream_over;
use crate::live::job_event::{begun_bytes, problem_bytes};
use crate::live::namespace_watch::{Moment, NamespaceEvent, NamespaceWatch};
use crate::metrics::OpenStream;
use crate::middleware::path_target::{Namespace, Target};
use crate::protocol::deadline::within;
use crate::protocol::error::ApiError;
use crate::protocol::query::only_fields;
use crate::state::Gateway;

pub(crate) async fn follow_jobs(
    Target { state, of: Namespace(namespace), token, .. }: Target<Namespace>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let fields = only_fields(&uri)?;
    let Gateway { changes, live, limits, meters, .. } = &state.gateway;
    let subscribed = live.namespaces.subscribe(changes, &namespace);
    let (watch, moments) = within(limits.request, subscribed).await??;
    let stream = ChangeStream {
        moments,
        fields,
        keep_alive: limits.keep_alive,
        over: Box::pin(stream_over(&state, &token, Verb::Watch, &namespace)),
        _watch: watch,
        _open: meters.open_stream(),
    };
    let events = stream::unfold((Some(stream), true), async |(stream, is_first)| {
        if is_first {
            return Some((Ok::<_, Infallible>(begun_bytes()), (stream, false)));
        }
        let (bytes, stream) = stream?.next().await?;
        Some((Ok(bytes), (stream, false)))
    });
    Ok(event_stream(events))
}

/// One stream.
struct ChangeStream {
    moments: broadcast::Receiver<Moment>,
    /// What was asked for of each job; all, if nothing was.
    fields: Option<Fields>,
    keep_alive: Duration,
    /// The end of the server, of this stream's time, or of the caller's right to it.
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    _watch: Arc<NamespaceWatch>,
    /// Counted as long as the stream is kept.
    _open: OpenStream,
}

impl ChangeStream {
    /// The next bytes, and what follows unless they are the last.
    async fn next(mut self) -> Option<(Bytes, Option<Self>)> {
        let problem = |why| (problem_bytes(&why), None);
        tokio::select! {
            moment = self.moments.recv() => Some(match moment {
                Ok(Ok(events)) => (self.bytes_of(&events), Some(self)),
                Ok(Err(why)) => problem(why),
                Err(RecvError::Lagged(_)) => {
                    problem(Error::unavailable("the stream was read too slowly").into())
                }
                // The watch has panicked, and that was logged.
                Err(RecvError::Closed) => problem(ApiError::internal()),
            }),
            () = sleep(self.keep_alive) => Some((Bytes::from_static(COMMENT), Some(self))),
            () = &mut self.over => None,
        }
    }

    fn bytes_of(&self, events: &[NamespaceEvent]) -> Bytes {
        let bytes = events.iter().map(|event| match event {
            NamespaceEvent::Job(event) => event.job_bytes(self.fields.as_ref()),
            NamespaceEvent::Deleted(bytes) => bytes.clone(),
        });
        bytes.collect::<Vec<_>>().concat().into()
    }
}
