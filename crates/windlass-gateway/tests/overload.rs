//! Clients that are slow, large or many.

use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use windlass_gateway::ServerLimits;

use crate::http::{Ask, BOUND, Server, bounded, read_to_close, until};

const SUBMIT: &str = "POST /v1/namespaces/default/jobs HTTP/1.1\r\nhost: x\r\n\
    authorization: Bearer good\r\ncontent-type: application/json\r\n";

fn health() -> Ask {
    Ask::new(Method::GET, "/healthz")
}

#[tokio::test]
async fn slow_headers_are_cut_off() {
    let server =
        Server::start_with(|gateway| gateway.limits.head = Duration::from_millis(300)).await;
    let mut socket = server.connect().await;
    let begun = Instant::now();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    // One more line each time is no reprieve.
    for _ in 0..100 {
        if socket.write_all(b"x: y\r\n").await.is_err() {
            break;
        }
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_millis(50), socket.read(&mut byte)).await;
        if matches!(read, Ok(Ok(0) | Err(_))) {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(server.send(health()).await.status, 200);
}

#[tokio::test]
async fn a_thousand_headers_and_a_huge_one_are_431() {
    let server = Server::start().await;
    let many: String = (0..1000).map(|n| format!("x-{n}: y\r\n")).collect();
    let huge = format!("x: {}\r\n", "y".repeat(100 * 1024));
    for flood in [many, huge] {
        let mut socket = server.connect().await;
        let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{flood}\r\n");
        // The server may close before it has read all.
        socket.write_all(request.as_bytes()).await.ok();
        let answer = read_to_close(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    assert_eq!(server.send(health()).await.status, 200);
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_not_read() {
    let server = Server::start().await;
    let request = format!("{SUBMIT}content-length: 10000000000\r\n\r\n");
    let answer = server.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let expects = format!("{SUBMIT}content-length: 10000000000\r\nexpect: 100-continue\r\n\r\n");
    let answer = server.raw(expects.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_body_without_end_is_cut_off_and_its_sender_is_told() {
    let server = Server::start().await;
    let mut socket = server.connect().await;
    let head = format!("{SUBMIT}transfer-encoding: chunked\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    // What does not fit into the socket's buffers was not read.
    let mut sent = 0;
    while sent < 16 * 1024 * 1024 {
        let write = socket.write_all(chunk.as_bytes());
        match tokio::time::timeout(Duration::from_millis(200), write).await {
            Ok(Ok(())) => sent += chunk.len(),
            _ => break,
        }
    }
    let answer = read_to_close(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "after {sent}: {answer}");
    assert!(sent < 16 * 1024 * 1024, "{sent}");
}

#[tokio::test]
async fn a_slow_body_is_408() {
    let server =
        Server::start_with(|gateway| gateway.limits.body = Duration::from_millis(200)).await;
    let request = format!("{SUBMIT}content-length: 100\r\n\r\n{{\"fun");
    let answer = server.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_crowd_of_silent_connections_locks_nobody_out() {
    let server = Server::start_with(|gateway| gateway.limits.connections = 8).await;
    let mut crowd = Vec::new();
    for n in 0..100 {
        let mut socket = server.connect().await;
        socket.write_all(b"GET / HTTP/1.1\r\nx: ").await.ok();
        crowd.push(socket);
        if n % 10 == 9 {
            let begun = Instant::now();
            assert_eq!(server.send(health()).await.status, 200);
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
    }
}

#[tokio::test]
async fn connections_that_are_being_answered_are_not_given_up_for_others() {
    let server = Server::start_with(|gateway| gateway.limits.connections = 8).await;
    server.backend.put("a");
    let events = || Ask::good(Method::GET, "/v1/namespaces/default/jobs/a/events");
    let streams = [server.open(events()).await, server.open(events()).await];
    let mut crowd = Vec::new();
    for _ in 0..30 {
        crowd.push(server.connect().await);
        assert_eq!(server.send(health()).await.status, 200);
    }
    server.backend.finish("a", b"1", "application/json");
    for stream in streams {
        let said = bounded(stream.into_body().collect()).await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&said).contains("Succeeded"), "{said:?}");
    }
}

/// A server of one connection, of which this limit is short.
async fn with_one_place(short: impl FnOnce(&mut ServerLimits) -> &mut Duration) -> Server {
    Server::start_with(|gateway| {
        gateway.limits.connections = 1;
        *short(&mut gateway.limits) = Duration::from_millis(300);
    })
    .await
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_connection() {
    let server = with_one_place(|limits| &mut limits.stalled_write).await;
    server.backend.put("a");
    server.backend.finish("a", &vec![b'x'; 64 * 1024 * 1024], "text/plain");
    let mut socket = server.connect().await;
    let request = "GET /v1/namespaces/default/jobs/a/result HTTP/1.1\r\nhost: x\r\n\
        authorization: Bearer good\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    // Its place is the only one: the next is answered only when it is gone.
    let begun = Instant::now();
    socket.readable().await.unwrap();
    assert_eq!(server.send(health()).await.status, 200);
    assert!(begun.elapsed() > Duration::from_millis(250), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_frees_its_place() {
    let server = with_one_place(|limits| &mut limits.wait_of_closed).await;
    let mut socket = server.connect().await;
    let body = r#"{"function": "price", "name": "a"}"#;
    let length = body.len();
    let request = format!("{SUBMIT}prefer: wait=600\r\ncontent-length: {length}\r\n\r\n{body}");
    socket.write_all(request.as_bytes()).await.unwrap();
    until(|| server.backend.job("a").is_some()).await;
    drop(socket);
    assert_eq!(server.send(health()).await.status, 200);
    assert!(server.backend.job("a").is_some());
}
