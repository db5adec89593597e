//! What a function says, and following it.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use windlass_core::Phase;

use crate::http::{Ask, Server, bounded, until};

const LOGS: &str = "/v1/namespaces/default/jobs/a/logs";

fn ask(query: &str) -> Ask {
    Ask::good(Method::GET, format!("{LOGS}{query}"))
}

#[tokio::test]
async fn the_end_of_a_log_is_given_and_hostile() {
    let server = Server::start().await;
    server.backend.put("a");
    let answer = server.send(ask("")).await;
    assert_eq!(&answer.body[..], b"<script>one line</script>\n");
    assert_eq!(answer.header("content-security-policy"), Some("sandbox; default-src 'none'"));
    assert_eq!(&server.send(ask("?tailBytes=10")).await.body[..], b"</script>\n");
    assert_eq!(&server.send(ask("?tailBytes=0&follow=false")).await.body[..], b"");
    let stamped = server.send(ask("?timestamps=true")).await;
    assert_eq!(&stamped.body[..], b"2026-01-02T03:04:05.678901Z <script>one line</script>\n");
    for query in [
        "?timestamps=1",
        "?tailBytes=-1",
        "?tailBytes=1048577",
        "?follow=yes",
        "?x=1",
        "?attempt=0",
        "?attempt=x",
        "?attempt=-1",
        "?attempt=4294967296",
    ] {
        server.send(ask(query)).await.problem(400);
    }
}

#[tokio::test]
async fn an_attempt_is_asked_for_by_its_number() {
    let server = Server::start().await;
    server.backend.put("a");
    server.send(ask("?attempt=1")).await.problem(404);
    server.backend.attempted("a", 2);
    assert_eq!(server.send(ask("?attempt=2")).await.status, 200);
    server.send(ask("?attempt=3")).await.problem(404);
    // It says no more, so that there is nothing to follow.
    server.send(ask("?attempt=3&follow=true")).await.problem(404);
    server.send(ask("?attempt=1&follow=true")).await.problem(410);
    let gone = server.send(ask("?attempt=1")).await.problem(410);
    assert_eq!(
        (&gone["type"], &gone["detail"]),
        (&"/problems/gone".into(), &"nothing is kept of it".into())
    );
}

#[tokio::test]
async fn a_followed_log_ends_with_its_job() {
    let server = Server::start().await;
    server.backend.put("a");
    let head = server.send(Ask::good(Method::HEAD, format!("{LOGS}?follow=true"))).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    server.backend.attempted("a", 1);
    let mut open = server.open(ask("?follow=true&attempt=1&tailBytes=10")).await;
    assert_eq!(open.headers()["content-type"], "text/plain; charset=utf-8");
    let mut heard = Vec::new();
    while !heard.ends_with(b"more\n") {
        heard.extend(bounded(open.frame()).await.unwrap().unwrap().into_data().unwrap());
    }
    assert_eq!(heard, b"</script>\nmore\n");
    server.backend.change("a", Phase::Succeeded);
    assert!(bounded(open.frame()).await.is_none());
    until(|| server.backend.watchers("a") == 0).await;
    server
        .send(Ask::good(Method::GET, LOGS.replace("/a/", "/nope/") + "?follow=true"))
        .await
        .problem(404);
}

/// What is still sent, and whether the answer ends as a whole one does.
async fn rest(mut open: Incoming) -> (Vec<u8>, bool) {
    let mut said = Vec::new();
    while let Some(frame) = bounded(open.frame()).await {
        match frame {
            Ok(frame) => said.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(_) => return (said, false),
        }
    }
    (said, true)
}

/// Only a log that is whole ends as an answer does that is whole.
#[tokio::test]
async fn a_followed_log_breaks_off_at_the_bound_and_with_the_server() {
    let short = |gateway: &mut windlass_gateway::Gateway| {
        gateway.limits.stream = Duration::from_millis(100);
    };
    let server = Server::start_with(short).await;
    server.backend.put("a");
    let (said, is_whole) = rest(server.open(ask("?follow=true")).await.into_body()).await;
    assert!(said.ends_with(b"more\n") && !is_whole);

    let mut server = Server::start().await;
    server.backend.put("a");
    let mut open = server.open(ask("?follow=true")).await.into_body();
    bounded(open.frame()).await.unwrap().unwrap();
    drop(server.shutdown.take());
    assert!(!rest(open).await.1);
    bounded(&mut server.served).await.unwrap().unwrap();
}
