//! Jobs that are found again by their labels, and submitted again.

use serde_json::{Value, json};

use super::{run_windlass, server_of, stdout_of};
use crate::support::server::Server;
use crate::support::text;

fn job(server: &Server, name: &str) -> Value {
    serde_json::from_str(&stdout_of(server, &["get", name, "-o", "json"])).unwrap()
}

#[test]
fn jobs_are_labelled_and_listed_by_their_labels() {
    let server = Server::start(&["--cpus", "1"]);
    for (name, stage) in [("a", "stage=test"), ("b", "stage=live")] {
        let submit = ["submit", "echo", "--name", name, "-l", "team=blue", "--label", stage];
        stdout_of(&server, &submit);
    }
    stdout_of(&server, &["call", "echo", "--name", "c", "-l", "team=red"]);
    let manifest = json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
        "metadata": { "name": "d", "labels": { "team": "green" } }, "spec": { "function": "echo" },
    });
    let file = server.data().join("job.json");
    std::fs::write(&file, manifest.to_string()).unwrap();
    stdout_of(&server, &["submit", "-f", file.to_str().unwrap()]);
    assert_eq!(job(&server, "d")["metadata"]["labels"], json!({ "team": "green" }));

    let names = |selector: &str| {
        let list = stdout_of(&server, &["list", "-l", selector, "-o", "json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        let items = list["items"].as_array().unwrap().clone();
        let name = |job: &Value| job["metadata"]["name"].as_str().unwrap().to_owned();
        items.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names("team=blue"), ["a", "b"]);
    assert_eq!(names("team in (red, green)"), ["c", "d"]);
    assert_eq!(names("team,stage!=live"), ["a", "c", "d"]);
    let wide = stdout_of(&server, &["list", "--selector", "stage=test", "-o", "wide"]);
    assert!(wide.contains("LABELS") && wide.contains("stage=test,team=blue\n"), "{wide}");

    for arguments in [
        &["list", "-l", "a in ("][..],
        &["submit", "echo", "-l", "team"],
        &["submit", "echo", "-l", "windlass.dev/a=b"],
        &["submit", "echo", "-l", "a=b", "-l", "a=c"],
        &["run", "echo", "-l", "a=b c"],
    ] {
        let refused = run_windlass(&server, arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {refused:?}");
    }
}

#[test]
fn a_job_is_submitted_again_once_it_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_of(directory.path(), &[("slow", "sleep 300")]);
    stdout_of(&server, &["submit", "slow", "--name", "first", "-l", "team=blue", "--retries", "7"]);
    let early = run_windlass(&server, &["retry", "first"]);
    assert_eq!(early.status.code(), Some(1), "{early:?}");
    assert!(text(&early.stderr).contains("only a job that has ended"), "{early:?}");
    stdout_of(&server, &["cancel", "first", "--wait"]);
    let name = stdout_of(&server, &["retry", "first", "--idempotency-key", "k"]);
    let again = job(&server, name.trim());
    assert_eq!(again["metadata"]["annotations"]["windlass.dev/retry-of"], "first");
    assert_eq!(again["metadata"]["labels"], json!({ "team": "blue" }));
    assert_eq!((&again["spec"]["retries"], &again["spec"]["cancel"]), (&json!(7), &json!(false)));
    assert_eq!(stdout_of(&server, &["retry", "first", "--idempotency-key", "k"]), name);
    stdout_of(&server, &["submit", "slow", "--name", "edited", "--retry-of", "first", "-p", "1"]);
    assert_eq!(job(&server, "edited")["metadata"]["annotations"]["windlass.dev/retry-of"], "first");
    let wrong = run_windlass(&server, &["submit", "slow", "--retry-of", "../first"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    assert_eq!(run_windlass(&server, &["retry", "nothing"]).status.code(), Some(2));
}
