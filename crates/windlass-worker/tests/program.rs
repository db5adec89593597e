//! The program itself: its command line, and what a later controller tells it.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use serde_json::{Value, json};
use windlass_core::assignment::ReportTo;

use crate::bench::{Bench, worker};
use crate::fake_gateway::{CannedAnswer, FakeGateway};
use crate::http::finished;
use crate::standby::text_of;

fn run(arguments: &[&str]) -> Output {
    Command::new(worker()).args(arguments).output().unwrap()
}

#[test]
fn an_init_container_copies_it_without_a_shell() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("windlass-worker");
    let path = copy.to_str().unwrap();
    let copied = run(&["--install", path]);
    assert!(copied.status.success(), "{copied:?}");
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o111, 0o111);
    let version = |program: &str| Command::new(program).arg("--version").output().unwrap().stdout;
    assert_eq!(version(path), version(worker()));
    let nowhere = run(&["--install", "/proc/no/such/file"]);
    let why = String::from_utf8(nowhere.stderr).unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(why.contains("/proc/no/such/file"), "{why}");
}

#[test]
fn a_command_line_that_means_nothing_is_refused() {
    for arguments in [&["--standby"][..], &["--standby", "--"], &["f"], &["--install"]] {
        let refused = run(arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(!refused.stderr.is_empty(), "{arguments:?}");
    }
}

const UNKNOWN: &str = "ofALaterRelease";

/// Puts a field that nobody knows into every object.
fn with_unknown_fields(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(with_unknown_fields);
            fields.insert(UNKNOWN.into(), json!({ "some": ["thing"] }));
        }
        Value::Array(items) => items.iter_mut().for_each(with_unknown_fields),
        _ => {}
    }
}

#[test]
fn what_a_later_controller_tells_beside_the_rest_is_ignored() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(204)]);
    let mut told = serde_json::to_value(&bench.assignment).unwrap();
    with_unknown_fields(&mut told);
    // Its one field says of which kind it is.
    told["report"].as_object_mut().unwrap().remove(UNKNOWN).unwrap();
    let mut worker =
        bench.start_with(&["sh", "-c", r#"echo done > "$WINDLASS_OUTPUT""#], &told.to_string());
    worker.hang_up();
    assert_eq!(gateway.next_request().report.job_uid, "uid");
    let exited = worker.exited();
    assert_eq!(exited.code, 0, "{exited:#?}");
}

/// What the controller of release 0.1.0 has told workers in pods, one assignment a line: an inline input; and an input
/// and a file that are fetched.
const RECORDED: &str = include_str!("recorded/controller-0.1.0.jsonl");

/// The same with the places of this bench.
fn recorded_here(line: &str, bench: &Bench) -> Value {
    let ReportTo::Http { url, .. } = &bench.assignment.report else { panic!() };
    let here = |name: &str| bench.path(name).to_str().unwrap().to_owned();
    let places = [
        ("http://windlass-gateway.windlass.svc:80/v1/reports", url.clone()),
        ("/windlass/token/token", here("token")),
        ("/windlass/input/input.json", here("input.json")),
        ("/windlass/work", here("work")),
        ("/dev/termination-log", here("termination")),
    ];
    let told = places.iter().fold(line.to_owned(), |told, (there, here)| told.replace(there, here));
    serde_json::from_str(&told).unwrap()
}

#[test]
fn what_controllers_of_the_release_before_and_of_the_next_one_tell_is_done() {
    let script =
        r#"cat "$WINDLASS_INPUT" ${WINDLASS_FILES:+"$WINDLASS_FILES/x.csv"} > "$WINDLASS_OUTPUT""#;
    let accepted = CannedAnswer::Status(204);
    let answers = [
        (vec![accepted], r#"{"n":7}"#),
        (
            vec![CannedAnswer::Blob("a long input"), CannedAnswer::Blob("1,2"), accepted],
            "a long input1,2",
        ),
    ];
    assert_eq!(RECORDED.lines().count(), answers.len());
    for (line, (answers, expected)) in RECORDED.lines().zip(answers) {
        for is_later in [false, true] {
            let mut bench = Bench::new();
            let gateway = FakeGateway::plain(&mut bench, &answers);
            let mut told = recorded_here(line, &bench);
            if is_later {
                with_unknown_fields(&mut told);
                // Their fields are kinds and names.
                for named in ["/report", "/inputs/files"] {
                    if let Some(Value::Object(fields)) = told.pointer_mut(named) {
                        fields.remove(UNKNOWN).unwrap();
                    }
                }
            }
            let mut worker = bench.start_with(&["sh", "-c", script], &told.to_string());
            worker.hang_up();
            let request = gateway.next_request();
            assert_eq!(text_of(&request).as_deref(), Some(expected), "{line}");
            assert_eq!(request.report.job_uid, "0192f3a4-5b6c-7d8e-9f00-112233445566");
            assert_eq!(request.report.attempt, told["attempt"].as_u64().unwrap() as u32);
            assert_eq!(worker.exited().code, 0);
            assert_eq!(&bench.left_word().unwrap().outcome, finished(&request));
        }
    }
}

#[test]
fn what_only_a_later_worker_can_do_is_refused_by_name() {
    let bench = Bench::new();
    // Nothing else is as it is known here.
    let told = json!({ "version": 2, "jobs": [] }).to_string();
    let exited = bench.start_with(&["true"], &told).exited();
    assert_eq!(exited.code, 2, "{exited:#?}");
    let why = "WINDLASS_ASSIGNMENT cannot be read: it has version 2";
    assert!(exited.stderr.contains(why) && exited.stderr.contains("newer worker"), "{exited:#?}");
}

#[test]
fn what_a_controller_of_before_tells_has_no_version() {
    let bench = Bench::new();
    let mut told = serde_json::to_value(&bench.assignment).unwrap();
    told.as_object_mut().unwrap().remove("version").unwrap();
    let exited = bench
        .start_with(&["sh", "-c", r#"echo done > "$WINDLASS_OUTPUT""#], &told.to_string())
        .exited();
    assert_eq!(exited.code, 0, "{exited:#?}");
}
