//! What a server tells whoever runs it, in its log and its metrics, and what it takes after a load.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::load::large_answers;
use crate::support::server::Server;
use crate::support::{eventually, script, text, windlass};

/// A server with two CPUs and functions that end well, badly and never.
fn server(here: &std::path::Path) -> Server {
    script(here, "ok", "echo > $WINDLASS_OUTPUT", "retries: 0");
    script(here, "crash", "exit 3", "retries: 1");
    script(here, "wait", "exec sleep 300", "retries: 0");
    Server::beside(here, &["--cpus", "2"])
}

/// Waits until the log has this many lines with this message about a job, and gives them.
fn lines_of(
    server: &Server,
    log: &mut Vec<Value>,
    job: &str,
    message: &str,
    number: usize,
) -> Vec<Value> {
    eventually(&format!("{message} of {job}"), Duration::from_secs(30), || {
        let more = server.said();
        log.extend(more.lines().filter_map(|line| serde_json::from_str(line).ok()));
        let about = |line: &&Value| line["job"] == job && line["message"] == message;
        let found: Vec<_> = log.iter().filter(about).cloned().collect();
        (found.len() >= number).then_some(found)
    })
}

#[test]
fn the_log_says_once_how_each_attempt_and_each_job_ended() {
    let here = tempfile::tempdir().unwrap();
    let mut server = server(here.path());
    let mut log = Vec::new();
    let submit = |name: &str, function: &str| {
        let answer = server.client.submit(&json!({ "name": name, "function": function }));
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    submit("good", "ok");
    submit("bad", "crash");
    submit("stopped", "wait");
    let good = lines_of(&server, &mut log, "good", "job ended", 1);
    assert_eq!(good[0]["phase"], "Succeeded");
    assert!(good[0]["seconds"].as_f64().unwrap() > 0.0, "{good:?}");
    assert_eq!(lines_of(&server, &mut log, "good", "attempt succeeded", 1)[0]["attempt"], 1);

    let failed = lines_of(&server, &mut log, "bad", "attempt failed", 2);
    for (line, attempt) in failed.iter().zip([1, 2]) {
        assert_eq!(line["attempt"], attempt, "{failed:?}");
        assert_eq!((&line["reason"], &line["exit_code"]), (&json!("Crashed"), &json!(3)));
        assert!(line["seconds"].as_f64().unwrap() > 0.0, "{failed:?}");
    }
    let bad = lines_of(&server, &mut log, "bad", "job ended", 1);
    let told = [&bad[0]["phase"], &bad[0]["reason"], &bad[0]["exit_code"]];
    assert_eq!(told, [&json!("Failed"), &json!("Crashed"), &json!(3)]);

    lines_of(&server, &mut log, "stopped", "attempt started", 1);
    server.client.post(&server.client.jobs("/stopped/cancel"), &[], b"");
    lines_of(&server, &mut log, "stopped", "attempt stopped", 1);
    let stopped = lines_of(&server, &mut log, "stopped", "job ended", 1);
    assert_eq!((&stopped[0]["phase"], stopped[0].get("reason")), (&json!("Cancelled"), None));

    assert!(server.stop().success());
    let rest = server.said();
    log.extend(rest.lines().filter_map(|line| serde_json::from_str(line).ok()));
    for (job, ends) in [("good", 1), ("bad", 2), ("stopped", 1)] {
        let number = |is: &dyn Fn(&str) -> bool| {
            let about = log.iter().filter(|line| line["job"] == job);
            about.filter(|line| is(line["message"].as_str().unwrap_or_default())).count()
        };
        let is_end =
            |message: &str| message.starts_with("attempt ") && !message.ends_with(" started");
        assert_eq!(number(&is_end), ends, "{job}: {log:#?}");
        assert_eq!(number(&|message| message == "job ended"), 1, "{job}: {log:#?}");
    }
}

#[test]
fn the_metrics_of_one_machine_have_the_names_of_a_clusters() {
    let here = tempfile::tempdir().unwrap();
    let server = server(here.path());
    let queue = "apiVersion: windlass.dev/v1alpha1\nkind: ComputeQueue\nmetadata: {name: small}\n\
                 spec: {cpus: 1}\n";
    fs::write(here.path().join("queue.yaml"), queue).unwrap();
    let is_there = || {
        let queues = server.client.get("/v1/namespaces/default/queues").json();
        (queues["items"].as_array()?.len() == 1).then_some(())
    };
    eventually("the queue is read", Duration::from_secs(30), is_there);
    for (name, function, queue) in [
        ("a", "wait", "small"),
        ("b", "wait", "small"),
        ("c", "wait", "default"),
        ("d", "wait", "other"),
        ("e", "wait", "default"),
    ] {
        let job = json!({ "name": name, "function": function, "queue": queue, "parallelism": 1 });
        assert_eq!(server.client.submit(&job).status, 201);
    }
    let metrics = || text(&server.client.get("/metrics").body);
    let has = |lines: &[&str]| {
        eventually(&format!("{lines:?}"), Duration::from_secs(30), || {
            let metrics = metrics();
            lines.iter().all(|line| metrics.lines().any(|shown| shown == *line)).then_some(())
        });
    };
    has(&[
        "windlass_queue_waiting_jobs{namespace=\"default\",queue=\"small\"} 1",
        "windlass_queue_granted_cpus{namespace=\"default\",queue=\"small\"} 1",
        "windlass_queue_waiting_jobs{namespace=\"default\",queue=\"default\"} 1",
        // No label holds what a user chose: a job that waits for its queue is in the totals alone.
        "windlass_waiting_jobs 3",
        "windlass_cpus_in_use 2",
        "windlass_grants_total 2",
        "windlass_granted_cpus_total 2",
    ]);
    assert!(!metrics().contains("other\"}"), "{}", metrics());
    for name in ["a", "b", "c", "d", "e"] {
        server.client.post(&server.client.jobs(&format!("/{name}/cancel")), &[], b"");
    }
    server.client.run(&json!({ "function": "crash", "retries": 0 }));
    server.client.run(&json!({ "function": "ok" }));
    has(&[
        "windlass_jobs_finished_total{phase=\"Cancelled\",reason=\"\"} 5",
        "windlass_jobs_finished_total{phase=\"Failed\",reason=\"Crashed\"} 1",
        "windlass_jobs_finished_total{phase=\"Succeeded\",reason=\"\"} 1",
        "windlass_job_phase_duration_seconds_count{phase=\"queued\"} 7",
        "windlass_waiting_jobs 0",
        "windlass_cpus_in_use 0",
    ]);
}

/// Bytes of a process that no file backs.
fn anonymous(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn memory_that_a_load_has_taken_is_given_back_within_a_minute() {
    const IDLE: u64 = 12 << 20;
    let here = tempfile::tempdir().unwrap();
    let server = server(here.path());
    large_answers(&server.client, "wait");
    eventually("the memory is given back", Duration::from_secs(60), || {
        (anonymous(server.pid()) < IDLE).then_some(())
    });
}

#[test]
fn a_service_manager_is_told_that_the_server_is_ready_lives_and_stops() {
    let here = tempfile::tempdir().unwrap();
    script(here.path(), "wait", "exec sleep 300", "retries: 0");
    let path = here.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let told = || {
        let mut message = [0; 64];
        let length = socket.recv(&mut message).unwrap();
        text(&message[..length])
    };
    let mut command = Command::new(windlass());
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let functions = ["--functions", here.path().to_str().unwrap()];
    let mut server = Server::start_by(command, &here.path().join("data"), &functions);
    assert_eq!(told(), "READY=1");
    assert_eq!(server.client.get("/readyz").status, 200);
    assert_eq!(told(), "WATCHDOG=1");
    assert_eq!(told(), "WATCHDOG=1");
    // A server that is drained is not ready, and lives as long as a job runs.
    assert_eq!(server.client.submit(&json!({ "function": "wait" })).status, 201);
    eventually("it runs", Duration::from_secs(30), || {
        text(&server.client.get(&server.client.jobs("")).body).contains("Running").then_some(())
    });
    assert_eq!(server.client.post("/v1/drain", &[], b"").status, 202);
    assert_eq!(server.client.get("/readyz").status, 503);
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 64]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    assert_eq!([told(), told()], ["WATCHDOG=1", "WATCHDOG=1"]);
    assert!(server.stop().success());
    let last = std::iter::repeat_with(told).find(|message| message != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
}

#[test]
fn a_server_serves_though_the_socket_of_its_service_manager_is_gone() {
    let here = tempfile::tempdir().unwrap();
    for name in ["gone", "@windlass-nobody-listens", ""] {
        let path = if name == "gone" { here.path().join(name) } else { name.into() };
        let mut command = Command::new(windlass());
        command.env("NOTIFY_SOCKET", path).env("WATCHDOG_USEC", "200000");
        let mut server = Server::start_by(command, &here.path().join("data"), &[]);
        assert_eq!(server.client.get("/readyz").status, 200);
        assert!(server.stop().success(), "{name:?}");
    }
}
