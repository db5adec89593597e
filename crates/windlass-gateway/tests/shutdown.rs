//! The end of a server.

use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::net::TcpStream;

use crate::fake::Fault;
use crate::http::{Ask, Server, bounded, read_to_close, until};

const JOBS: &str = "/v1/namespaces/default/jobs";

async fn shut_down(server: &mut Server) {
    server.shutdown.take().unwrap().send(()).unwrap();
    bounded(&mut server.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn streams_waits_and_idle_connections_end_at_once() {
    let mut server = Server::start().await;
    server.backend.put("a");
    let stream = server.open(Ask::good(Method::GET, format!("{JOBS}/a/events"))).await;
    let mut silent = server.connect().await;
    let submit = Ask::good(Method::POST, JOBS)
        .header("prefer", "wait=600")
        .json(&json!({"function": "price", "name": "b"}));
    let backend = server.backend.clone();
    let begun = Instant::now();
    let address = server.address;
    let waiting = async {
        let socket = TcpStream::connect(address).await.unwrap();
        submit_on(socket, submit).await
    };
    let (waited, ()) = tokio::join!(waiting, async {
        until(|| backend.job("b").is_some()).await;
        shut_down(&mut server).await;
    });
    assert_eq!(waited, 202);
    bounded(stream.into_body().collect()).await.unwrap();
    assert_eq!(read_to_close(&mut silent).await, "");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(TcpStream::connect(address).await.is_err());
}

async fn submit_on(socket: TcpStream, ask: Ask) -> u16 {
    let io = hyper_util::rt::TokioIo::new(socket);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    bounded(sender.send_request(ask.request("x"))).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_request_that_runs_is_answered() {
    let mut server = Server::start().await;
    server.backend.fail(Fault::Late(Duration::from_millis(400)));
    let socket = server.connect().await;
    let (status, ()) = tokio::join!(submit_on(socket, Ask::good(Method::GET, JOBS)), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        shut_down(&mut server).await;
    });
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_request_that_hangs_is_cut_off() {
    let mut server =
        Server::start_with(|gateway| gateway.limits.drain = Duration::from_millis(200)).await;
    server.backend.fail(Fault::Late(Duration::from_secs(3_600)));
    let mut socket = server.connect().await;
    let request = format!("GET {JOBS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer good\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    shut_down(&mut server).await;
    assert_eq!(read_to_close(&mut socket).await, "");
}
