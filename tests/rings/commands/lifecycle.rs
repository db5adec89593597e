//! A job from its submission to its deletion, command by command.

use std::fs;

use serde_json::{Value, json};

use super::{run_windlass, server_of, stdout_of};
use crate::support::server::Server;
use crate::support::{checkout, script, text};

#[test]
fn a_jobs_life_is_told_by_commands() {
    let server = Server::start(&["--cpus", "2"]);
    let input = r#"{"hello": "world"}"#;
    submit_and_get(&server, input);
    result_call_and_run_agree(&server, input);
    list_has_columns_filters_and_a_limit(&server);
    watch_explain_and_logs_of_an_ended_job(&server);
    functions_are_listed_and_shown(&server);

    assert_eq!(stdout_of(&server, &["delete", "first"]), "computejob.windlass.dev/first deleted\n");
    let gone = run_windlass(&server, &["get", "first"]);
    assert_eq!(gone.status.code(), Some(2));
    let said = text(&gone.stderr);
    assert!(said.contains("\"first\" was not found") && said.contains("windlass list"), "{said}");
}

#[test]
fn what_a_failed_job_had_computed_is_given_to_who_asks_for_it_alone() {
    let here = tempfile::tempdir().unwrap();
    let script = r#"yes '"part"' | head -n "$(cut -d '"' -f 4 "$WINDLASS_INPUT")" | paste -s -d , | sed 's/.*/[&]/' > "$WINDLASS_OUTPUT"
exit 70"#;
    let server = server_of(here.path(), &[("stops", script)]);
    // One that is in the job, and one that is a file of the server.
    for parts in [2, 9_000] {
        let name = format!("job-{parts}");
        let input = json!({ "parts": parts.to_string() }).to_string();
        let submit = ["submit", "stops", "--input", &input, "--name", &name, "--wait=60"];
        assert_eq!(run_windlass(&server, &submit).status.code(), Some(1));
        let job: Value =
            serde_json::from_str(&stdout_of(&server, &["get", &name, "-o", "json"])).unwrap();
        assert_eq!(job["status"]["phase"], "Failed", "{job}");
        assert_eq!(job["status"]["result"]["text"].is_string(), parts == 2, "{job}");
        let refused = run_windlass(&server, &["result", &name]);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("windlass result --partial"), "{said}");
        let computed = stdout_of(&server, &["result", &name, "--partial", "--wait=1"]);
        assert_eq!(serde_json::from_str::<Value>(&computed).unwrap(), json!(vec!["part"; parts]));
        let path = format!("/v1/namespaces/default/jobs/{name}/result");
        assert_eq!(server.client.get(&path).status, 409);
        let answer = server.client.get(&format!("{path}?partial=true"));
        assert_eq!((answer.status, text(&answer.body)), (200, computed));
        assert_eq!(server.client.get(&format!("{path}?parts=1")).status, 400);
    }
}

fn submit_and_get(server: &Server, input: &str) {
    let options = ["--parallelism", "2", "--priority", "-5", "--ttl", "60", "--timeout", "9"];
    let submit = ["submit", "echo", "--input", input, "--name", "first", "--wait=60"];
    let name = stdout_of(server, &[&submit[..], &options].concat());
    assert_eq!(name, "first\n");

    let job: Value =
        serde_json::from_str(&stdout_of(server, &["get", "first", "-o", "json"])).unwrap();
    let spec = &job["spec"];
    assert_eq!((&spec["priority"], &spec["timeoutSeconds"]), (&json!(-5), &json!(9)));
    assert_eq!((&spec["ttlSecondsAfterFinished"], &spec["parallelism"]), (&json!(60), &json!(2)));
    assert_eq!(job["status"]["phase"], "Succeeded");
    // kubectl's name of the job is as good.
    let named = stdout_of(server, &["submit", "echo", "-o", "name", "--name", "second"]);
    assert_eq!(named, "computejob.windlass.dev/second\n");
    stdout_of(server, &["delete", named.trim()]);
    let yaml = stdout_of(server, &["get", "computejob.windlass.dev/first", "-o", "yaml"]);
    assert!(yaml.contains("kind: ComputeJob\n") && yaml.contains("phase: Succeeded"), "{yaml}");
}

fn result_call_and_run_agree(server: &Server, input: &str) {
    let result: Value = serde_json::from_str(&stdout_of(server, &["result", "first"])).unwrap();
    assert_eq!(result["input"]["hello"], "world");
    let called = stdout_of(server, &["call", "echo", "--input", input]);
    let called: Value = serde_json::from_str(&called).unwrap();
    assert_eq!(called["input"], result["input"]);
    let ran = run_windlass(server, &["run", "echo", "--input", input]);
    let value: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(value["input"], result["input"]);
    assert!(text(&ran.stderr).contains("Succeeded"), "{}", text(&ran.stderr));
}

