//! Progress on its way from a function to whoever follows its job, on one machine: how soon it is there,
//! and what a thousand streams cost.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::http::Client;
use crate::support::server::Server;
use crate::support::{checkout, eventually, quantile, script, traces, windlass};

/// Longest way of a progress line to a client.
pub(crate) const LINE: Duration = Duration::from_millis(250);

/// Streams that are open at once, what each may take of the server's memory, and the longest way of a line
/// to all of them.
const STREAMS: usize = 1_000;
const STREAM_KIB: u64 = 40;
const LINE_TO_ALL: Duration = Duration::from_millis(500);

/// Longest wait for what should happen at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells the time of each line as its message.
const TELLS: &str = r#"
    done=0
    while [ $done -lt 60 ]; do
        done=$((done + 1))
        echo "$done 60 $(date +%s%N)" >> "$WINDLASS_PROGRESS"
        sleep 0.0$((done % 7 + 3)); sleep 0.1
    done
    : > "$WINDLASS_OUTPUT"
"#;

/// Tells one line, when it is asked to.
const TELLS_ONCE: &str = r#"
    while [ ! -e "$HERE/tell" ]; do sleep 0.01; done
    echo "1 2 $(date +%s%N)" >> "$WINDLASS_PROGRESS"
    while [ ! -e "$HERE/end" ]; do sleep 0.01; done
    : > "$WINDLASS_OUTPUT"
"#;

/// One stream of events.
pub(crate) struct Stream<S = TcpStream>(BufReader<S>);

#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) kind: String,
    id: String,
    pub(crate) data: Value,
}

impl Stream {
    pub(crate) async fn open(client: &Client, job: &str, seen: &str) -> Self {
        let socket = TcpStream::connect(&client.address).await.unwrap();
        Self::over(socket, client, job, seen).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Over a connection that is there.
    pub(crate) async fn over(mut socket: S, client: &Client, job: &str, seen: &str) -> Self {
        let path = client.jobs(&format!("/{job}/events"));
        let (host, token) = (&client.address, &client.token);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
             Last-Event-ID: {seen}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        // Small: a thousand of them are in this process.
        Self(BufReader::with_capacity(1024, socket))
    }

    /// The next event. The sizes of chunks are lines of their own between them.
    pub(crate) async fn next(&mut self) -> Event {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, self.0.read_line(&mut line));
            assert!(read.await.expect("an event in time").unwrap() > 0, "the stream has ended");
            let line = line.trim_end();
            if let Some(kind) = line.strip_prefix("event: ") {
                kind.clone_into(&mut event.kind);
            } else if let Some(id) = line.strip_prefix("id: ") {
                id.clone_into(&mut event.id);
            } else if let Some(data) = line.strip_prefix("data: ") {
                event.data = serde_json::from_str(data).unwrap();
                return event;
            } else if line.starts_with("HTTP/1.1 ") {
                assert_eq!(line, "HTTP/1.1 200 OK");
            }
        }
    }
}

