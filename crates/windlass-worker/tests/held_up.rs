//! Functions and worlds that would hold a worker up, and do not.

use std::process::Stdio;

use rustix::process::Signal;
use windlass_core::Outcome;
use windlass_core::report::Event;

use crate::bench::Bench;
use crate::fake_gateway::{CannedAnswer, FakeGateway};

#[test]
fn a_function_whose_log_nobody_reads_still_meets_its_timeout() {
    let (unread, stderr) = rustix::pipe::pipe().unwrap();
    let mut bench = Bench::new();
    bench.assignment.timeout_seconds = 1;
    let assignment = serde_json::to_string(&bench.assignment).unwrap();
    let script = "while :; do echo a line that nobody reads; done >&2";
    let worker = bench.start_to(&["sh", "-c", script], &assignment, Stdio::from(stderr));
    let message = worker.timeout();
    assert!(message.contains("\na line that nobody reads\n"), "{message}");
    drop(unread);
}

#[test]
fn a_pipe_in_the_place_of_the_progress_file_holds_nobody_up() {
    let script = r#"
        rm "$WINDLASS_PROGRESS"; mkfifo "$WINDLASS_PROGRESS"
        sleep 0.3; printf done > "$WINDLASS_OUTPUT"
    "#;
    assert_eq!(Bench::new().sh(script).result().text.as_deref(), Some("done"));
}

#[test]
fn a_flood_of_progress_is_told_at_a_bounded_pace() {
    let script = r#"
        i=0; while [ $i -lt 20000 ]; do echo $i 20000; i=$((i+1)); done >> "$WINDLASS_PROGRESS"
        : > "$WINDLASS_OUTPUT"
    "#;
    let exited = Bench::new().sh(script).exited();
    let Some(Event::Finished(ending)) = exited.events.last() else { panic!("{exited:#?}") };
    let told = |event: &&Event| matches!(event, Event::Progress { .. });
    let told = exited.events.iter().filter(told).count() as i128;
    let milliseconds = ending.finished.duration_since(ending.running.unwrap()).as_millis();
    assert!(told <= milliseconds / 100 + 2, "{told} in {milliseconds} ms");
    assert_eq!(ending.progress.as_ref().unwrap().done, 19_999);
}

#[test]
fn a_result_in_hand_is_still_told_after_sigterm() {
    let mut bench = Bench::new();
    let answers = [CannedAnswer::Status(503), CannedAnswer::Status(503), CannedAnswer::Status(204)];
    let gateway = FakeGateway::plain(&mut bench, &answers);
    let mut worker = bench.sh(r#"printf hello > "$WINDLASS_OUTPUT""#);
    gateway.next_request();
    worker.signal(Signal::TERM);
    worker.hang_up();
    let exited = worker.exited();
    assert_eq!(exited.code, 0, "{exited:#?}");
    // It was not taken at first, and is told until it is.
    let told = gateway.rest();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told.iter().all(|request| matches!(
        &request.report.event,
        Event::Finished(ending) if matches!(ending.outcome, Outcome::Succeeded(_))
    )));
}
