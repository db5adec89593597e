//! Callers that hold all the connections they can get, beside an honest one, on a server of 1,024 descriptors.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::floods::{HONEST_P99, honest};
use crate::support::http::Client;
use crate::support::server::Server;
use crate::support::{eventually, quantile, run, script, text, windlass};

/// How many connections each crowd wants.
pub(crate) const CROWD: usize = 980;
/// How long the honest one is beside it.
const BESIDE: Duration = Duration::from_secs(5);

/// Between two health checks.
const HEALTH_PAUSE: Duration = Duration::from_millis(30);

/// A server of so few descriptors, and of a job that runs.
fn server(here: &std::path::Path) -> Server {
    script(here, "sleep", "sleep 900", "");
    let mut limited = Command::new("prlimit");
    limited.arg("--nofile=1024:1024").arg(windlass());
    let functions = here.to_str().unwrap();
    let data = here.join("data");
    let server = Server::start_by(limited, &data, &["--cpus", "1", "--functions", functions]);
    let job = server.client.submit(&json!({ "function": "sleep", "name": "long" }));
    assert_eq!(job.status, 201, "{job:?}");
    eventually("it runs", Duration::from_secs(60), || {
        let job = server.client.get(&server.client.jobs("/long")).json();
        (job["status"]["phase"] == "Running").then_some(())
    });
    server
}

/// A key for these verbs.
fn key(here: &std::path::Path, verbs: &str) -> String {
    let data = here.join("data");
    let arguments = ["keys", "create", "hog", "--verbs", verbs, "--data", data.to_str().unwrap()];
    let made = run(&arguments);
    assert!(made.status.success(), "{made:?}");
    text(&made.stdout).trim().to_owned()
}

/// Sends this on each of so many connections, and keeps them all. Some are refused.
fn crowd(client: &Client, request: &str) -> Vec<TcpStream> {
    crowd_of(CROWD, || TcpStream::connect(&client.address).ok(), request)
}

/// The same by another number of connections, that are made in another way.
pub(crate) fn crowd_of(
    size: usize,
    connect: impl Fn() -> Option<TcpStream>,
    request: &str,
) -> Vec<TcpStream> {
    let connect = |_| {
        let mut socket = connect()?;
        socket.set_write_timeout(Some(Duration::from_millis(50))).ok()?;
        socket.write_all(request.as_bytes()).unwrap_or_default();
        Some(socket)
    };
    (0..size).filter_map(connect).collect()
}

/// What a caller sends for a stream of a job's events.
pub(crate) fn asks_for_events(client: &Client, token: &str, job: &str) -> String {
    let path = client.jobs(&format!("/{job}/events"));
    let host = &client.address;
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n")
}

/// How many of these connections are given a stream.
pub(crate) fn streams_of(crowd: &mut [TcpStream]) -> usize {
    let mut streams = 0;
    for socket in &mut *crowd {
        let mut head = [0; 12];
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let is_open = socket.read_exact(&mut head).is_ok() && head.ends_with(b"200");
        streams += usize::from(is_open);
    }
    println!("{streams} streams of one key on {} connections", crowd.len());
    streams
}

/// Reads a little from each now and then.
fn read_slowly(crowd: &mut [TcpStream], over: &AtomicBool) {
    for socket in &mut *crowd {
        socket.set_nonblocking(true).unwrap();
    }
    while !over.load(Ordering::Relaxed) {
        for socket in &mut *crowd {
            // Nothing there, or closed meanwhile.
            socket.read(&mut [0; 512]).unwrap_or_default();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Says that it is over, also when what is beside it fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The admin's requests and health checks beside the crowd, which reads slowly.
pub(crate) fn assert_honest_are_quick(client: &Client, mut crowd: Vec<TcpStream>) {
    let began = Instant::now();
    let over = &AtomicBool::new(false);
    let (mut times, mut health) = std::thread::scope(|scope| {
        scope.spawn(|| read_slowly(&mut crowd, over));
        let admin = scope.spawn(|| honest(client, over));
        let ends = Over(over);
        let mut health = Vec::new();
        while began.elapsed() < BESIDE {
            let asked = Instant::now();
            let answer = client.get("/healthz");
            assert_eq!(answer.status, 200, "{answer:?}");
            health.push(asked.elapsed());
            std::thread::sleep(HEALTH_PAUSE);
        }
        drop(ends);
        (admin.join().unwrap(), health)
    });
    let size = crowd.len();
    drop(crowd);
    let (admin, checks) = (times.len(), health.len());
    let slowest = [quantile(&mut times, 990), quantile(&mut health, 990)];
    println!("beside {size} connections: {admin} and {checks} requests, p99 {slowest:?}");
    assert!(admin >= 10 && checks >= 10, "{admin} {checks}");
    assert!(slowest.iter().all(|time| *time < HONEST_P99), "{slowest:?}");
}

#[test]
fn a_key_with_watch_alone_slows_nobody() {
    let here = tempfile::tempdir().unwrap();
    let server = server(here.path());
    let key = key(here.path(), "watch");
    let mut crowd = crowd(&server.client, &asks_for_events(&server.client, &key, "long"));
    let streams = streams_of(&mut crowd);
    assert!(streams > 100 && streams < CROWD / 3, "{streams}");
    assert_honest_are_quick(&server.client, crowd);
}

#[test]
fn callers_without_a_token_that_pipeline_and_read_slowly_slow_nobody() {
    let here = tempfile::tempdir().unwrap();
    let server = server(here.path());
    let client = &server.client;
    for (path, requests) in pipelined(client) {
        println!("{path}");
        assert_honest_are_quick(client, crowd(client, &requests));
    }
}

/// What a caller without a token sends on each connection before it reads anything, by the path that it asks for.
pub(crate) fn pipelined(client: &Client) -> [(String, String); 3] {
    ["/openapi.json".to_owned(), "/healthz".to_owned(), client.jobs("")].map(|path| {
        let one = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", client.address);
        (path, one.repeat(200))
    })
}

#[test]
fn a_function_may_open_as_many_files_as_before() {
    let here = tempfile::tempdir().unwrap();
    let out = "ulimit -Sn > $WINDLASS_OUTPUT";
    script(here.path(), "limit", out, "");
    let mut limited = Command::new("prlimit");
    limited.arg("--nofile=900:2000").arg(windlass());
    let functions = here.path().to_str().unwrap();
    let data = here.path().join("data");
    let server = Server::start_by(limited, &data, &["--cpus", "1", "--functions", functions]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert!(line.split_whitespace().any(|word| word == "2000"), "{line}");
    let job = server.client.run(&json!({ "function": "limit" }));
    assert_eq!(job["status"]["result"]["text"], "900\n", "{job}");
}
