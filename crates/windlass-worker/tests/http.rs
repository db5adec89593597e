//! Reports over HTTP.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};
use windlass_core::Outcome;
use windlass_core::assignment::ReportTo;
use windlass_core::report::Event;
use windlass_core::status::FailureReason;

use crate::bench::{Bench, Exited, Worker};
use crate::fake_gateway::{CannedAnswer, FakeGateway, Request, SECOND};
use crate::processes::{assert_gone, eventually, members};

const HELLO: &str = r#"printf hello > "$WINDLASS_OUTPUT""#;

pub fn finished(request: &Request) -> &Outcome {
    match &request.report.event {
        Event::Finished(ending) => &ending.outcome,
        other => panic!("{other:?}"),
    }
}

/// Waits for a worker that tells nothing over its standard input.
pub fn exited(mut worker: Worker) -> Exited {
    worker.hang_up();
    worker.exited()
}

#[test]
fn the_outcome_is_posted_with_the_bearer_token() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(200)]);
    assert_eq!(exited(bench.sh(HELLO)).code, 0);
    // That the function runs, its cluster knows by itself: one request.
    let [request] = &gateway.rest()[..] else { panic!() };
    assert_eq!(request.line, "POST /v1/reports HTTP/1.1");
    assert_eq!(request.token, "Bearer secret");
    assert_eq!((request.report.job_uid.as_str(), request.report.attempt), ("uid", 3));
    let Outcome::Succeeded(result) = finished(request) else { panic!("{request:#?}") };
    assert_eq!(result.text.as_deref(), Some("hello"));
}

#[test]
fn a_failure_is_posted_and_is_exit_code_1() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(204)]);
    assert_eq!(exited(bench.sh("echo boom >&2; exit 9")).code, 1);
    match finished(&gateway.next_request()) {
        Outcome::Failed {
            reason: FailureReason::Crashed,
            message,
            exit_code: Some(9),
            partial: None,
        } => {
            assert!(message.ends_with("boom"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gateway_that_is_not_ready_is_asked_again_until_it_takes_the_outcome() {
    let mut bench = Bench::new();
    let answers = [503, 500, 429, 401, 404].map(CannedAnswer::Status);
    let answers =
        [&answers[..], &[CannedAnswer::Drop, CannedAnswer::Drop, CannedAnswer::Status(200)]]
            .concat();
    // hyper itself repeats what was dropped on a used connection; this gateway closes each.
    let gateway = FakeGateway::plain(&mut bench, &answers);
    let exited = exited(bench.sh(HELLO));
    assert_eq!(exited.code, 0, "{exited:#?}");
    let requests = gateway.rest();
    assert_eq!(requests.len(), answers.len(), "{requests:#?}");
    assert!(requests.iter().all(|request| request.report == requests[0].report));
}

#[test]
fn a_token_that_was_renewed_is_read_again() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(401)]);
    let worker = bench.sh(HELLO);
    assert_eq!(gateway.next_request().token, "Bearer secret");
    std::fs::write(bench.path("token"), "renewed").unwrap();
    while gateway.next_request().token != "Bearer renewed" {}
    drop(worker);
}

#[test]
fn a_conflict_is_final() {
    for (status, script, code) in
        [(409, HELLO, 0), (409, "exit 1", 1), (410, HELLO, 0), (403, HELLO, 0), (400, HELLO, 0)]
    {
        let mut bench = Bench::new();
        let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(status)]);
        let exited = exited(bench.sh(script));
        assert_eq!(exited.code, code, "{exited:#?}");
        assert!(exited.stderr.contains(&format!("refused ({status}")), "{exited:#?}");
        assert_eq!(gateway.rest().len(), 1);
    }
}

#[test]
fn the_termination_message_is_there_before_the_first_report() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(503)]);
    let worker = bench.sh(HELLO);
    let request = gateway.next_request();
    let word = bench.left_word().expect("a termination message");
    assert_eq!(&word.outcome, finished(&request));
    // The end of the pod while it still tries: it stops trying, and its exit code tells the truth.
    worker.signal(Signal::TERM);
    let exited = exited(worker);
    assert_eq!(exited.code, 0, "{exited:#?}");
    assert_eq!(bench.left_word(), Some(word));
}

