//! What a function uses over its time, told to the gateway.

use std::time::Duration;

use windlass_core::kept_log::MAX_KEPT_LOG_BYTES;
use windlass_core::report::Event;
use windlass_core::usage_over_time::UsageOverTime;

use crate::bench::Bench;
use crate::fake_gateway::{CannedAnswer, FakeGateway, Request};
use crate::http::exited;

const SPIN: &str = "while [ ! -e \"$DIR/go\" ]; do :; done; : > \"$WINDLASS_OUTPUT\"";

/// The samples of a report, and whether they are the last.
fn samples(request: &Request) -> (&UsageOverTime, bool) {
    match &request.report.event {
        Event::Usage { over_time, is_last, namespace: None } => (over_time, *is_last),
        other => panic!("{other:?}"),
    }
}

#[test]
fn samples_are_told_while_the_function_runs_and_the_last_when_it_ends() {
    let mut bench = Bench::new();
    // One that is not taken is among the next.
    let answers = [CannedAnswer::Status(503), CannedAnswer::Status(204)];
    let gateway = FakeGateway::plain(&mut bench, &answers);
    let worker = bench.sh(SPIN);
    let (first, second) = (gateway.next_request(), gateway.next_request());
    std::fs::write(bench.path("go"), "").unwrap();
    assert_eq!(exited(worker).code, 0);
    let [(first, false), (second, false)] = [samples(&first), samples(&second)] else { panic!() };
    assert_eq!((first.attempt, first.granted, first.interval_seconds), (Some(3), Some(2), 1));
    assert_eq!((first.samples.len(), second.samples.len()), (5, 10));
    assert!(second.samples.starts_with(&first.samples));
    for sample in &second.samples {
        // One thread, on a machine that may have other things to do.
        assert!(sample.cpus > 0.02 && sample.cpus < 1.5, "{second:?}");
        assert!(sample.memory_bytes > 100_000, "{second:?}");
    }
    let rest = gateway.rest();
    let [last, Request { report, .. }] = &rest[..] else { panic!("{rest:#?}") };
    let (last, true) = samples(last) else { panic!("{last:?}") };
    assert!(last.samples.starts_with(&second.samples));
    assert!(matches!(report.event, Event::Finished(_)));
}

#[test]
fn the_last_samples_come_after_the_log_and_are_tried_once() {
    let mut bench = Bench::new();
    bench.assignment.keep_log_bytes = Some(MAX_KEPT_LOG_BYTES);
    let [taken, busy] = [204, 503].map(CannedAnswer::Status);
    let answers = [taken, CannedAnswer::Stored("somewhere"), busy, taken];
    let gateway = FakeGateway::plain(&mut bench, &answers);
    let worker = bench.sh(&format!("echo said; {SPIN}"));
    assert!(matches!(samples(&gateway.next_request()), (_, false)));
    std::fs::write(bench.path("go"), "").unwrap();
    let exited = exited(worker);
    assert!(exited.stderr.contains("the last samples were not taken: 503"), "{exited:#?}");
    let log = gateway.upload();
    let rest = gateway.rest();
    let [last, Request { report, .. }] = &rest[..] else { panic!("{rest:#?}") };
    assert!(matches!(samples(last), (_, true)));
    let Event::Finished(ending) = &report.event else { panic!("{report:?}") };
    let log_bytes = ending.usage.as_ref().unwrap().log_bytes;
    assert_eq!(log_bytes, Some(log.bytes.len() as u64));
}

#[test]
fn a_gateway_of_before_refuses_samples_once_and_a_short_function_has_none() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(422)]);
    let worker = bench.sh(SPIN);
    samples(&gateway.next_request());
    std::thread::sleep(Duration::from_secs(6));
    std::fs::write(bench.path("go"), "").unwrap();
    let exited_first = exited(worker);
    assert!(exited_first.stderr.contains("samples were refused (422"), "{exited_first:#?}");
    let [Request { report, .. }] = &gateway.rest()[..] else { panic!() };
    assert!(matches!(report.event, Event::Finished(_)));

    let mut bench = Bench::new();
    bench.assignment.keep_log_bytes = Some(MAX_KEPT_LOG_BYTES);
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(204)]);
    assert_eq!(exited(bench.sh(": > \"$WINDLASS_OUTPUT\"")).code, 0);
    assert_eq!(gateway.rest().len(), 1);
}
