//! Callers that take all they can get: they may slow themselves down, and nobody else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use windlass_core::Error;
use windlass_gateway::operations_server::{self, OperationsServer};

use crate::fake::{Fault, GOOD, READER, SUBMITTER};
use crate::http::{Ask, Server, bounded, until};

const CONNECTIONS: usize = 32;
/// Longest time of an honest request.
const HONEST: Duration = Duration::from_secs(1);

async fn crowded() -> Server {
    let server = Server::start_with(|gateway| gateway.limits.connections = CONNECTIONS).await;
    server.backend.put("a");
    server
}

/// Health checks, the admin, and somebody else are answered as if there were no crowd.
async fn assert_honest_are_answered(server: &Server) {
    let jobs = "/v1/namespaces/default/jobs";
    for ask in [
        Ask::new(Method::GET, "/healthz"),
        Ask::new(Method::GET, "/readyz"),
        Ask::good(Method::GET, jobs),
        Ask::new(Method::GET, "/healthz").token(SUBMITTER),
    ] {
        let began = Instant::now();
        let answer = server.send(ask.clone()).await;
        assert_eq!(answer.status, 200, "{}: {answer:?}", ask.path());
        assert!(began.elapsed() < HONEST, "{}: {:?}", ask.path(), began.elapsed());
    }
}

/// Sends a request and reads the status of its answer; `None` when the server closes without one.
async fn status_of(socket: &mut TcpStream, request: &str) -> Option<StatusCode> {
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut head = [0; 12];
    bounded(socket.read_exact(&mut head)).await.ok()?;
    StatusCode::from_bytes(head.get(9..)?).ok()
}