/// The three jobs of the steps before: `first`, one that was called and one that was run.
fn list_has_columns_filters_and_a_limit(server: &Server) {
    let table = stdout_of(server, &["list", "--function", "echo", "--phase", "succeeded"]);
    let heads: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["NAME", "FUNCTION", "PHASE", "REASON", "CPUS", "PROGRESS", "AGE"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    let wide = stdout_of(server, &["list", "-o", "wide"]);
    for head in ["QUEUE", "ATTEMPT", "NODE", "ELAPSED"] {
        assert!(wide.lines().next().unwrap().contains(head), "{wide}");
    }
    let list = stdout_of(server, &["list", "-o", "json", "--queue", "default"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (&list["kind"], list["items"].as_array().unwrap().len()),
        (&json!("ComputeJobList"), 3)
    );
    let two = run_windlass(server, &["list", "-o", "name", "--limit", "2"]);
    assert_eq!(text(&two.stdout).lines().count(), 2);
    assert!(text(&two.stderr).contains("more than 2"), "{}", text(&two.stderr));
    let none = run_windlass(server, &["list", "--queue", "other"]);
    assert_eq!(text(&none.stdout).lines().count(), 1);
}

fn watch_explain_and_logs_of_an_ended_job(server: &Server) {
    let watched = stdout_of(server, &["get", "first", "--watch"]);
    assert!(watched.lines().last().unwrap().contains("Succeeded"), "{watched}");
    assert_eq!(run_windlass(server, &["watch", "first"]).status.code(), Some(0));
    let explained = stdout_of(server, &["explain", "first"]);
    assert!(explained.starts_with("Succeeded") && explained.contains("running"), "{explained}");
    assert_eq!(stdout_of(server, &["logs", "first"]), "");
}

fn functions_are_listed_and_shown(server: &Server) {
    let functions = stdout_of(server, &["functions", "-o", "name"]);
    assert!(functions.contains("computefunction.windlass.dev/price\n"), "{functions}");
    let function = stdout_of(server, &["functions", "price", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&function).unwrap()["metadata"]["name"], "price");
}

#[test]
fn a_manifest_is_submitted_as_kubectl_would_apply_it_and_a_result_goes_to_a_file() {
    let server = Server::start(&["--cpus", "2"]);
    let name = stdout_of(&server, &["submit", "-f", "manifests/samples/echo.yaml", "--wait"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    let arguments = ["result", name.trim(), "--output", file.to_str().unwrap()];
    assert_eq!(stdout_of(&server, &arguments), "");
    let result: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(result["input"]["hello"], "world");
    // More than is kept in the job itself comes as a stream, and whole.
    let picture = directory.path().join("picture.png");
    let input = r#"{"width": 256, "height": 192, "samples": 1}"#;
    let scene: Value =
        serde_json::from_str(&fs::read_to_string(checkout().join("examples/scene.json")).unwrap())
            .unwrap();
    let mut scene = scene;
    for (field, value) in serde_json::from_str::<Value>(input).unwrap().as_object().unwrap() {
        scene[field] = value.clone();
    }
    let scene = scene.to_string();
    let arguments = ["call", "render", "--input", &scene, "-o", picture.to_str().unwrap()];
    stdout_of(&server, &arguments);
    let bytes = fs::read(picture).unwrap();
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 32 * 1024, "{} bytes", bytes.len());
}

#[test]
fn explain_tells_attempts_that_failed_from_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let body = "sleep 1; [ $WINDLASS_ATTEMPT = 2 ] || exit 3; echo > $WINDLASS_OUTPUT";
    script(directory.path(), "flaky", body, "retries: 1");
    let server = Server::start(&["--functions", directory.path().to_str().unwrap()]);
    stdout_of(&server, &["submit", "flaky", "--name", "a", "--wait"]);
    let told = stdout_of(&server, &["explain", "a", "-o", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let parts = told["parts"].as_array().unwrap();
    let seconds = |part: &Value| part["seconds"].as_f64().unwrap();
    let earlier: Vec<_> = parts.iter().filter(|part| part["name"] == "earlier").collect();
    assert_eq!(earlier.len(), 1, "{told}");
    assert!(seconds(earlier[0]) >= 1.0, "{told}");
    let how = ["attempt", "reason", "exitCode"].map(|field| earlier[0][field].clone());
    assert_eq!(how, [json!(1), json!("Crashed"), json!(3)], "also of a job that has succeeded");
    let table = stdout_of(&server, &["explain", "a"]);
    assert!(table.contains("an attempt that failed: 1, Crashed, exit code 3\n"), "{table}");
    let (sum, wall) = (parts.iter().map(seconds).sum::<f64>(), told["wallSeconds"].as_f64());
    assert!((sum - wall.unwrap()).abs() <= 0.01 * sum, "{told}");
}
