//! Streams of events.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use windlass_core::{Error, Phase};

use crate::fake::Fault;
use crate::http::{Ask, Server, bounded};

const JOB: &str = "/v1/namespaces/default/jobs/a";

fn events() -> Ask {
    Ask::good(Method::GET, format!("{JOB}/events"))
}

/// What came of a stream so far.
struct Stream {
    body: Incoming,
    text: String,
}

#[derive(Debug, PartialEq)]
struct Event {
    kind: String,
    id: Option<String>,
    data: Value,
}

impl Stream {
    async fn open(server: &Server) -> Self {
        let response = server.open(events()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event, or `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                let field = |name: &str| {
                    let start = format!("{name}: ");
                    block.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
                };
                if let Some(data) = field("data") {
                    return Some(Event {
                        kind: field("event").unwrap(),
                        id: field("id"),
                        data: serde_json::from_str(&data).unwrap(),
                    });
                }
                continue; // a comment
            }
            let frame = bounded(self.body.frame()).await?.unwrap();
            self.text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
        }
    }

    async fn phase(&mut self) -> Option<String> {
        let event = self.next().await?;
        assert_eq!(event.kind, "job");
        event.data["status"]["phase"].as_str().map(str::to_owned)
    }
}

#[tokio::test]
async fn the_whole_job_is_told_on_every_change_until_its_end() {
    let server = Server::start().await;
    server.world.put("a");
    let mut stream = Stream::open(&server).await;
    let first = stream.next().await.unwrap();
    assert_eq!((first.kind.as_str(), first.id.as_deref()), ("job", Some("1")));
    assert_eq!(first.data["kind"], "ComputeJob");
    server.world.change("a", Phase::Queued);
    assert_eq!(stream.phase().await.as_deref(), Some("Queued"));
    server.world.change("a", Phase::Running);
    assert_eq!(stream.phase().await.as_deref(), Some("Running"));
    server.world.finish("a", b"{}", "application/json");
    assert_eq!(stream.phase().await.as_deref(), Some("Succeeded"));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn who_has_seen_the_end_is_told_that_nothing_more_comes() {
    let server = Server::start().await;
    server.world.put("a");
    server.world.finish("a", b"{}", "application/json");
    let late = server.send(events()).await;
    assert!(String::from_utf8_lossy(&late.body).contains("id: 2\n"), "{late:?}");
    let again = server.send(events().header("last-event-id", "2")).await;
    assert_eq!(again.status, 204);
    let older = server.send(events().header("last-event-id", "1")).await;
    assert_eq!(older.status, 200);
}

#[tokio::test]
async fn a_deleted_job_ends_its_stream_with_a_problem() {
    let server = Server::start().await;
    server.world.put("a");
    let mut stream = Stream::open(&server).await;
    stream.next().await.unwrap();
    assert_eq!(server.send(Ask::good(Method::DELETE, JOB)).await.status, 204);
    let last = stream.next().await.unwrap();
    assert_eq!((last.kind.as_str(), &last.data["status"]), ("problem", &Value::from(404)));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_stream_of_nothing_is_an_answer_not_a_stream() {
    let server = Server::start().await;
    server.send(events()).await.problem(404);
    server.world.fail(Fault::Fails(Error::unavailable("not now")));
    server.send(events()).await.problem(503);
}

#[tokio::test]
async fn a_silent_stream_is_kept_open_and_then_ended() {
    let server = Server::start_with(|gateway| {
        gateway.limits.keep_alive = Duration::from_millis(50);
        gateway.limits.stream = Duration::from_millis(400);
        gateway.limits.request = Duration::from_millis(100);
    })
    .await;
    server.world.put("a");
    let answer = server.send(events()).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(text.matches("\n:\n").count() + text.matches("\n: ").count() >= 2, "{text}");
}
