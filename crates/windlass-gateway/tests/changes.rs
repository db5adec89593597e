//! Streams of all jobs of a namespace.

use std::sync::Arc;

use http::Method;
use serde_json::json;
use windlass_core::Error;
use windlass_core::changes::Change;
use windlass_core::live::Shown;

use crate::events::Stream;
use crate::fake::Fault;
use crate::http::{Ask, Server};

fn follow() -> Ask {
    let fields = "metadata.name,spec.input,status.phase";
    Ask::good(Method::GET, format!("/v1/namespaces/default/events?fields={fields}"))
}

/// A stream that has begun.
async fn begun(server: &Server) -> Stream {
    let mut stream = Stream::of(server, follow()).await;
    let first = stream.next().await.unwrap();
    assert_eq!((first.kind.as_str(), first.data), ("begun", json!({})));
    stream
}

fn stored(server: &Server, name: &str) -> Change {
    Change::Stored(Shown::new(Arc::new(server.backend.job(name).unwrap()), None))
}

#[tokio::test]
async fn each_stream_is_told_what_happens_once_a_moment_and_without_inputs() {
    let server = Server::start().await;
    server.backend.put("a");
    server.backend.put("b");
    let mut streams = [begun(&server).await, begun(&server).await];
    let gone = Change::Deleted { name: "b".into(), uid: "uid-of-b".into() };
    for change in [stored(&server, "a"), stored(&server, "b"), stored(&server, "a"), gone] {
        server.backend.tell(Ok(change));
    }
    for stream in &mut streams {
        let (a, b) = (stream.next().await.unwrap(), stream.next().await.unwrap());
        assert_eq!(a.kind, "job");
        assert_eq!(a.data["metadata"], json!({"name": "a"}));
        assert_eq!(a.data["spec"], json!({"input": {}}));
        assert_eq!((b.kind.as_str(), b.data), ("deleted", json!({"name": "b", "uid": "uid-of-b"})));
    }
    server.backend.tell(Ok(stored(&server, "a")));
    for stream in &mut streams {
        assert_eq!(stream.next().await.unwrap().data["metadata"]["name"], "a");
    }
}

#[tokio::test]
async fn a_name_that_is_used_again_within_a_moment_leaves_no_job_untold() {
    let server = Server::start().await;
    server.backend.put("a");
    let mut stream = begun(&server).await;
    let gone = |uid: &str| Change::Deleted { name: "a".into(), uid: uid.into() };
    let own = server.backend.job("a").unwrap().metadata.uid;
    for change in [gone("before"), stored(&server, "a"), gone(&own)] {
        server.backend.tell(Ok(change));
    }
    let mut told = [stream.next().await.unwrap(), stream.next().await.unwrap()].map(|event| {
        assert_eq!(event.kind, "deleted");
        event.data["uid"].as_str().unwrap().to_owned()
    });
    told.sort();
    let mut expected = ["before".to_owned(), own];
    expected.sort();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn what_cannot_be_followed_any_more_is_told_and_the_next_stream_begins_anew() {
    let server = Server::start().await;
    server.backend.put("a");
    let mut stream = begun(&server).await;
    server.backend.tell(Err(Error::unavailable("some were missed")));
    let problem = stream.next().await.unwrap();
    assert_eq!((problem.kind.as_str(), &problem.data["status"]), ("problem", &json!(503)));
    assert_eq!(stream.next().await, None);
    let mut next = begun(&server).await;
    server.backend.tell(Ok(stored(&server, "a")));
    assert_eq!(next.next().await.unwrap().kind, "job");
}

#[tokio::test]
async fn a_back_end_that_cannot_tell_says_so() {
    let server = Server::start().await;
    server.backend.fail(Fault::Fails(Error::unavailable("not now")));
    assert_eq!(server.send(follow()).await.status, 503);
    server.backend.fail(None);
    begun(&server).await;
}
