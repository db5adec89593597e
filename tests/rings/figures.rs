//! How many, how soon and how little, on one machine. `tests/run figures` runs them alone, on a
//! machine with nothing else to do; each prints what it measured.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::{Client, Connection};
use crate::support::load::large_answers;
use crate::support::server::Server;
use crate::support::{eventually, processes_of, quantile, script, text, windlass};

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Resident bytes of a process, without what it has started.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

const MEBIBYTE: u64 = 1 << 20;

/// Submits from several connections for a while and gives how many were taken, and each one's time.
fn submit_for(
    client: &Client,
    connections: usize,
    stop: impl Fn(u64) -> bool + Sync,
) -> Vec<Duration> {
    let taken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let work = || {
            let mut connection = client.connect().unwrap();
            let mut times = Vec::new();
            let body = json!({ "function": "wait", "input": { "n": 1 } }).to_string();
            while !stop(taken.fetch_add(1, Ordering::Relaxed)) {
                let started = Instant::now();
                let answer =
                    connection.send("POST", &client.jobs(""), &[], body.as_bytes()).unwrap();
                times.push(started.elapsed());
                assert_eq!(answer.status, 201, "{}", text(&answer.body));
            }
            times
        };
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
#[ignore = "needs a quiet machine: tests/run figures"]
fn a_thousand_durable_submissions_a_second_on_one_core_while_jobs_run() {
    let here = tempfile::tempdir().unwrap();
    script(here.path(), "wait", "sleep 0.05; echo > $WINDLASS_OUTPUT", "retries: 0");
    let functions = here.path().to_str().unwrap();
    let mut one_core = Command::new("taskset");
    one_core.args(["-c", "0"]).arg(windlass());
    let data = here.path().join("data");
    let server = Server::start_by(one_core, &data, &["--cpus", "1", "--functions", functions]);
    let started = Instant::now();
    let limit = Duration::from_secs(5);
    let mut times = submit_for(&server.client, 32, |_| started.elapsed() > limit);
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    let list = server.client.get(&server.client.jobs("?phase=Succeeded&limit=500")).json();
    let ran = list["items"].as_array().unwrap().len();
    println!(
        "{rate:.0} durable submissions a second on one core, p50 {:.1} ms, p99 {:.1} ms; {ran} jobs ran \
         meanwhile",
        milliseconds(quantile(&mut times, 500)),
        milliseconds(quantile(&mut times, 990)),
    );
    assert!(ran > 20, "jobs do not run");
    assert!(rate >= 1000.0, "{rate}");
}

#[test]
#[ignore = "needs a quiet machine: tests/run figures"]
fn a_hundred_thousand_waiting_jobs_cost_little() {
    let here = tempfile::tempdir().unwrap();
    script(here.path(), "wait", "exec sleep 1000", "retries: 0");
    let start = || Server::beside(here.path(), &["--cpus", "1"]);
    let mut server = start();
    let filled = Instant::now();
    submit_for(&server.client, 64, |number| number >= 100_000);
    let filled = filled.elapsed();
    // One caller after the other, as a web service would.
    let mut times = submit_for(&server.client, 1, |number| number >= 1000);
    let before = resident(server.pid());
    assert!(server.stop().success());
    let started = Instant::now();
    let mut server = start();
    let restart = started.elapsed();
    let after = resident(server.pid());
    let p99 = quantile(&mut times, 990);
    println!(
        "100,000 waiting jobs in {:.0} s; then a submission takes p50 {:.2} ms, p99 {:.2} ms; {} MiB \
         resident; restart to serving {:.2} s, {} MiB resident",
        filled.as_secs_f64(),
        milliseconds(quantile(&mut times, 500)),
        milliseconds(p99),
        before / MEBIBYTE,
        restart.as_secs_f64(),
        after / MEBIBYTE,
    );
    assert!(p99 <= Duration::from_millis(20), "{p99:?}");
    assert!(restart <= Duration::from_secs(3), "{restart:?}");
    assert!(before.max(after) <= 200 * MEBIBYTE);
    assert!(server.stop().success());
}

#[test]
#[ignore = "needs a quiet machine: tests/run figures"]
fn a_cancel_frees_the_cpus_at_once_or_after_the_grace() {
    let here = tempfile::tempdir().unwrap();
    script(here.path(), "kind", "exec sleep 1000", "retries: 0");
    script(here.path(), "deaf", "trap '' TERM; while :; do sleep 1000; done", "retries: 0");
    script(here.path(), "next", "echo > $WINDLASS_OUTPUT", "retries: 0");
    let server = Server::beside(here.path(), &["--cpus", "1", "--grace", "1"]);
    let client = &server.client;
    let mut connection = client.connect().unwrap();
    let mut send = |method: &str, path: &str, body: &str, headers: &[(&str, &str)]| {
        connection.send(method, &client.jobs(path), headers, body.as_bytes()).unwrap()
    };
    // From the cancel to the next job's start: it waits for the one CPU.
    let mut freed = |function: &str, rounds: u32| {
        (0..rounds)
            .map(|round| {
                let name = format!("{function}-{round}");
                send("POST", "", &json!({ "function": function, "name": name }).to_string(), &[]);
                eventually("it runs", Duration::from_secs(20), || {
                    let job = send("GET", &format!("/{name}"), "", &[]).json();
                    (job["status"]["phase"] == "Running").then_some(())
                });
                let cancelled = Instant::now();
                send("POST", &format!("/{name}/cancel"), "", &[]);
                let answer = send("POST", "", r#"{"function":"next"}"#, &[("Prefer", "wait=30")]);
                assert_eq!(answer.status, 200, "{}", text(&answer.body));
                cancelled.elapsed()
            })
            .collect::<Vec<_>>()
    };
    let (mut kind, mut deaf) = (freed("kind", 50), freed("deaf", 5));
    let (kind, deaf) = (quantile(&mut kind, 1000), quantile(&mut deaf, 1000));
    println!(
        "from the cancel to the end of the next job on the same CPU: at most {:.1} ms of 50; of a \
         function that ignores SIGTERM for a grace of 1 s at most {:.1} ms of 5",
        milliseconds(kind),
        milliseconds(deaf),
    );
    assert!(kind <= Duration::from_millis(100), "{kind:?}");
    assert!(deaf <= Duration::from_millis(1100), "{deaf:?}");
}

#[test]
#[ignore = "needs a quiet machine: tests/run figures"]
fn an_idle_server_is_small_and_sleeps() {
    let here = tempfile::tempdir().unwrap();
    script(here.path(), "wait", "exec sleep 1000", "retries: 0");
    let server = Server::beside(here.path(), &[]);
    // It has worked, and is idle again.
    large_answers(&server.client, "wait");
    for _ in 0..20 {
        let headers = [("Prefer", "wait=30")];
        let answer =
            server.client.post(&server.client.jobs(""), &headers, br#"{"function":"echo"}"#);
        assert_eq!(answer.status, 200);
    }
    // Threads that had something to do are kept for ten seconds.
    std::thread::sleep(Duration::from_secs(12));
    let switches = || {
        let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().flatten();
        let all = threads.map(|thread| {
            let status = fs::read_to_string(thread.path().join("status")).unwrap();
            let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
            counts
                .map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
                .sum::<u64>()
        });
        all.sum::<u64>()
    };
    let before = switches();
    std::thread::sleep(Duration::from_secs(20));
    let woken = switches() - before;
    let resident = resident(server.pid());
    let workers = processes_of(server.data().to_str().unwrap()).len() - 1;
    println!(
        "idle: {:.1} MiB resident, woken {woken} times in 20 s; {workers} workers wait beside it",
        resident as f64 / MEBIBYTE as f64
    );
    assert!(resident <= 25 * MEBIBYTE, "{resident}");
    assert_eq!(woken, 0);
}

/// The least that a commit costs on a disk: two pages that are there already are written and waited for.
struct Floor {
    file: File,
    written: u64,
}

impl Floor {
    const PAGES: usize = 2 * 4096;
    /// As large as the log of a database becomes.
    const SIZE: u64 = 4 * MEBIBYTE;

    fn on(directory: &Path) -> Self {
        let file = File::create(directory.join("floor")).unwrap();
        file.write_all_at(&vec![1; Self::SIZE as usize], 0).unwrap();
        file.sync_all().unwrap();
        Self { file, written: 0 }
    }

    fn wait(&mut self) -> Duration {
        let started = Instant::now();
        self.file.write_all_at(&[2; Self::PAGES], self.written % Self::SIZE).unwrap();
        self.file.sync_data().unwrap();
        self.written += Self::PAGES as u64;
        started.elapsed()
    }
}

/// A function that is a native program: what is measured is the server, not a shell.
fn tiny_function(here: &Path) {
    let source = here.join("tiny.rs");
    let program = here.join("tiny");
    fs::write(
        &source,
        "fn main() { std::fs::write(std::env::var_os(\"WINDLASS_OUTPUT\").unwrap(), \"{}\").unwrap() }",
    )
    .unwrap();
    let built =
        Command::new("rustc").arg("-O").arg("-o").arg(&program).arg(&source).status().unwrap();
    assert!(built.success());
    let manifest = "apiVersion: windlass.dev/v1alpha1\nkind: ComputeFunction\nmetadata: {name: tiny}\n\
                    spec: {command: [./tiny]}\n";
    fs::write(here.join("tiny.yaml"), manifest).unwrap();
}

/// Calls it once and waits.
fn call_tiny(connection: &mut Connection, path: &str) -> Duration {
    let started = Instant::now();
    let headers = [("Prefer", "wait=30")];
    let answer = connection.send("POST", path, &headers, br#"{"function":"tiny"}"#).unwrap();
    assert_eq!(answer.status, 200, "{}", text(&answer.body));
    started.elapsed()
}

#[test]
#[ignore = "needs a quiet machine: tests/run figures"]
fn a_tiny_request_is_answered_in_milliseconds() {
    let here = tempfile::tempdir().unwrap();
    tiny_function(here.path());
    let server = Server::beside(here.path(), &[]);
    let mut floor = Floor::on(server.data());
    let mut connection = server.client.connect().unwrap();
    let path = server.client.jobs("");
    // One after the other, so that both have the same disk.
    let both = (0..1020).map(|_| (call_tiny(&mut connection, &path), floor.wait()));
    let (mut times, mut floors): (Vec<_>, Vec<_>) = both.skip(20).unzip();
    let (p50, p99) = (quantile(&mut times, 500), quantile(&mut times, 990));
    let (floor50, floor99) = (quantile(&mut floors, 500), quantile(&mut floors, 990));
    println!(
        "a tiny call over HTTP, durable, cold: p50 {:.2} ms, p99 {:.2} ms of 1000; a write that is waited for alone: \
         p50 {:.2} ms, p99 {:.2} ms; ratio of the p50 {:.1}",
        milliseconds(p50),
        milliseconds(p99),
        milliseconds(floor50),
        milliseconds(floor99),
        p50.as_secs_f64() / floor50.as_secs_f64(),
    );
    assert!(p50 <= Duration::from_millis(4), "{p50:?}");
    assert!(p99 <= Duration::from_millis(20), "{p99:?}");
}

#[test]
#[ignore = "needs a quiet machine: tests/run figures"]
fn many_tiny_calls_at_once_share_their_commits() {
    let here = tempfile::tempdir().unwrap();
    tiny_function(here.path());
    let server = Server::beside(here.path(), &[]);
    let (started, limit) = (Instant::now(), Duration::from_secs(5));
    let (client, path) = (&server.client, &server.client.jobs(""));
    let work = || {
        let mut connection = client.connect().unwrap();
        let mut times = Vec::new();
        while started.elapsed() < limit {
            times.push(call_tiny(&mut connection, path));
        }
        times
    };
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..32).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    println!(
        "{rate:.0} tiny calls a second over HTTP, durable, cold, from 32 connections: p50 {:.1} ms, p99 {:.1} ms",
        milliseconds(quantile(&mut times, 500)),
        milliseconds(quantile(&mut times, 990)),
    );
    assert!(rate >= 100.0, "{rate}");
}
