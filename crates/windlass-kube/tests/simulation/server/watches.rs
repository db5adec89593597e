//! Watches: every change since a version, in order, late as the faults say.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::Response;
use http_body::Frame;
use http_body_util::{StreamBody, combinators::UnsyncBoxBody};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::rest::{Answer, Path, Query};
use super::storage::selected;
use super::{Server, State};

struct Watch {
    server: Server,
    path: Path,
    query: Query,
    /// The version of the last change that was sent.
    since: u64,
    versions: watch::Receiver<u64>,
}

impl Server {
    pub(super) fn watch(&self, path: Path, query: Query) -> Answer {
        let since = query.get("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
        let versions = self.lock().versions.subscribe();
        let watch = Watch { server: self.clone(), path, query, since, versions };
        let lines = futures::stream::unfold(Some(watch), |watch| async { watch?.next().await });
        Response::new(UnsyncBoxBody::new(StreamBody::new(lines.boxed())))
    }
}

impl Watch {
    /// The next changes; and how the watch goes on, unless it ends with them.
    async fn next(mut self) -> Option<(io::Result<Frame<Bytes>>, Option<Self>)> {
        loop {
            let (now, lines) = self.changes();
            if lines.is_empty() {
                self.versions.changed().await.ok()?;
                continue;
            }
            if self.server.lock().expires_watch() {
                return Some((frame(expired()), None));
            }
            let delay = self.server.lock().event_delay(&self.path.plural);
            tokio::time::sleep(delay).await;
            self.since = now;
            return Some((frame(lines), Some(self)));
        }
    }

    /// The changes since the last ones, one a line, and the version that they lead to.
    fn changes(&self) -> (u64, String) {
        let state = self.server.lock();
        let first = state.log.partition_point(|(version, ..)| *version <= self.since);
        let namespace = self.path.namespace.as_deref();
        let lines = state.log[first..]
            .iter()
            .filter(|(_, plural, _, object)| {
                *plural == self.path.plural && selected(object, namespace, &self.query)
            })
            .map(|(_, _, kind, object)| line(kind, object))
            .collect();
        (state.version, lines)
    }
}

impl State {
    /// How late the next events of a watch come.
    fn event_delay(&mut self, plural: &str) -> Duration {
        let pods = self.read_faults.filter(|_| plural == "pods");
        self.travel_time()
            + self.read_delay()
            + Duration::from_millis(pods.map_or(0, |faults| faults.late_pods))
    }
}

fn frame(lines: String) -> io::Result<Frame<Bytes>> {
    Ok(Frame::data(Bytes::from(lines)))
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

fn expired() -> String {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": 410, "reason": "Expired", "message": "too old" });
    line("ERROR", &status)
}
