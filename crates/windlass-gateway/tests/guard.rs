//! Who may do what, for every route of the table.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use windlass_core::jobs::Verb;
use windlass_core::result::sha256;
use windlass_gateway::routes::{Guard, ROUTES, Route};

use crate::fake::{GOOD, JOB_READER, PEER, READER, Revocable, STRANGER, UNDECIDED, WORKER};
use crate::http::{Ask, Server, bounded, read_to_close, until};
use crate::login::login_code;

/// A request that would succeed for somebody who may.
fn request(route: &Route) -> Ask {
    let named = match route.path {
        path if path.contains("/functions") => "price",
        path if path.contains("/queues") => "small",
        _ => "a",
    };
    let path = path(route).replace("{name}", named);
    let ask = Ask::new(route.method.clone(), path);
    match route.guard {
        Guard::Worker if route.method == Method::PUT => ask.content(b"bytes"),
        // Its job ends for nobody: the answer is its place.
        Guard::Jobs(Verb::Create) if route.path.ends_with("/call") => {
            ask.header("prefer", "wait=0").json(&json!({"paths": 7}))
        }
        Guard::Jobs(Verb::Create) if route.path.contains("/blobs") => ask.content(b"bytes"),
        Guard::Jobs(Verb::Create) => ask.json(&json!({"function": "price", "name": "b"})),
        Guard::Worker => ask.json(&crate::reports::progress()),
        Guard::Peer => ask.json(&json!({"reports": [crate::reports::progress()]})),
        _ => ask,
    }
}

/// Its path, but for a job's name.
fn path(route: &Route) -> String {
    let digest = format!("sha256:{}", sha256(b"bytes"));
    [("{namespace}", "default"), ("{job_uid}", "uid"), ("{attempt}", "1"), ("{digest}", &digest)]
        .into_iter()
        .fold(route.path.to_owned(), |path, (key, value)| path.replace(key, value))
}

async fn status(server: &Server, ask: Ask) -> u16 {
    // Not its body: a stream has no end.
    server.open(ask).await.status().as_u16()
}

#[tokio::test]
async fn every_route_lets_through_only_who_may() {
    for route in ROUTES {
        let server = Server::start().await;
        server.backend.put("a");
        server.backend.finish("a", b"{}", "application/json");
        server.backend.keep_blob(b"bytes");
        let before = server.backend.job("a");
        let ask = || request(route);
        let what = format!("{} {}", route.method, route.path);
        let refused = match route.guard {
            // A bad token is refused where none is needed, too.
            Guard::Open => [200, 401, 200, 401, 503],
            Guard::Jobs(_) | Guard::Functions(_) | Guard::Queues(_) => [401, 401, 404, 401, 503],
            Guard::Worker | Guard::LoginCode => [401, 401, 401, 401, 401],
            Guard::Metrics | Guard::Admin => [401, 401, 403, 401, 503],
            Guard::Peer => [401, 401, 401, 401, 503],
        };
        let callers = [
            ask(),
            ask().token("bad"),
            ask().token(STRANGER),
            ask().header("authorization", format!("Basic {GOOD}")),
            ask().token(UNDECIDED),
        ];
        for (caller, expected) in callers.into_iter().zip(refused) {
            assert_eq!(status(&server, caller).await, expected, "{what}");
        }
        // Nobody who was refused has changed anything.
        assert_eq!(server.backend.names(), ["a"], "{what}");
        assert_eq!(server.backend.job("a"), before, "{what}");
        assert!(server.backend.reports.lock().unwrap().is_empty(), "{what}");
        assert!(server.backend.stored.lock().unwrap().is_empty(), "{what}");

        let reads = route.method == Method::GET;
        if route.guard.permission().is_some() {
            let expected = if reads { 200 } else { 403 };
            assert_eq!(status(&server, ask().token(READER)).await, expected, "{what}");
        }
        let token = match route.guard {
            Guard::Worker => WORKER.to_owned(),
            Guard::Peer => PEER.to_owned(),
            Guard::LoginCode => login_code(&server).await,
            _ => GOOD.to_owned(),
        };
        let good = status(&server, ask().token(&token)).await;
        assert!((200..300).contains(&good), "{what}: {good}");
    }
}

