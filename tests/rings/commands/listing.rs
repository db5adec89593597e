//! Many jobs: which are listed in which order, and which can still be cancelled.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{run_windlass, server_of, stdout_of, windlass_with};
use crate::support::server::Server;
use crate::support::{eventually, text};

/// The names that a list prints, in its order.
fn names(server: &Server, arguments: &[&str]) -> Vec<String> {
    let listed = stdout_of(server, &[&["list", "-o", "name"], arguments].concat());
    listed.lines().map(|line| line.trim_start_matches("computejob.windlass.dev/").into()).collect()
}

#[test]
fn a_list_ends_with_the_newest_job_unless_another_order_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_of(directory.path(), &[("crash", "exit 3")]);
    for (function, name) in [("crash", "c"), ("echo", "a"), ("echo", "d"), ("echo", "b")] {
        let submit = ["submit", function, "--name", name, "--wait"];
        assert!(run_windlass(&server, &submit).status.code().is_some_and(|code| code < 2));
    }
    assert_eq!(names(&server, &[]), ["c", "a", "d", "b"]);
    assert_eq!(names(&server, &["--sort", "name"]), ["a", "b", "c", "d"]);
    assert_eq!(names(&server, &["--sort", "phase"]), ["a", "d", "b", "c"]);
    assert_eq!(names(&server, &["--sort", "function"]), ["c", "a", "d", "b"]);
    // A limit keeps the newest, in whatever order they are shown.
    assert_eq!(names(&server, &["--limit", "2"]), ["d", "b"]);
    assert_eq!(names(&server, &["--limit", "2", "--sort", "name"]), ["b", "d"]);

    assert_eq!(names(&server, &["--since", "1h"]).len(), 4);
    eventually("they are older than a second", Duration::from_secs(30), || {
        names(&server, &["--since", "1s"]).is_empty().then_some(())
    });
    stdout_of(&server, &["submit", "echo", "--name", "late"]);
    assert_eq!(names(&server, &["--since", "1h", "--limit", "1"]), ["late"]);
    let misused = run_windlass(&server, &["list", "--since", "soon"]);
    assert_eq!(misused.status.code(), Some(2), "{}", text(&misused.stderr));
}

#[test]
fn a_list_that_is_watched_shows_what_is_new_and_what_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_of(directory.path(), &[("slow", "sleep 300")]);
    stdout_of(&server, &["submit", "slow", "--name", "first"]);
    let mut watch = windlass_with(&server)
        .args(["list", "--watch", "--since", "5s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    // Ends with the watch, at the latest.
    let mut until =
        |is: &dyn Fn(&str) -> bool| lines.by_ref().map(Result::unwrap).any(|line| is(&line));
    assert!(until(&|line| line.starts_with("NAME")));
    assert!(until(&|line| line.starts_with("first")));
    stdout_of(&server, &["submit", "slow", "--name", "second"]);
    assert!(until(&|line| line.starts_with("second")));
    // One that was young enough at first stays.
    eventually("both are older", Duration::from_secs(60), || {
        names(&server, &["--since", "5s"]).is_empty().then_some(())
    });
    stdout_of(&server, &["cancel", "first", "--wait"]);
    assert!(until(&|line| line.starts_with("first") && line.contains("Cancelled")));
    Command::new("kill").args(["-INT", &watch.id().to_string()]).status().unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(130));
}

#[test]
fn whoever_cancels_a_job_that_has_ended_is_told_how_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_of(directory.path(), &[("crash", "exit 3"), ("slow", "sleep 300")]);
    stdout_of(&server, &["submit", "echo", "--name", "done", "--wait"]);
    run_windlass(&server, &["submit", "crash", "--name", "failed", "--wait"]);
    stdout_of(&server, &["submit", "slow", "--name", "runs"]);
    let cancelled = run_windlass(&server, &["cancel", "done", "runs", "failed", "--wait"]);
    let said = text(&cancelled.stderr);
    assert_eq!(cancelled.status.code(), Some(1), "{said}");
    assert_eq!(text(&cancelled.stdout), "computejob.windlass.dev/runs\n");
    for expected in
        ["job done had already ended: Succeeded", "job failed had already ended: Failed (Crashed)"]
    {
        assert!(said.contains(expected), "{said}");
    }
    assert!(!said.contains("runs"), "{said}");
    // The list says why, too.
    let list = stdout_of(&server, &["list", "--phase", "failed"]);
    let row: Vec<_> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["failed", "crash", "Failed", "Crashed"], "{list}");
    // Cancelling twice is no error: it is cancelled.
    assert_eq!(stdout_of(&server, &["cancel", "runs"]), "computejob.windlass.dev/runs\n");
    let shown = run_windlass(&server, &["cancel", "done", "-o", "table"]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(text(&shown.stdout).contains("Succeeded"), "{}", text(&shown.stdout));
}

#[test]
fn a_name_that_is_not_there_keeps_no_other_from_its_turn() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_of(directory.path(), &[("slow", "sleep 300")]);
    for name in ["one", "two"] {
        stdout_of(&server, &["submit", "slow", "--name", name]);
    }
    for (command, done) in [("cancel", "\n"), ("delete", " deleted\n")] {
        let said = run_windlass(&server, &[command, "none", "one", "nobody", "two"]);
        assert_eq!(said.status.code(), Some(2), "{said:?}");
        let all = ["one", "two"].map(|name| format!("computejob.windlass.dev/{name}{done}"));
        assert_eq!(text(&said.stdout), all.concat(), "{command}");
        for name in ["none", "nobody"] {
            assert!(text(&said.stderr).contains(name), "{said:?}");
        }
    }
}

#[test]
fn a_queue_is_held_and_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let queue = "apiVersion: windlass.dev/v1alpha1\nkind: ComputeQueue\nmetadata: {name: q}\nspec: {cpus: 1}\n";
    std::fs::write(directory.path().join("queue.yaml"), queue).unwrap();
    let server = server_of(directory.path(), &[("f", "echo > $WINDLASS_OUTPUT")]);
    for (command, is_held) in [("hold", true), ("hold", true), ("resume", false)] {
        assert_eq!(stdout_of(&server, &["queues", command, "q"]), "computequeue.windlass.dev/q\n");
        let shown = stdout_of(&server, &["queues", "q", "-o", "json"]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["spec"]["hold"], is_held, "{shown}");
    }
    let output = run_windlass(&server, &["queues", "hold", "none", "q"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let all = stdout_of(&server, &["queues", "-o", "json"]);
    assert!(all.contains("\"hold\": true"), "the other one is held: {all}");
}
