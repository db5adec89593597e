//! Clients that are silent, slow, large or many, against a server as it is started by default.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::http::Client;
use crate::support::quantile;
use crate::support::server::Server;

const SILENT: usize = 5_000;
/// Of the honest client's requests, the slowest of a hundred.
pub(crate) const HONEST_P99: Duration = Duration::from_secs(1);
const MOST_RESIDENT_KIB: u64 = 256 * 1024;
const ALL_CLOSED: Duration = Duration::from_secs(15);

#[test]
fn a_flood_of_bad_clients_slows_no_honest_one_and_takes_little_memory() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, all).unwrap();
    let needed = SILENT as u64 + 500;
    if getrlimit(Resource::Nofile).current.is_some_and(|most| most < needed) {
        println!("left out: the flood needs {needed} file descriptors");
        return;
    }
    let server = Server::start(&["--cpus", "1"]);
    let client = &server.client;
    let (pid, over) = (server.pid(), &AtomicBool::new(false));
    let (mut times, closed, highest) = std::thread::scope(|scope| {
        let honest = scope.spawn(|| honest(client, over));
        let memory = scope.spawn(move || highest_resident_kib(pid, over));
        let floods: Vec<_> = [header_floods, giant_bodies, endless_bodies]
            .map(|flood| scope.spawn(move || flood(client, over)))
            .into();
        let began = Instant::now();
        let mut crowd: Vec<_> = (0..SILENT).map(|n| silent(client, n)).collect();
        println!("{SILENT} silent connections within {:?}", began.elapsed());
        let begun = Instant::now();
        for socket in &mut crowd {
            let left = ALL_CLOSED.saturating_sub(begun.elapsed()) + Duration::from_millis(1);
            socket.set_read_timeout(Some(left)).unwrap();
            // Until its close, whether by an answer, an end or a reset.
            while matches!(socket.read(&mut [0; 512]), Ok(read) if read > 0) {}
        }
        let closed = begun.elapsed();
        over.store(true, Ordering::Relaxed);
        for flood in floods {
            flood.join().unwrap();
        }
        (honest.join().unwrap(), closed, memory.join().unwrap())
    });
    let count = times.len();
    let (p50, p99) = (quantile(&mut times, 500), quantile(&mut times, 990));
    println!(
        "honest requests: {count}, p50 {p50:?}, p99 {p99:?}; all closed after {closed:?}; \
         at most {} MiB resident",
        highest / 1024
    );
    assert!(count >= 100, "{count} honest requests");
    assert!(p99 < HONEST_P99, "{p99:?}");
    assert!(closed <= ALL_CLOSED, "{closed:?}");
    assert!(highest <= MOST_RESIDENT_KIB, "{highest} KiB");
}

/// Between two requests of it: with the health checks of a test beside it, a caller may ask a hundred times a second.
const HONEST_PAUSE: Duration = Duration::from_millis(20);

/// How long requests take that a client sends which has done nothing wrong, each on a connection of its own.
pub(crate) fn honest(client: &Client, over: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = client.get(&client.jobs(""));
        assert_eq!(answer.status, 200, "{answer:?}");
        times.push(began.elapsed());
        std::thread::sleep(HONEST_PAUSE);
    }
    times
}

/// A connection that never ends its first request's head.
fn silent(client: &Client, n: usize) -> TcpStream {
    let mut socket = TcpStream::connect(&client.address).unwrap();
    let begin: &[u8] = if n.is_multiple_of(2) { b"" } else { b"GET / HTTP/1.1\r\nHost: x\r\nX: " };
    // It may have made room already.
    socket.write_all(begin).unwrap_or_default();
    socket
}

fn header_floods(client: &Client, over: &AtomicBool) {
    let line = format!("X: {}\r\n", "y".repeat(1_000));
    repeat(over, || {
        let mut socket = TcpStream::connect(&client.address)?;
        socket.write_all(b"GET /healthz HTTP/1.1\r\n")?;
        for _ in 0..1_000 {
            socket.write_all(line.as_bytes())?;
        }
        Ok(())
    });
}

fn giant_bodies(client: &Client, over: &AtomicBool) {
    let head = head(client, "Content-Length: 10000000000");
    repeat(over, || send(client, &head, &[b'x'; 64 * 1024]));
}

fn endless_bodies(client: &Client, over: &AtomicBool) {
    let head = head(client, "Transfer-Encoding: chunked");
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    repeat(over, || send(client, &head, chunk.as_bytes()));
}

/// A submission by somebody who may submit, so that its body is read.
fn head(client: &Client, length: &str) -> String {
    format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\n{length}\r\n\r\n",
        client.jobs(""),
        client.address,
        client.token
    )
}

fn send(client: &Client, head: &str, piece: &[u8]) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(&client.address)?;
    socket.set_write_timeout(Some(Duration::from_secs(1)))?;
    socket.write_all(head.as_bytes())?;
    for _ in 0..1_000 {
        socket.write_all(piece)?;
    }
    Ok(())
}

/// Again and again; that the server closes the connection is what is wanted.
fn repeat(over: &AtomicBool, mut flood: impl FnMut() -> std::io::Result<()>) {
    while !over.load(Ordering::Relaxed) {
        flood().unwrap_or_default();
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn highest_resident_kib(pid: u32, over: &AtomicBool) -> u64 {
    let mut highest = 0;
    while !over.load(Ordering::Relaxed) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        highest = highest.max(kib.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(50));
    }
    highest
}
