//! A server that is drained for an upgrade.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::{run_windlass, stdout_of, windlass_with, with_slow};
use crate::support::server::Server;
use crate::support::{eventually, text, traces};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_drain_lets_run_what_runs_and_leaves_what_waits_to_the_next_server() {
    let directory =
        with_slow("until [ -e $HERE/go ]; do sleep 0.05; done; echo > $WINDLASS_OUTPUT");
    let here = directory.path();
    let mut server = Server::beside(here, &["--cpus", "1"]);
    let phase = |server: &Server, name: &str| {
        server.client.get(&server.client.jobs(&format!("/{name}"))).json()["status"]["phase"]
            .clone()
    };
    let jobs = server.client.jobs("");
    let keyed = |server: &Server| {
        let key = [("Idempotency-Key", "once")];
        server.client.post(&jobs, &key, json!({ "function": "slow" }).to_string().as_bytes())
    };
    let first = keyed(&server);
    assert_eq!(first.status, 201, "{first:?}");
    let runs = first.json()["metadata"]["name"].as_str().unwrap().to_owned();
    eventually("it runs", LIMIT, || (phase(&server, &runs) == "Running").then_some(()));
    stdout_of(&server, &["submit", "slow", "--name", "waits"]);

    a_key_may_not_end_the_server(&server);
    let told = run_windlass(&server, &["drain", "--no-wait"]);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    assert!(text(&told.stderr).contains("1 run, 1 wait"), "{}", text(&told.stderr));
    let mut drain = windlass_with(&server)
        .arg("drain")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(drain.stderr.take().unwrap()).lines().map_while(Result::ok);
    // Then it has asked the server, which may end.
    let first_line = said.next().unwrap();
    assert!(first_line.contains("1 run, 1 wait"), "{first_line}");
    let late = server.client.submit(&json!({ "function": "slow" }));
    assert_eq!((late.status, late.header("retry-after")), (503, Some("5")), "{late:?}");
    assert!(text(&late.body).contains("takes no new jobs"), "{late:?}");
    assert_eq!(server.client.get("/readyz").status, 503);
    // Whoever repeats a request hears of its job.
    let again = keyed(&server);
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(again.json()["metadata"]["name"], runs.as_str());
    assert_eq!(
        (phase(&server, &runs), phase(&server, "waits")),
        (json!("Running"), json!("Queued"))
    );

    fs::write(traces(here).join("go"), "").unwrap();
    assert!(server.ended().success());
    let rest: Vec<_> = said.collect();
    assert_eq!(drain.wait().unwrap().code(), Some(0), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("the server has ended")), "{rest:?}");

    let next = Server::beside(here, &["--cpus", "1"]);
    let job = next.client.get(&next.client.jobs(&format!("/{runs}"))).json();
    assert_eq!(
        (&job["status"]["phase"], &job["status"]["attempt"]),
        (&json!("Succeeded"), &json!(1))
    );
    stdout_of(&next, &["get", "waits", "--wait=60"]);
    assert_eq!(phase(&next, "waits"), "Succeeded");
}

/// A key may do everything with jobs, and not end the server.
fn a_key_may_not_end_the_server(server: &Server) {
    let data = server.data().to_str().unwrap().to_owned();
    let key = stdout_of(server, &["keys", "create", "web", "--data", &data]);
    let mut refused = windlass_with(server);
    let refused = refused.env("WINDLASS_TOKEN", key.trim()).arg("drain").output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("only the admin"), "{}", text(&refused.stderr));
}

#[test]
fn a_server_without_work_ends_at_once_when_it_is_drained() {
    let mut server = Server::start(&["--cpus", "1"]);
    let drained = run_windlass(&server, &["drain"]);
    assert_eq!(drained.status.code(), Some(0), "{}", text(&drained.stderr));
    assert!(server.ended().success());
    assert_eq!(run_windlass(&server, &["drain"]).status.code(), Some(3));
}