fn request(path: &str, token: &str, more: &str, body: &str) -> String {
    let method = if body.is_empty() { "GET" } else { "POST" };
    format!(
        "{method} /v1/namespaces/default/{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n{more}\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_caller_with_more_streams_than_there_are_connections_stops_nobody() {
    let server = crowded().await;
    let mut crowd = Vec::new();
    let mut statuses = Vec::new();
    for _ in 0..3 * CONNECTIONS {
        let mut socket = server.connect().await;
        statuses.push(status_of(&mut socket, &request("jobs/a/events", READER, "", "")).await);
        crowd.push(socket);
    }
    let open = statuses.iter().filter(|status| **status == Some(StatusCode::OK)).count();
    assert_eq!(open, CONNECTIONS / 4, "{statuses:?}");
    let refused = Some(StatusCode::TOO_MANY_REQUESTS);
    assert!(statuses.iter().skip(open).all(|status| *status == refused), "{statuses:?}");
    assert_honest_are_answered(&server).await;
}

#[tokio::test]
async fn one_who_gives_a_stream_back_may_have_another() {
    let server = crowded().await;
    let events = || Ask::new(Method::GET, "/v1/namespaces/default/jobs/a/events").token(READER);
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS / 4 {
        streams.push(server.open(events()).await);
    }
    let refused = server.send(events()).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.problem(429);
    streams.pop();
    bounded(async {
        while server.open(events()).await.status() != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_with_more_waits_than_there_are_connections_stops_nobody() {
    let server = crowded().await;
    let mut crowd = Vec::new();
    for n in 0..3 * CONNECTIONS {
        let mut socket = server.connect().await;
        let body = format!(r#"{{"function": "price", "name": "wait-{n}"}}"#);
        // The admin waits: there is no room for more of their own, and for others there is.
        let wait = request("jobs", GOOD, "prefer: wait=600\r\n", &body);
        socket.write_all(wait.as_bytes()).await.unwrap();
        crowd.push(socket);
    }
    let began = Instant::now();
    for ask in [
        Ask::new(Method::GET, "/healthz"),
        Ask::new(Method::GET, "/v1/namespaces/default/jobs").token(READER),
    ] {
        assert_eq!(server.send(ask).await.status, 200);
    }
    assert!(began.elapsed() < HONEST, "{:?}", began.elapsed());
}

#[tokio::test]
async fn callers_without_a_token_that_pipeline_and_do_not_read_stop_nobody() {
    let server = crowded().await;
    let pipeline = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(300);
    let mut crowd = Vec::new();
    for n in 0..3 * CONNECTIONS {
        let mut socket = server.connect().await;
        // It may have to make room before all is sent.
        socket.write_all(pipeline.as_bytes()).await.ok();
        crowd.push(socket);
        if n % CONNECTIONS == CONNECTIONS - 1 {
            assert_honest_are_answered(&server).await;
        }
    }
}

#[tokio::test]
async fn an_address_with_many_connections_drives_out_only_its_own() {
    let server = crowded().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
    let mut other = socket.connect(server.address).await.unwrap();
    let health = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    assert_eq!(status_of(&mut other, health).await, Some(StatusCode::OK));
    let mut crowd = Vec::new();
    for _ in 0..3 * CONNECTIONS {
        crowd.push(server.connect().await);
    }
    // The last of the crowd is accepted when it is answered.
    assert_eq!(status_of(&mut crowd.pop().unwrap(), health).await, Some(StatusCode::OK));
    let mut rest = [0; 1024];
    let read = bounded(other.read(&mut rest)).await.unwrap();
    assert!(String::from_utf8_lossy(&rest[..read]).ends_with("alive\n"), "the rest of the answer");
    assert_eq!(status_of(&mut other, health).await, Some(StatusCode::OK));
}

#[tokio::test]
async fn whoever_waits_after_a_health_check_holds_up_no_other() {
    let server = crowded().await;
    let health = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut crowd = Vec::new();
    // As many as may wait in line.
    for n in 0..CONNECTIONS / 4 {
        let mut socket = server.connect().await;
        assert_eq!(status_of(&mut socket, health).await, Some(StatusCode::OK));
        let mut answer = [0; 512];
        drop(bounded(socket.read(&mut answer)).await);
        let body = format!(r#"{{"function": "price", "name": "wait-{n}"}}"#);
        let wait = request("jobs", GOOD, "prefer: wait=600\r\n", &body);
        socket.write_all(wait.as_bytes()).await.unwrap();
        crowd.push(socket);
    }
    bounded(async {
        while server.backend.names().len() < crowd.len() + 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let began = Instant::now();
    let mut socket = server.connect().await;
    for _ in 0..2 {
        assert_eq!(status_of(&mut socket, health).await, Some(StatusCode::OK));
        let mut rest = [0; 512];
        drop(bounded(socket.read(&mut rest)).await);
    }
    assert!(began.elapsed() < HONEST, "{:?}", began.elapsed());
}

#[tokio::test]
async fn probes_at_a_port_of_their_own_are_answered_while_the_other_has_no_room() {
    let mut beside = None;
    let server = Server::start_with(|gateway| {
        gateway.limits.connections = 1;
        beside = Some(OperationsServer::beside(gateway));
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let probed = tokio::spawn(operations_server::serve(listener, beside.unwrap(), stopped));
    let get = async |path: &str, more: &str| {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n");
        status_of(&mut socket, &request).await.map(|status| status.as_u16())
    };

    // Its only connection waits for a job.
    let mut busy = server.connect().await;
    let wait =
        request("jobs", GOOD, "prefer: wait=600\r\n", r#"{"function": "price", "name": "a"}"#);
    busy.write_all(wait.as_bytes()).await.unwrap();
    until(|| server.backend.names() == ["a"]).await;
    let mut caller = server.connect().await;
    let health = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = tokio::time::timeout(HONEST / 4, status_of(&mut caller, health)).await;
    assert!(answer.is_err(), "there is room: {answer:?}");
    for _ in 0..CONNECTIONS {
        let began = Instant::now();
        assert_eq!(get("/healthz", "").await, Some(200));
        assert_eq!(get("/readyz", "").await, Some(200));
        assert!(began.elapsed() < HONEST, "{:?}", began.elapsed());
    }
    let token = format!("authorization: Bearer {GOOD}\r\n");
    assert_eq!(get("/metrics", &token).await, Some(200));
    assert_eq!(get("/metrics", "").await, Some(401));
    assert_eq!(get("/v1/namespaces/default/jobs", &token).await, Some(404));

    server.backend.fail(Fault::Fails(Error::unavailable("away")));
    assert_eq!(get("/readyz", "").await, Some(503));
    assert_eq!(get("/healthz", "").await, Some(200));
    drop(stop);
    bounded(probed).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "a process that ends is not ready");
}
