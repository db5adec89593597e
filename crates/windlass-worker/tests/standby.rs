//! A worker that waits in a pod, with its function started.

use rustix::process::Signal;
use windlass_core::Outcome;
use windlass_core::report::Event;

use crate::bench::Bench;
use crate::fake_gateway::{CannedAnswer, FakeGateway, Request};
use crate::processes::eventually;

/// Serves: says in `$DIR/ready` that it is ready, and answers with its parallelism and its input.
pub const SERVES: &str = r#"
import json, os, socket
worker = socket.socket(socket.AF_UNIX)
worker.connect(os.environ["WINDLASS_SERVE"])
stream = worker.makefile("rw")
def say(message):
    stream.write(json.dumps(message) + "\n")
    stream.flush()
say({"ready": 2})
open(os.environ["DIR"] + "/ready", "w").write("yes\n")
for line in stream:
    job = json.loads(line)
    with open(job["output"], "w") as output:
        output.write(f"{job['parallelism']} {open(job['input']).read()}")
    say({"done": job["job"]})
"#;

pub fn text_of(request: &Request) -> Option<String> {
    match &request.report.event {
        Event::Finished(ending) => match &ending.outcome {
            Outcome::Succeeded(result) => result.text.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_function_starts_before_its_job_and_gets_the_grant_and_the_input() {
    let mut bench = Bench::new();
    // There is nothing to do at first; then the gateway is away; then there is.
    let answers = [
        CannedAnswer::Status(204),
        CannedAnswer::Drop,
        CannedAnswer::Status(503),
        CannedAnswer::Assigned(r#"{"n":9}"#),
        CannedAnswer::Status(200),
    ];
    let gateway = FakeGateway::plain(&mut bench, &answers);
    let mut worker = bench.start_standby(&["python3", "-c", SERVES]);
    worker.hang_up();
    eventually("the function is ready", || bench.path("ready").exists().then_some(()));
    let request = gateway.next_request();
    assert_eq!((request.report.job_uid.as_str(), request.report.attempt), ("uid", 3));
    assert_eq!(text_of(&request).as_deref(), Some(r#"2 {"n":9}"#));
    let exited = worker.exited();
    assert_eq!(exited.code, 0, "{exited:#?}");
    assert_eq!(gateway.rest().len(), 0, "that a short one runs costs no report");
}

#[test]
fn a_function_that_does_not_serve_runs_once_there_is_a_job() {
    let mut bench = Bench::new();
    let answers = [
        CannedAnswer::Status(204),
        CannedAnswer::Assigned(r#"{"n":9}"#),
        CannedAnswer::Status(200),
    ];
    let gateway = FakeGateway::plain(&mut bench, &answers);
    let script = r#"
        [ -n "$WINDLASS_INPUT" ] || { echo x >> "$DIR/tries"; exit 2; }
        printf '%s ' "$WINDLASS_PARALLELISM" > "$WINDLASS_OUTPUT"
        cat "$WINDLASS_INPUT" >> "$WINDLASS_OUTPUT"
    "#;
    let mut worker = bench.start_standby(&["sh", "-c", script]);
    worker.hang_up();
    assert_eq!(text_of(&gateway.next_request()).as_deref(), Some(r#"2 {"n":9}"#));
    let exited = worker.exited();
    assert_eq!(exited.code, 0, "{exited:#?}");
    assert!(exited.stderr.contains("the function has gone"), "{exited:#?}");
    assert_eq!(bench.line_of("tries"), "x", "it is not started again and again");
}

#[test]
fn a_worker_that_waits_ends_with_its_function_when_it_is_told_to() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(503)]);
    let mut worker = bench.start_standby(&["python3", "-c", SERVES]);
    worker.hang_up();
    eventually("the function is ready", || bench.path("ready").exists().then_some(()));
    worker.signal(Signal::TERM);
    assert_eq!(worker.exited().code, 143);
    assert_eq!(gateway.rest().len(), 0);
}
