//! Exit codes tell done, failed, misused and interrupted apart.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{run_windlass, server_of, stdout_of, windlass_with, without_settings};
use crate::support::server::Server;
use crate::support::{eventually, text, traces, windlass};

#[test]
fn exit_codes_tell_done_failed_misused_and_interrupted_apart() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_of(
        directory.path(),
        &[("crash", "echo the reason >&2; exit 3"), ("slow", "touch $HERE/slow; sleep 300")],
    );
    for command in ["run", "call"] {
        let output = run_windlass(&server, &[command, "crash"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("Crashed") && said.contains("the reason"), "{said}");
        assert!(output.stdout.is_empty());
    }
    let waited = run_windlass(&server, &["submit", "crash", "--wait", "--name", "crashed"]);
    assert_eq!(waited.status.code(), Some(1), "{}", text(&waited.stderr));
    assert_eq!(run_windlass(&server, &["watch", "crashed"]).status.code(), Some(1));
    for (arguments, code) in [(&["--wait"][..], 1), (&["--watch"], 1), (&[], 0)] {
        let shown = run_windlass(&server, &[&["get", "crashed"], arguments].concat());
        assert_eq!(shown.status.code(), Some(code), "{arguments:?}: {}", text(&shown.stderr));
        assert!(text(&shown.stdout).contains("crashed"), "{arguments:?}");
    }
    stdout_of(&server, &["submit", "echo", "--name", "done"]);
    let second = run_windlass(&server, &["submit", "crash", "--wait", "--name", "also"]);
    assert_eq!(second.status.code(), Some(1));
    let several = run_windlass(&server, &["get", "--wait", "crashed", "done", "also"]);
    assert_eq!(several.status.code(), Some(1));
    let told = text(&several.stderr);
    for name in ["crashed", "also"] {
        assert!(told.contains(&format!("job {name} failed (Crashed, attempt")), "{told}");
    }
    let none = run_windlass(&server, &["result", "crashed"]);
    assert_eq!(none.status.code(), Some(1), "{}", text(&none.stderr));
    assert!(text(&none.stderr).contains("Failed and has no result"), "{}", text(&none.stderr));
    what_is_misused_is_refused(&server);
    an_interrupt_cancels_what_was_called_only(&server, &traces(directory.path()).join("slow"));
    let late = run_windlass(&server, &["get", "submitted", "--wait=1"]);
    assert_eq!(late.status.code(), Some(1));
    assert!(text(&late.stderr).contains("windlass watch submitted"), "{}", text(&late.stderr));
    stdout_of(&server, &["cancel", "submitted", "--wait"]);
    assert!(stdout_of(&server, &["get", "submitted"]).contains("Cancelled"));
}

fn what_is_misused_is_refused(server: &Server) {
    let table: &[(&[&str], &str)] = &[
        (&["call", "nothing"], "there is no function \"nothing\"; there are: crash, echo"),
        (&["functions", "nothing"], "there are: crash, echo"),
        (&["submit", "echo", "--parallelism", "65"], "/parallelism"),
        (&["submit", "echo", "--input", "[1]"], "must be a JSON object"),
        (&["call", "echo", "--input", "{\"a\": [18446744073709551616]}"], "/a/0: integers"),
        (&["submit", "echo", "-f", "x.yaml"], "cannot be used with"),
        (&["submit"], "required"),
        (&["get", "Nonsense"], "lower-case"),
        (&["get", "a", "b", "--watch"], "one job"),
        (&["list", "--phase", "Sleeping"], "there are: Queued"),
        (&["list", "-o", "xml"], "table, wide, json, yaml, name"),
        (&["run", "echo", "--cpus", "2"], "on this machine"),
        (&["queues", "nothing"], "\"nothing\" was not found"),
    ];
    for (arguments, expected) in table {
        let output = run_windlass(server, arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

/// An interrupt cancels what was called, and leaves what was submitted. The function makes the marker
/// when it runs.
fn an_interrupt_cancels_what_was_called_only(server: &Server, marker: &Path) {
    for (arguments, phase) in [
        (&["call", "slow", "--name", "called"][..], "Cancelled"),
        (&["submit", "slow", "--name", "submitted", "--wait"], "Running"),
    ] {
        let mut child = windlass_with(server)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        eventually("the function runs", Duration::from_secs(30), || fs::remove_file(marker).ok());
        let name = arguments[3];
        if arguments[0] == "submit" {
            // It waits once it has said the name; before, an interrupt ends it as any command.
            let mut said = String::new();
            let mut lines = BufReader::new(child.stdout.as_mut().unwrap());
            lines.read_line(&mut said).unwrap();
            assert_eq!(said.trim_end(), name);
        }
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
        eventually("its phase is told", Duration::from_secs(30), || {
            stdout_of(server, &["get", name]).contains(phase).then_some(())
        });
    }
}

#[test]
fn an_interrupt_before_the_server_has_answered_says_that_a_job_may_be_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let child = without_settings(&windlass())
        .env("WINDLASS_SERVER", format!("http://{address}"))
        .env("WINDLASS_TOKEN", "some-token-that-nobody-reads")
        .args(["call", "slow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It is asked, and never answers.
    let (mut asked, _) = listener.accept().unwrap();
    asked.read_exact(&mut [0; 4]).unwrap();
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("a job may be there; `windlass list` shows it"), "{said}");
}

#[test]
fn who_reads_no_more_of_a_result_has_read_enough() {
    let directory = tempfile::tempdir().unwrap();
    let large = "head -c 3000000 /dev/zero > $WINDLASS_OUTPUT";
    let server =
        server_of(directory.path(), &[("large", large), ("small", "echo 1 > $WINDLASS_OUTPUT")]);
    for function in ["large", "small"] {
        stdout_of(&server, &["submit", function, "--name", function, "--wait"]);
        for command in [&["result", function][..], &["call", function]] {
            let mut child = windlass_with(&server)
                .args(command)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            drop(child.stdout.take());
            let output = child.wait_with_output().unwrap();
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{command:?}: {said}");
            assert!(!said.contains("pipe"), "{command:?}: {said}");
        }
    }
}

#[test]
fn what_has_files_to_send_says_as_well_that_nobody_answers_or_lets_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.csv");
    fs::write(&file, "1,2").unwrap();
    let file = file.to_str().unwrap();
    let (named, input) = (format!("a={file}"), format!("@{file}"));
    let server = server_of(directory.path(), &[("takes", "echo 1 > $WINDLASS_OUTPUT")]);
    let commands: &[&[&str]] = &[
        &["call", "takes"],
        &["call", "takes", "--file", &named],
        &["submit", "takes", "--file", &named],
        &["submit", "takes", "--input", &input],
        &["blobs", "put", file],
    ];
    // Nobody listens there any more.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = (format!("http://{silent}"), "Is it running");
    let stranger = (format!("http://{}", server.client.address), "The token comes from");
    for (url, advice) in [nobody, stranger] {
        for command in commands {
            let output = without_settings(&windlass())
                .env("WINDLASS_SERVER", &url)
                .env("WINDLASS_TOKEN", "not-the-servers")
                .args(*command)
                .output()
                .unwrap();
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{command:?}: {said}");
            assert!(said.contains(advice), "{command:?}: {said}");
        }
    }
}
