//! Functions as processes of their own: exit status, output, progress, and the number of threads.
//!
//! Without arguments that name a function this program runs its tests, and each test starts it again as a function.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, but without the harness clippy knows tests by"
)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Duration;

use serde::Deserialize;
use support::{exit_within, run_tests, terminate, thread_count, wait_until};
use windlass_sdk::rayon::prelude::*;
use windlass_sdk::{Error, Run};

const TESTS: [(&str, fn()); 6] = [
    (
        "the_process_has_as_many_threads_as_cpus_granted",
        the_process_has_as_many_threads_as_cpus_granted,
    ),
    ("a_function_is_told_what_the_worker_set", a_function_is_told_what_the_worker_set),
    ("bytes_are_written_as_they_are", bytes_are_written_as_they_are),
    ("bad_input_exits_65_and_leaves_no_output", bad_input_exits_65_and_leaves_no_output),
    (
        "outside_a_worker_the_missing_variable_is_named",
        outside_a_worker_the_missing_variable_is_named,
    ),
    (
        "sigterm_stops_all_threads_and_leaves_no_output",
        sigterm_stops_all_threads_and_leaves_no_output,
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("function:threads") => return windlass_sdk::main(threads),
        Some("function:told") => return windlass_sdk::main(told),
        Some("function:bytes") => return windlass_sdk::main_bytes(bytes),
        Some("function:spin") => return windlass_sdk::main(spin),
        _ => {}
    }
    run_tests(&TESTS, &arguments)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

/// The most threads this process had while all of its pool was busy.
fn threads(_: Empty, run: &Run) -> Result<usize, Error> {
    run.progress().set_total(1000);
    let counts = (0..1000).into_par_iter().map(|_| {
        std::thread::sleep(Duration::from_micros(300));
        run.progress().add(1);
        thread_count()
    });
    counts.max().ok_or_else(|| Error::failed("nothing counted"))
}

fn told(input: serde_json::Value, run: &Run) -> Result<serde_json::Value, Error> {
    Ok(serde_json::json!({
        "input": input,
        "parallelism": run.parallelism(),
        "deadline": run.deadline().map(|deadline| deadline.to_string()),
        "job": run.job(),
        "attempt": run.attempt(),
    }))
}

fn bytes(_: Empty, _: &Run) -> Result<Vec<u8>, Error> {
    Ok(vec![0x89, b'P', 0, 255])
}

/// Computes until stopped, for a minute at most.
fn spin(_: Empty, run: &Run) -> Result<(), Error> {
    run.progress().set_total(60_000);
    (0..60_000 * run.parallelism()).into_par_iter().try_for_each(|_| {
        run.check()?;
        std::thread::sleep(Duration::from_millis(1));
        run.progress().add(1);
        Ok(())
    })
}

/// A directory of its own for each run, and the command with the contract's variables.
struct Worker {
    directory: tempfile::TempDir,
}

impl Worker {
    fn new(input: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("input"), input).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, function: &str, parallelism: usize) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .arg(format!("function:{function}"))
            .env_clear()
            .env("WINDLASS_INPUT", self.path("input"))
            .env("WINDLASS_OUTPUT", self.path("output"))
            .env("WINDLASS_PROGRESS", self.path("progress"))
            .env("WINDLASS_PARALLELISM", parallelism.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, function: &str, parallelism: usize) -> Output {
        self.command(function, parallelism).output().unwrap()
    }

    /// Names of the files besides the input and the progress.
    fn left_behind(&self) -> Vec<String> {
        let names = fs::read_dir(self.directory.path()).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "input" && name != "progress")
            .collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn the_process_has_as_many_threads_as_cpus_granted() {
    for parallelism in [1, 2, 3, 8] {
        let worker = Worker::new("{}");
        let output = worker.run("threads", parallelism);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(fs::read_to_string(worker.path("output")).unwrap(), format!("{parallelism}\n"));
        let progress = fs::read_to_string(worker.path("progress")).unwrap();
        assert_eq!(progress.lines().last(), Some("1000 1000"));
    }
}

fn a_function_is_told_what_the_worker_set() {
    let worker = Worker::new(r#"{"a": [1, 2]}"#);
    let mut command = worker.command("told", 2);
    command
        .env("WINDLASS_DEADLINE", "2030-01-02T03:04:05Z")
        .env("WINDLASS_JOB", "j")
        .env("WINDLASS_ATTEMPT", "4");
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    let told: serde_json::Value =
        serde_json::from_slice(&fs::read(worker.path("output")).unwrap()).unwrap();
    let expected = serde_json::json!({
        "input": {"a": [1, 2]}, "parallelism": 2, "deadline": "2030-01-02T03:04:05Z", "job": "j", "attempt": 4,
    });
    assert_eq!(told, expected);
    assert_eq!(worker.left_behind(), ["output"]);
}

fn bytes_are_written_as_they_are() {
    let worker = Worker::new("{}");
    assert!(worker.run("bytes", 1).status.success());
    assert_eq!(fs::read(worker.path("output")).unwrap(), [0x89, b'P', 0, 255]);
}

fn bad_input_exits_65_and_leaves_no_output() {
    for input in ["", "[1]", r#"{"surprise": 1}"#] {
        let worker = Worker::new(input);
        let output = worker.run("threads", 2);
        assert_eq!(output.status.code(), Some(65));
        assert!(stderr(&output).starts_with("bad input"), "{}", stderr(&output));
        assert!(worker.left_behind().is_empty());
    }
}

fn outside_a_worker_the_missing_variable_is_named() {
    let worker = Worker::new("{}");
    let output = worker.command("threads", 2).env_remove("WINDLASS_INPUT").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("WINDLASS_INPUT is not set"), "{}", stderr(&output));
}

fn sigterm_stops_all_threads_and_leaves_no_output() {
    let worker = Worker::new("{}");
    let mut child = worker.command("spin", 3).spawn().unwrap();
    let started =
        || fs::read_to_string(worker.path("progress")).is_ok_and(|text| text.contains("60000"));
    wait_until("the function computes", started);
    terminate(&child);
    let status = exit_within(&mut child, Duration::from_secs(5));
    assert_eq!(status, Some(143));
    assert!(worker.left_behind().is_empty());
}
