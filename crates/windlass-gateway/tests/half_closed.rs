//! Clients that close their side when they have asked, as HTTP/1.1 allows, and read the answer.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;

use crate::http::{Server, bounded, read_to_close, until};

fn post(path: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/namespaces/default/{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer good\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n{body}"
    )
}

/// Sends all of it, closes, and reads what comes.
async fn ask(server: &Server, request: &str) -> String {
    let mut socket = server.connect().await;
    socket.write_all(request.as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    read_to_close(&mut socket).await
}

#[tokio::test]
async fn one_who_has_nothing_more_to_ask_is_answered() {
    let server = Server::start().await;
    server.backend.put("a");
    let read = "GET /v1/namespaces/default/jobs/a HTTP/1.1\r\nhost: x\r\n\
                authorization: Bearer good\r\n\r\n";
    let answer = ask(&server, read).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let submitted = ask(&server, &post("jobs", "", r#"{"function": "price", "name": "b"}"#)).await;
    assert!(submitted.starts_with("HTTP/1.1 201"), "{submitted}");
    let chunked = post("jobs", "", "").replace("content-length: 0", "transfer-encoding: chunked")
        + "23\r\n{\"function\": \"price\", \"name\": \"c\"} \r\n0\r\n\r\n";
    let submitted = ask(&server, &chunked).await;
    assert!(submitted.starts_with("HTTP/1.1 201"), "{submitted}");
}

#[tokio::test]
async fn one_who_waits_is_told_the_result() {
    let server = Server::start().await;
    let call = post("jobs", "prefer: wait=60\r\n", r#"{"function": "price", "name": "a"}"#);
    let finish = async {
        until(|| server.backend.job("a").is_some() && server.backend.watchers("a") > 0).await;
        server.backend.finish("a", b"1", "application/json");
    };
    let (answer, ()) = tokio::join!(ask(&server, &call), finish);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Succeeded"), "{answer}");
}

#[tokio::test]
async fn one_who_may_be_gone_is_not_waited_for_as_long() {
    let server = Server::start_with(|gateway| {
        gateway.limits.wait_of_closed = Duration::from_millis(300);
    })
    .await;
    let call = post("jobs", "prefer: wait=60\r\n", r#"{"function": "price", "name": "a"}"#);
    let answer = ask(&server, &call).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

#[tokio::test]
async fn a_stream_shows_the_job_as_it_is_and_ends() {
    let server = Server::start().await;
    server.backend.put("a");
    let events = "GET /v1/namespaces/default/jobs/a/events HTTP/1.1\r\nhost: x\r\n\
                  authorization: Bearer good\r\n\r\n";
    let answer = ask(&server, events).await;
    assert!(answer.contains("event: job") && answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_request_that_breaks_off_is_given_up_at_once() {
    let server = Server::start().await;
    let whole = post("jobs", "", r#"{"function": "price", "name": "a"}"#);
    let began = Instant::now();
    bounded(ask(&server, whole.get(..whole.len() - 5).unwrap())).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(server.backend.job("a").is_none());
}
