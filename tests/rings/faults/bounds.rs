//! Few descriptors, and more submissions than are taken.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{BOUND, here, phase};
use crate::support::server::Server;
use crate::support::{eventually, script, text, windlass};

#[test]
fn with_64_descriptors_the_server_answers_and_runs_jobs() {
    let here = here();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(windlass());
    let server = Server::start_by(command, here.path(), &["--cpus", "4"]);
    // More connections than there are descriptors.
    let open: Vec<_> = (0..100).filter_map(|_| server.client.connect().ok()).collect();
    for number in 0..20 {
        let name = format!("job-{number}");
        eventually("a submission is taken", BOUND, || {
            let body = json!({ "function": "echo", "name": name }).to_string();
            let path = server.client.jobs("");
            let answer = server.client.try_send("POST", &path, &[], body.as_bytes());
            answer.ok().filter(|answer| matches!(answer.status, 201 | 409))
        });
    }
    drop(open);
    for number in 0..20 {
        phase(&server.client, &format!("job-{number}"), "Succeeded");
    }
}

#[test]
fn beyond_the_bound_submissions_are_told_when_to_come_back() {
    let here = here();
    script(here.path(), "slow", "sleep 30", "retries: 0");
    let queue = "apiVersion: windlass.dev/v1alpha1\nkind: ComputeQueue\nmetadata: {name: small}\n\
                 spec: {cpus: 1, maxQueued: 2}\n";
    fs::write(here.path().join("queue.yaml"), queue).unwrap();
    let mut server = Server::beside(here.path(), &["--cpus", "1", "--max-queued", "5"]);
    let slow = |queue: &str| server.client.submit(&json!({ "function": "slow", "queue": queue }));
    let started = Instant::now();
    assert_eq!(slow("small").status, 201);
    eventually("it runs", BOUND, || {
        let list = server.client.get(&server.client.jobs("?phase=Running")).json();
        list["items"].as_array().is_some_and(|items| items.len() == 1).then_some(())
    });
    assert_eq!([slow("small").status, slow("small").status], [201, 201]);
    let busy = slow("small");
    assert_eq!(busy.status, 429, "{}", text(&busy.body));
    assert!(busy.header("retry-after").is_some());
    assert!(text(&busy.body).contains("holds 2 waiting jobs"), "{}", text(&busy.body));
    let unbounded = || slow("default").status;
    assert_eq!([unbounded(), unbounded(), unbounded(), unbounded()], [201, 201, 201, 429]);
    assert!(started.elapsed() < Duration::from_secs(25), "the first job has ended meanwhile");
    assert!(server.stop().success());
}

#[test]
fn the_processes_of_an_attempt_are_bounded_where_the_kernel_can() {
    let here = here();
    let show = "cat /sys/fs/cgroup/pids$(sed -n 's/.*:pids://p' /proc/self/cgroup)/pids.max \
                /sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/pids.max 2>/dev/null \
                > $WINDLASS_OUTPUT; true";
    script(here.path(), "show", show, "retries: 0");
    let server = Server::beside(here.path(), &["--cpus", "1"]);
    let said = server.before();
    if said.contains("any number") {
        println!("not tested: this machine lets nobody bound the number of processes");
        return;
    }
    server.client.submit(&json!({ "function": "show", "name": "show" }));
    phase(&server.client, "show", "Succeeded");
    let bound = server.client.get(&server.client.jobs("/show/result"));
    assert_eq!(text(&bound.body).lines().next(), Some("4096"), "{said}");
    assert!(said.contains("at most 4096"), "{said}");
}
