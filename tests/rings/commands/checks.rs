//! What the server finds wrong with a function when it starts, and does not leave to each job; and what it hands on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::server::Server;
use crate::support::{eventually, executable, script, text, windlass};

/// It takes every module for one that is not there.
const PYTHON: &str = "#!/bin/sh\necho \"$*: No module named 'mistyped'\" >&2\nexit 1\n";

#[test]
fn a_function_that_cannot_be_imported_is_told_at_the_start() {
    let here = tempfile::tempdir().unwrap();
    let python = here.path().join("python");
    executable(&python, PYTHON);
    let python = python.to_str().unwrap();
    let said = "-m windlass.worker mistyped:f --check: No module named 'mistyped'";

    // Whoever has typed it is there to read why.
    let flag = format!("f={python} -m windlass.worker mistyped:f");
    let data = here.path().join("first");
    let refused = Server::try_start(Command::new(windlass()), &data, &["--function", &flag]);
    let (status, log) = refused.err().unwrap();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("--function f cannot be called") && log.contains(said), "{log}");

    let refused =
        Server::try_start(Command::new(windlass()), &data, &["--function", "g=no-such-program 1"]);
    let (status, log) = refused.err().unwrap();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(
        log.contains("--function g cannot be called")
            && log.contains("no such program on the PATH"),
        "{log}"
    );

    // A server with many manifests goes on with the others.
    let manifests = here.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    let write = |name: &str| {
        let manifest = format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: ComputeFunction\nmetadata: {{name: {name}}}\n\
             spec: {{command: [{python}, -m, windlass.worker, 'mistyped:f']}}\n"
        );
        fs::write(manifests.join(format!("{name}.yaml")), manifest).unwrap();
    };
    write("first");
    let arguments = ["--functions", manifests.to_str().unwrap()];
    let server = Server::start_at(&here.path().join("second"), &arguments);
    let told = |name: &str| {
        eventually("the function is told", Duration::from_secs(60), || {
            let log = server.said();
            (log.contains("every job of this function will fail") && log.contains(name))
                .then_some(log)
        })
    };
    assert!(told("first").contains(said));
    write("later");
    let log = told("later");
    assert!(log.contains(said) && !log.contains("\"first\""), "{log}");
}

#[test]
fn a_function_that_has_no_working_directory_is_told_at_the_start_and_when_it_has_lost_it() {
    let here = tempfile::tempdir().unwrap();
    let data = here.path().join("data");
    let place = here.path().join("place");
    let fields = |path: &Path| format!("retries: 0\n  workingDirectory: {}", path.display());
    script(here.path(), "lost", "pwd > $WINDLASS_OUTPUT", &fields(&place));
    script(here.path(), "hidden", "pwd > $WINDLASS_OUTPUT", &fields(&data));
    fs::create_dir(&data).unwrap();
    let server = Server::beside(here.path(), &["--landlock", "on"]);
    let lost = format!("/spec/workingDirectory: {}: No such file", place.display());
    let mut log = server.before().to_owned();
    eventually("both are told", Duration::from_secs(60), || {
        log += &server.said();
        let is_told =
            log.contains(&lost) && log.contains("is the server's, and no function reads it");
        is_told.then_some(())
    });
    let failed = server.client.run(&json!({ "function": "lost" }));
    let failure = &failed["status"]["failure"];
    assert_eq!(failure["reason"], "CannotStart", "{failed}");
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains(place.to_str().unwrap()), "{message}");
    fs::create_dir(&place).unwrap();
    let ended = server.client.run(&json!({ "function": "lost" }));
    let text = ended["status"]["result"]["text"].as_str().unwrap_or_else(|| panic!("{ended}"));
    assert_eq!(text.trim(), place.canonicalize().unwrap().to_str().unwrap());
}

#[test]
fn a_variable_of_the_servers_environment_is_handed_on_by_its_name_alone() {
    let here = tempfile::tempdir().unwrap();
    let mut command = Command::new(windlass());
    command.env("API_KEY", "hush").env("OTHER", "quiet");
    let shell = "f=sh -c 'echo $API_KEY:$OTHER: > $WINDLASS_OUTPUT'";
    let flags = ["--function", shell, "--pass-env", "API_KEY"];
    let server = Server::start_by(command, here.path(), &flags);
    let ended = server.client.run(&json!({ "function": "f" }));
    assert_eq!(ended["status"]["result"]["text"], "hush::\n", "{ended}");
    let told = server.client.get("/v1/namespaces/default/functions/f");
    let told = text(&told.body);
    assert!(told.contains("API_KEY") && !told.contains("hush"), "{told}");

    let reserved = ["--function", "f=true", "--pass-env", "WINDLASS_TOKEN"];
    let data = here.path().join("other");
    let (status, log) =
        Server::try_start(Command::new(windlass()), &data, &reserved).err().unwrap();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("/spec/passEnv/0") && log.contains("Windlass' own"), "{log}");
}