#[test]
fn a_large_result_that_reaches_nobody_is_lost_and_says_so() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(503)]);
    let worker = bench.sh(r#"head -c 4000 /dev/zero > "$WINDLASS_OUTPUT""#);
    assert!(matches!(finished(&gateway.next_request()), Outcome::Succeeded(_)));
    match bench.left_word().map(|word| word.outcome) {
        Some(Outcome::Failed { reason: FailureReason::ResultLost, .. }) => {}
        other => panic!("{other:?}"),
    }
    drop(worker);
}

const LARGE: &str = r#"yes 1234567 | head -c 1000000 > "$WINDLASS_OUTPUT""#;

#[test]
fn a_result_above_32_kib_is_stored_first_and_reported_by_its_location() {
    let mut bench = Bench::new();
    // Asked again until it takes the bytes, and only then told.
    let gateway = FakeGateway::plain(
        &mut bench,
        &[
            CannedAnswer::Status(503),
            CannedAnswer::Drop,
            CannedAnswer::Stored("ns/uid/3-x"),
            CannedAnswer::Status(204),
        ],
    );
    assert_eq!(exited(bench.sh(LARGE)).code, 0);
    let bytes = "1234567\n".repeat(125_000).into_bytes();
    let digest = BASE64.encode(Sha256::digest(&bytes));
    for _ in 0..3 {
        let upload = gateway.upload();
        assert_eq!(upload.line, "PUT /v1/reports/uid/3/result HTTP/1.1");
        assert_eq!(upload.token, "Bearer secret");
        assert_eq!(upload.digest, format!("sha-256=:{digest}:"));
        assert!(upload.bytes == bytes, "other bytes");
    }
    let [request] = &gateway.rest()[..] else { panic!() };
    let Outcome::Succeeded(result) = finished(request) else { panic!("{request:#?}") };
    assert_eq!((result.location.as_deref(), result.bytes), (Some("ns/uid/3-x"), 1_000_000));
    assert_eq!((&result.text, &result.base64), (&None, &None));
    assert_eq!(&bench.left_word().unwrap().outcome, finished(request));
}

#[test]
fn what_was_computed_before_an_error_is_stored_and_told_with_it() {
    let mut bench = Bench::new();
    let answers = [CannedAnswer::Stored("ns/uid/3-x"), CannedAnswer::Status(204)];
    let gateway = FakeGateway::plain(&mut bench, &answers);
    assert_eq!(exited(bench.sh(&format!("{LARGE}; exit 70"))).code, 1);
    assert_eq!(gateway.upload().bytes.len(), 1_000_000);
    let outcome = finished(&gateway.next_request()).clone();
    let Outcome::Failed { reason, partial: Some(stored), .. } = &outcome else {
        panic!("{outcome:#?}")
    };
    assert_eq!((*reason, stored.bytes), (FailureReason::FunctionError, 1_000_000));
    assert_eq!(stored.location.as_deref(), Some("ns/uid/3-x"));
    assert_eq!(bench.left_word().unwrap().outcome, outcome);
}

#[test]
fn a_result_that_is_not_taken_is_a_failure_with_its_reason() {
    for (status, reason, text) in [
        (413, FailureReason::ResultTooLarge, "at most 7 bytes"),
        (409, FailureReason::ResultLost, "refused (409"),
    ] {
        let mut bench = Bench::new();
        let gateway = FakeGateway::plain(
            &mut bench,
            &[CannedAnswer::Status(status), CannedAnswer::Status(204)],
        );
        assert_eq!(exited(bench.sh(LARGE)).code, 1);
        match finished(&gateway.next_request()) {
            Outcome::Failed { reason: found, message, .. } => {
                assert_eq!(*found, reason, "{message}");
                assert!(message.contains(text), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn with_authorities_outcome_and_large_result_go_over_tls() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::with_tls(
        &mut bench,
        &[CannedAnswer::Stored("ns/uid/3-x"), CannedAnswer::Status(204)],
    );
    assert_eq!(exited(bench.sh(LARGE)).code, 0);
    assert_eq!(gateway.upload().bytes.len(), 1_000_000);
    let request = gateway.next_request();
    assert_eq!(request.token, "Bearer secret");
    let Outcome::Succeeded(result) = finished(&request) else { panic!("{request:#?}") };
    assert_eq!(result.location.as_deref(), Some("ns/uid/3-x"));
}

#[test]
fn a_gateway_of_another_authority_is_told_nothing() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::with_tls(&mut bench, &[CannedAnswer::Status(204)]);
    is_told_nothing(bench, gateway, "invalid peer certificate");
}

#[test]
fn with_authorities_nothing_is_told_without_tls() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(204)]);
    is_told_nothing(bench, gateway, "cannot be reached");
}

