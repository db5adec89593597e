//! The server as the first process of a container, which a namespace of processes makes of it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{BOUND, here, phase};
use crate::support::server::Server;
use crate::support::{eventually, processes_of, script, text, traces, windlass};

/// Longest that a stop may take whose functions end when they are asked to.
const STOP: Duration = Duration::from_secs(5);

/// Longest that a zombie may be there.
const SOON: Duration = Duration::from_secs(5);

const NAMESPACE: [&str; 4] = ["--pid", "--fork", "--kill-child", "--mount-proc"];

#[test]
fn the_first_process_of_a_container_leaves_no_zombie_and_ends_in_time() {
    let may = Command::new("unshare").args(NAMESPACE).arg("true").status();
    if !may.is_ok_and(|status| status.success()) {
        println!("not tested: a namespace of processes may not be made here");
        return;
    }
    let here = here();
    // Its children lose their parent with their worker.
    let body = "for n in 1 2 3; do sleep 300 & done; echo > $HERE/runs; wait";
    script(here.path(), "family", body, "retries: 0");
    let runs = traces(here.path()).join("runs");
    let mut command = Command::new("unshare");
    command.args(NAMESPACE).arg(windlass());
    let functions = ["--cpus", "1", "--functions", here.path().to_str().unwrap()];
    let mut server = Server::start_by(command, &here.path().join("data"), &functions);
    let first = children(server.pid()).pop().unwrap();
    let _last = Last(first);
    for name in ["one", "two", "three"] {
        run(&server, &runs, name);
        kill("KILL", worker_of_family(here.path().to_str().unwrap()));
        phase(&server.client, name, "Failed");
    }
    eventually("no zombie is left", SOON, || (zombies(first) == 0).then_some(()));

    run(&server, &runs, "family");
    let begin = Instant::now();
    kill("TERM", first);
    let end = server.ended();
    println!("the container ended after {:?}", begin.elapsed());
    assert!(end.success() && begin.elapsed() < STOP, "{end} {:?}", begin.elapsed());
    assert_eq!(processes_of(here.path().to_str().unwrap()), [""; 0]);
    let next = Server::start_at(&here.path().join("data"), &functions);
    phase(&next.client, "family", "Running");
}

/// The first process of a namespace, which heeds no signal that it does not wait for.
struct Last(u32);

impl Drop for Last {
    fn drop(&mut self) {
        if std::thread::panicking() {
            kill("KILL", self.0);
        }
    }
}

/// Has a family run.
fn run(server: &Server, runs: &Path, name: &str) {
    server.client.submit(&json!({ "function": "family", "name": name }));
    eventually("its children run", BOUND, || runs.exists().then_some(()));
    phase(&server.client, name, "Running");
    fs::remove_file(runs).unwrap();
}

fn kill(signal: &str, process: u32) {
    let killed = Command::new("kill").arg(format!("-{signal}")).arg(process.to_string()).status();
    assert!(killed.unwrap().success());
}

/// The children of a process, those that have ended among them.
fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(path).unwrap();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// Those that have ended and that nobody has waited for.
fn zombies(parent: u32) -> usize {
    let is_zombie = |child: &u32| {
        let status = fs::read(format!("/proc/{child}/status")).unwrap_or_default();
        text(&status).contains("State:\tZ")
    };
    children(parent).iter().filter(|child| is_zombie(child)).count()
}

/// The worker with a function below it, which has children.
fn worker_of_family(mark: &str) -> u32 {
    eventually("a worker has a function", BOUND, || {
        processes_of(mark).iter().find_map(|line| {
            let (process, command) = line.split_once(": ")?;
            let process = process.parse().ok()?;
            let is_worker = command.contains("windlass worker");
            (is_worker && !children(process).is_empty()).then_some(process)
        })
    })
}