/// How long the line has been on its way that this event tells.
pub(crate) fn on_its_way(event: &Event) -> Duration {
    let told = event.data["progress"]["message"].as_str().unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.saturating_sub(Duration::from_nanos(told))
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn submit(client: &Client, function: &str, name: &str, input: &Value) {
    let body = json!({ "function": function, "name": name, "input": input }).to_string();
    let answer = client.post(&client.jobs(""), &[], body.as_bytes());
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[test]
fn a_progress_line_is_with_its_follower_within_250_ms() {
    let here = tempfile::tempdir().unwrap();
    script(here.path(), "tells", TELLS, "");
    let server = Server::start(&["--cpus", "1", "--functions", path(here.path())]);
    submit(&server.client, "tells", "told", &json!({}));
    let (mut times, mut ids) = (Vec::new(), Vec::new());
    runtime().block_on(async {
        let mut stream = Stream::open(&server.client, "told", "").await;
        loop {
            let event = stream.next().await;
            ids.push(event.id.clone());
            match event.kind.as_str() {
                "progress" => times.push(on_its_way(&event)),
                "job" if event.data["status"]["phase"] == "Succeeded" => break,
                "job" => {}
                other => panic!("{other}: {event:?}"),
            }
        }
        // Who comes back in between is told the rest, and what it has seen not again.
        let seen = &ids[ids.len() / 2];
        let mut again = Stream::open(&server.client, "told", seen).await;
        assert_eq!(again.next().await.data["status"]["phase"], "Succeeded");
    });
    let count = times.len();
    assert!(count >= 40, "{count} of 60 lines were told");
    let told = times.clone();
    let (median, most) = (quantile(&mut times, 500), quantile(&mut times, 990));
    println!("a progress line to its follower, {count} lines: p50 {median:?}, p99 {most:?}");
    assert!(most <= LINE, "{told:?}");
    ids.dedup();
    assert!(ids.len() > count, "each event has an id of its own: {ids:?}");
}

#[test]
fn a_thousand_streams_take_40_kib_each_and_a_line_reaches_all_within_500_ms() {
    let here = tempfile::tempdir().unwrap();
    script(here.path(), "once", TELLS_ONCE, "");
    let data = tempfile::tempdir().unwrap();
    // Both ends of a thousand connections, whatever the limits of whoever runs this.
    let mut limited = Command::new("prlimit");
    limited.args(["--nofile=8192:"]).arg(windlass());
    let own = format!("--pid={}", std::process::id());
    let raised = Command::new("prlimit").args([&own, "--nofile=8192:"]).status();
    assert!(raised.is_ok_and(|status| status.success()), "prlimit raises no limit");
    let functions = path(here.path());
    let server = Server::start_by(limited, data.path(), &["--cpus", "1", "--functions", functions]);
    let client = &server.client;
    submit(client, "once", "followed", &json!({ "x": "y".repeat(32 * 1024) }));
    eventually("it runs", PATIENCE, || {
        let job = client.get(&client.jobs("/followed")).json();
        (job["status"]["phase"] == "Running").then_some(())
    });
    runtime().block_on(async {
        // What is loaded lazily is there before.
        let first = Stream::open(client, "followed", "").await.next().await;
        assert_eq!(first.kind, "job");
        let before = resident_kib(server.pid());
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let mut stream = Stream::open(client, "followed", "").await;
            assert_eq!(stream.next().await.kind, "job");
            streams.push(stream);
        }
        let open = resident_kib(server.pid());
        let mut waiting = JoinSet::new();
        for mut stream in streams {
            waiting.spawn(async move {
                let event = stream.next().await;
                assert_eq!(event.kind, "progress");
                (on_its_way(&event), stream)
            });
        }
        std::fs::write(traces(here.path()).join("tell"), "").unwrap();
        let (mut times, streams): (Vec<_>, Vec<_>) = waiting.join_all().await.into_iter().unzip();
        let told = resident_kib(server.pid());
        let each = open.max(told).saturating_sub(before) as f64 / STREAMS as f64;
        let (median, most) = (quantile(&mut times, 500), quantile(&mut times, 1000));
        println!(
            "{STREAMS} streams: {each:.1} KiB each ({before} KiB before, {open} open, {told} told); \
             a line to all: p50 {median:?}, the last {most:?}"
        );
        assert!(each <= STREAM_KIB as f64, "{each} KiB a stream");
        assert!(most <= LINE_TO_ALL, "{most:?}");
        std::fs::write(traces(here.path()).join("end"), "").unwrap();
        for mut stream in streams {
            while stream.next().await.data["status"]["phase"] != "Succeeded" {}
        }
    });
    let text = String::from_utf8(client.get("/metrics").body).unwrap();
    assert!(text.contains("windlass_event_streams 0"), "{text}");
}

fn path(path: &Path) -> &str {
    assert!(path.is_absolute() && checkout().is_absolute());
    path.to_str().unwrap()
}

/// Resident memory of a process.
fn resident_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