/// A worker that trusts the second certificate alone does not report to this gateway, and says why.
fn is_told_nothing(mut bench: Bench, gateway: FakeGateway, why: &str) {
    let ReportTo::Http { authorities, .. } = &mut bench.assignment.report else { panic!() };
    *authorities = Some(SECOND.to_owned());
    let worker = bench.sh(HELLO);
    eventually("the termination message", || bench.left_word());
    worker.signal(Signal::TERM);
    let exited = exited(worker);
    assert!(exited.stderr.contains(why), "{exited:#?}");
    assert_eq!(gateway.rest().len(), 0);
}

#[test]
fn a_failed_function_stores_nothing_and_a_stopped_worker_stops_storing() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(204)]);
    assert_eq!(exited(bench.sh(&format!("{LARGE}; exit 1"))).code, 1);
    assert!(matches!(finished(&gateway.next_request()), Outcome::Failed { .. }));

    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(503)]);
    let worker = bench.sh(LARGE);
    gateway.upload();
    worker.signal(Signal::TERM);
    let exited = exited(worker);
    assert_eq!(exited.code, 143, "{exited:#?}");
    assert_eq!(gateway.rest().len(), 0);
}

#[test]
fn progress_is_posted_while_the_function_runs() {
    let mut bench = Bench::new();
    // What becomes of progress does not matter.
    let gateway =
        FakeGateway::plain(&mut bench, &[CannedAnswer::Status(503), CannedAnswer::Status(200)]);
    let worker = bench.sh(r#"
        i=0
        while [ ! -e "$DIR/go" ]; do
            i=$((i+1)); echo "$i 1000000 step $i" >> "$WINDLASS_PROGRESS"; sleep 0.02
        done
        : > "$WINDLASS_OUTPUT"
        "#);
    let mut last = 0;
    for _ in 0..3 {
        match gateway.next_request().report.event {
            Event::Progress { done, total: 1_000_000, message, .. } => {
                assert!(done > last, "{done} after {last}");
                assert_eq!(message, format!("step {done}"));
                last = done;
            }
            other => panic!("{other:?}"),
        }
    }
    std::fs::write(bench.path("go"), "").unwrap();
    assert_eq!(exited(worker).code, 0);
    let rest = gateway.rest();
    assert!(matches!(finished(rest.last().unwrap()), Outcome::Succeeded(_)), "{rest:#?}");
}

#[test]
fn an_attempt_that_is_stopped_posts_nothing() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(200)]);
    let worker = bench.sh(r#"echo $$ > "$DIR/up"; sleep 1000"#);
    let group = bench.pid_of("up");
    eventually("the shell and its sleep", || (members(group).len() == 2).then_some(()));
    worker.signal(Signal::TERM);
    let exited = exited(worker);
    assert_eq!(exited.code, 143, "{exited:#?}");
    assert_eq!(gateway.rest().len(), 0);
    assert_gone(group);
}

#[test]
#[ignore = "takes the minute that a worker insists"]
fn a_worker_that_reaches_nobody_ends_in_bounded_time() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let token = bench.path("token").to_str().unwrap().to_owned();
    std::fs::write(&token, "secret").unwrap();
    bench.assignment.report = ReportTo::Http { url, token, authorities: None };
    bench.assignment.timeout_seconds = 1;
    let started = Instant::now();
    let worker = bench.sh(HELLO);
    while started.elapsed() < Duration::from_secs(50) {
        std::thread::sleep(Duration::from_secs(1));
    }
    let exited = exited(worker);
    let took = started.elapsed();
    assert_eq!(exited.code, 0, "{exited:#?}");
    assert!((55..75).contains(&took.as_secs()), "{took:?}");
    assert!(exited.stderr.contains("it is in the termination message"), "{exited:#?}");
    assert!(matches!(bench.left_word().unwrap().outcome, Outcome::Succeeded(_)));
}
