//! Streams of events.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use windlass_core::{Error, Phase};

use crate::fake::{Fault, WORKER};
use crate::http::{Ask, Server, bounded, until};

const JOB: &str = "/v1/namespaces/default/jobs/a";

fn events() -> Ask {
    events_with("")
}

fn events_with(query: &str) -> Ask {
    Ask::good(Method::GET, format!("{JOB}/events{query}"))
}

/// What came of a stream so far.
pub(crate) struct Stream {
    body: Incoming,
    text: String,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

impl Stream {
    pub(crate) async fn open(server: &Server) -> Self {
        Self::open_after(server, None).await
    }

    /// A stream of somebody who has seen this already.
    async fn open_after(server: &Server, seen: Option<&str>) -> Self {
        let ask = seen.into_iter().fold(events(), |ask, seen| ask.header("last-event-id", seen));
        Self::of(server, ask).await
    }

    pub(crate) async fn of(server: &Server, ask: Ask) -> Self {
        let response = server.open(ask).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event, or `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
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

    /// A server with job `a`, and a stream of it whose first event is read.
    async fn of_a_new_job() -> (Server, Self, Event) {
        let server = Server::start().await;
        server.backend.put("a");
        let mut stream = Self::open(&server).await;
        let first = stream.next().await.unwrap();
        (server, stream, first)
    }

    async fn phase(&mut self) -> Option<String> {
        let event = self.next().await?;
        assert_eq!(event.kind, "job");
        event.data["status"]["phase"].as_str().map(str::to_owned)
    }
}

#[tokio::test]
async fn the_whole_job_is_told_on_every_change_until_its_end() {
    let (server, mut stream, first) = Stream::of_a_new_job().await;
    assert_eq!((first.kind.as_str(), first.id.as_deref()), ("job", Some("uid-of-a.1")));
    assert_eq!(first.data["kind"], "ComputeJob");
    server.backend.change("a", Phase::Queued);
    assert_eq!(stream.phase().await.as_deref(), Some("Queued"));
    server.backend.change("a", Phase::Running);
    assert_eq!(stream.phase().await.as_deref(), Some("Running"));
    server.backend.finish("a", b"{}", "application/json");
    assert_eq!(stream.phase().await.as_deref(), Some("Succeeded"));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn only_the_fields_that_are_asked_for_are_told() {
    let server = Server::start().await;
    server.backend.put("a");
    let fields = "metadata.name,spec.function,status.phase";
    let mut some = Stream::of(&server, events_with(&format!("?fields={fields}"))).await;
    let mut fewer = Stream::of(&server, events_with("?fields=metadata.uid")).await;
    let mut whole = Stream::open(&server).await;
    server.backend.finish("a", b"{}", "application/json");
    let mut last = Value::Null;
    while let Some(event) = some.next().await {
        assert!(event.id.is_some());
        last = event.data;
    }
    let function = &whole.next().await.unwrap().data["spec"]["function"];
    let name = json!({ "name": "a" });
    assert_eq!(
        last,
        json!({ "metadata": name, "spec": { "function": function }, "status": { "phase": "Succeeded" } })
    );
    let told = fewer.next().await.unwrap().data;
    assert_eq!(told.as_object().unwrap().keys().collect::<Vec<_>>(), ["metadata"]);
    for (query, words) in [("?fields=nope", "nope"), ("?since=1", "since")] {
        let refused = server.send(events_with(query)).await;
        assert_eq!(refused.status, 400);
        assert!(refused.json()["detail"].as_str().unwrap().contains(words));
    }
}

/// A worker tells that so many of 10 are done after so many seconds.
pub(crate) async fn tell(server: &Server, done: u64, elapsed_seconds: f64) {
    let event = json!({"progress": {
        "done": done, "total": 10, "message": "m", "elapsedSeconds": elapsed_seconds,
    }});
    let report = json!({"jobUid": "uid-of-a", "attempt": 1, "event": event});
    let ask = Ask::new(Method::POST, "/v1/reports").token(WORKER).json(&report);
    assert_eq!(server.send(ask).await.status, 204);
}

/// What an event of progress tells.
fn done(event: &Event) -> (&str, u64, &str) {
    let progress = match event.kind.as_str() {
        "job" => &event.data["status"]["progress"],
        _ => &event.data["progress"],
    };
    let done = progress["done"].as_u64().unwrap();
    (event.kind.as_str(), done, event.id.as_deref().unwrap())
}

#[tokio::test]
async fn progress_is_told_between_two_writes_and_without_the_job() {
    let (server, mut stream, _) = Stream::of_a_new_job().await;
    tell(&server, 1, 0.5).await;
    let told = stream.next().await.unwrap();
    assert_eq!(done(&told), ("progress", 1, "uid-of-a.1.1.500"));
    assert_eq!((&told.data["attempt"], told.data.as_object().unwrap().len()), (&json!(1), 2));
    assert_eq!(told.data["progress"]["percent"], "10%");
    // What comes late is nothing; the next change of the job has the latest.
    tell(&server, 9, 0.4).await;
    server.backend.change("a", Phase::Running);
    assert_eq!(done(&stream.next().await.unwrap()), ("job", 1, "uid-of-a.2.1.500"));
    server.backend.finish("a", b"{}", "application/json");
    let last = stream.next().await.unwrap();
    assert_eq!(
        (last.id.as_deref(), &last.data["status"]["phase"]),
        (Some("uid-of-a.3"), &json!("Succeeded"))
    );
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn who_comes_back_is_told_what_is_new_and_nothing_twice_or_older() {
    let server = Server::start().await;
    server.backend.put("a");
    let stream = Stream::open(&server).await;
    tell(&server, 3, 3.0).await;
    // At first what was missed: progress.
    let mut missed = Stream::open_after(&server, Some("uid-of-a.1.1.2000")).await;
    assert_eq!(done(&missed.next().await.unwrap()), ("progress", 3, "uid-of-a.1.1.3000"));
    // Who has seen all, or more than this replica knows, hears of the next change only.
    for seen in ["uid-of-a.1.1.3000", "uid-of-a.1.1.3500", "uid-of-a.2"] {
        let mut up_to_date = Stream::open_after(&server, Some(seen)).await;
        let silence = tokio::time::timeout(Duration::from_millis(100), up_to_date.next()).await;
        assert!(silence.is_err(), "{seen}: {silence:?}");
    }
    // Who has seen less is told the whole job, with its progress.
    for seen in ["uid-of-a.0.1.9000", "uid-of-b.7", "7"] {
        let mut behind = Stream::open_after(&server, Some(seen)).await;
        assert_eq!(done(&behind.next().await.unwrap()), ("job", 3, "uid-of-a.1.1.3000"), "{seen}");
    }
    drop(stream);
}

#[tokio::test]
async fn many_streams_of_a_job_are_one_watch_of_the_back_end() {
    let server = Server::start().await;
    server.backend.put("a");
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = Stream::open(&server).await;
        stream.next().await.unwrap();
        streams.push(stream);
    }
    assert_eq!(server.backend.watchers("a"), 1);
    tell(&server, 1, 0.5).await;
    for stream in &mut streams {
        assert_eq!(done(&stream.next().await.unwrap()), ("progress", 1, "uid-of-a.1.1.500"));
    }
    drop(streams);
    until(|| server.backend.watchers("a") == 0).await;
}

#[tokio::test]
async fn another_job_of_the_same_name_has_a_stream_of_its_own() {
    let (server, _first, _) = Stream::of_a_new_job().await;
    server.backend.rename("a", "uid-of-the-next");
    let mut next = Stream::open_after(&server, Some("uid-of-a.1.1.500")).await;
    assert_eq!(next.next().await.unwrap().id.as_deref(), Some("uid-of-the-next.1"));
}

#[tokio::test]
async fn who_has_seen_the_end_is_told_that_nothing_more_comes() {
    let server = Server::start().await;
    server.backend.put("a");
    server.backend.finish("a", b"{}", "application/json");
    let late = server.send(events()).await;
    assert!(String::from_utf8_lossy(&late.body).contains("id: uid-of-a.2\n"), "{late:?}");
    for seen in ["uid-of-a.2", "uid-of-a.2.1.700", "uid-of-a.3"] {
        assert_eq!(server.send(events().header("last-event-id", seen)).await.status, 204, "{seen}");
    }
    for seen in ["uid-of-a.1.1.700", "uid-of-another.2", "2", ""] {
        assert_eq!(server.send(events().header("last-event-id", seen)).await.status, 200, "{seen}");
    }
}

#[tokio::test]
async fn a_deleted_job_ends_its_stream_with_a_problem() {
    let (server, mut stream, _) = Stream::of_a_new_job().await;
    assert_eq!(server.send(Ask::good(Method::DELETE, JOB)).await.status, 204);
    let last = stream.next().await.unwrap();
    assert_eq!((last.kind.as_str(), &last.data["status"]), ("problem", &Value::from(404)));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_stream_of_nothing_is_an_answer_not_a_stream() {
    let server = Server::start().await;
    server.send(events()).await.problem(404);
    server.backend.fail(Fault::Fails(Error::unavailable("not now")));
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
    server.backend.put("a");
    let answer = server.send(events()).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(text.matches("\n:\n").count() + text.matches("\n: ").count() >= 2, "{text}");
}