#[tokio::test]
async fn functions_and_queues_need_rights_of_their_own() {
    let server = Server::start().await;
    let table = [
        ("jobs", 200, ""),
        ("functions", 403, "the caller may not list computefunctions here"),
        ("functions/price", 403, "the caller may not get computefunctions here"),
        ("queues", 403, "the caller may not list computequeues here"),
        ("queues/small", 403, "the caller may not get computequeues here"),
    ];
    for (path, expected, why) in table {
        let ask = Ask::new(Method::GET, format!("/v1/namespaces/default/{path}"));
        let answer = server.send(ask.token(JOB_READER)).await;
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, expected, "{path}: {body}");
        assert!(body.contains(why), "{path}: {body}");
    }
}

#[tokio::test]
async fn every_get_has_its_head() {
    for route in ROUTES.iter().filter(|route| route.method == Method::GET) {
        let server = Server::start().await;
        server.backend.put("a");
        server.backend.finish("a", b"{}", "application/json");
        server.backend.keep_blob(b"bytes");
        let path = request(route).path().to_owned();
        let ask = |method| Ask::good(method, &path);
        let (get, head) =
            (server.open(ask(Method::GET)).await, server.send(ask(Method::HEAD)).await);
        assert_eq!((head.status, head.body.len()), (get.status(), 0), "{path}");
        let media_type = header::CONTENT_TYPE;
        assert_eq!(head.headers.get(&media_type), get.headers().get(&media_type), "{path}");
    }
}

#[tokio::test]
async fn methods_that_a_path_does_not_have_are_refused_after_the_token() {
    let server = Server::start().await;
    let methods = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::from_bytes(b"PROPFIND").unwrap(),
    ];
    for route in ROUTES {
        let path = path(route).replace("{name}", "a");
        for method in &methods {
            if ROUTES.iter().any(|r| r.path == route.path && r.method == *method) {
                continue;
            }
            let ask = || Ask::new(method.clone(), &path);
            assert_eq!(status(&server, ask()).await, 401, "{method} {path}");
            let answer = server.send(ask().token(GOOD)).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(answer.header("allow").unwrap().contains(route.method.as_str()));
        }
    }
}

#[tokio::test]
async fn unknown_paths_are_401_without_a_token_and_404_with_one() {
    let server = Server::start().await;
    for path in ["/", "/v1", "/v1/", "/v1/namespaces", "/v1/x/y", "/healthz/", "/metrics/", "//x"] {
        let unknown = server.send(Ask::new(Method::GET, path)).await;
        unknown.problem(401);
        assert_eq!(unknown.header("www-authenticate"), Some("Bearer"));
        server.send(Ask::new(Method::GET, path).token("bad")).await.problem(401);
        server.send(Ask::good(Method::GET, path)).await.problem(404);
        server.send(Ask::good(Method::POST, path)).await.problem(404);
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_judged_is_refused_with_a_time_to_come_back() {
    let server = Server::start().await;
    let ask = Ask::new(Method::GET, "/v1/namespaces/default/jobs").token(UNDECIDED);
    let answer = server.send(ask).await;
    answer.problem(503);
    assert_eq!(answer.header("retry-after"), Some("3"));
}

#[tokio::test]
async fn two_tokens_are_none() {
    let server = Server::start().await;
    let ask = Ask::good(Method::GET, "/v1/namespaces/default/jobs").token(GOOD);
    server.send(ask).await.problem(401);
}

#[tokio::test]
async fn anothers_job_and_no_job_look_the_same() {
    let server = Server::start().await;
    server.backend.put("a");
    let read = async |name: &str| {
        let path = format!("/v1/namespaces/default/jobs/{name}");
        let answer = server.send(Ask::new(Method::GET, path).token(STRANGER)).await;
        answer.problem(404).to_string()
    };
    assert_eq!(read("a").await, read("b").await);
}

#[tokio::test]
async fn what_is_open_ends_when_its_token_is_taken_back() {
    let access = Arc::new(Revocable::default());
    let server = Server::start_with(|gateway| {
        gateway.access = access.clone();
        gateway.limits.recheck = Duration::from_millis(20);
    })
    .await;
    server.backend.put("a");
    let job = "/v1/namespaces/default/jobs/a";
    let mut streams = Vec::new();
    let blob = format!("/v1/namespaces/default/blobs/sha256:{}", sha256(b""));
    for path in [format!("{job}/events"), format!("{job}/logs?follow=true"), blob] {
        // A part: of all the last piece would wait for the digest.
        let ask = Ask::good(Method::GET, path).header("range", "bytes=0-1000000");
        let mut body = server.open(ask).await.into_body();
        bounded(body.frame()).await.unwrap().unwrap();
        streams.push(body);
    }
    let call = Ask::good(Method::POST, "/v1/namespaces/default/functions/price/call");
    let revoke = async {
        until(|| server.backend.job("made-up").is_some()).await;
        access.is_revoked.store(true, Ordering::SeqCst);
    };
    let (answer, ()) = tokio::join!(server.send(call.json(&json!({}))), revoke);
    answer.problem(401);
    // A stream of events says that it ends. Of a log or a blob, only the end of the answer says that it is whole.
    for (mut body, is_whole) in streams.into_iter().zip([true, false, false]) {
        let mut last = Ok(());
        while let Some(frame) = bounded(body.frame()).await {
            last = frame.map(|_| ());
        }
        assert_eq!(last.is_ok(), is_whole);
    }
}

#[tokio::test]
async fn what_is_sent_is_refused_when_its_token_or_its_right_was_taken_back_meanwhile() {
    let (soon, late) = (Duration::from_millis(20), Duration::from_secs(600));
    // Who has no right here any more learns nothing of what is here.
    for (recheck, keeps_tokens, status) in
        [(soon, false, 401), (late, false, 401), (soon, true, 404), (late, true, 404)]
    {
        let access = Arc::new(Revocable { keeps_tokens, ..Revocable::default() });
        let server = Server::start_with(|gateway| {
            gateway.access = access.clone();
            gateway.limits.recheck = recheck;
        })
        .await;
        let json = r#"{"function":"price"}"#;
        for (path, media_type, bytes) in [
            ("blobs", "text/plain", "bytes"),
            ("jobs", "application/json", json),
            ("functions/any/call", "image/png", "bytes"),
        ] {
            access.is_revoked.store(false, Ordering::SeqCst);
            let mut socket = server.connect().await;
            let head = format!(
                "POST /v1/namespaces/default/{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {GOOD}\r\n\
                 Content-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\
                 Expect: 100-continue\r\n\r\n",
                server.address,
                bytes.len()
            );
            socket.write_all(head.as_bytes()).await.unwrap();
            // It is let through, and its body is read.
            let mut goes_on = [0; 25];
            bounded(socket.read_exact(&mut goes_on)).await.unwrap();
            assert!(goes_on.starts_with(b"HTTP/1.1 100"), "{path}");
            access.is_revoked.store(true, Ordering::SeqCst);
            let (begin, end) = bytes.split_at(1);
            socket.write_all(begin.as_bytes()).await.unwrap();
            if recheck > Duration::from_secs(1) {
                socket.write_all(end.as_bytes()).await.unwrap();
            }
            let answer = read_to_close(&mut socket).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
        }
        assert!(server.backend.blobs.lock().unwrap().is_empty());
        assert!(server.backend.names().is_empty());
    }
}
