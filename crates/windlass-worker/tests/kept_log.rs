//! The end of what a function says, sent to be kept before the end is reported.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};
use windlass_core::kept_log::{MAX_KEPT_LOG_BYTES, without_times};
use windlass_core::report::Event;

use crate::bench::Bench;
use crate::fake_gateway::{CannedAnswer, FakeGateway, Request, Upload};
use crate::http::exited;
use crate::standby::SERVES;

const ALL: Option<u64> = Some(MAX_KEPT_LOG_BYTES);

/// A bench whose worker sends its log, and a gateway that answers so.
fn keeping(answers: &[CannedAnswer]) -> (Bench, FakeGateway) {
    let mut bench = Bench::new();
    bench.assignment.keep_log_bytes = ALL;
    let gateway = FakeGateway::plain(&mut bench, answers);
    (bench, gateway)
}

fn log_bytes(request: &Request) -> Option<u64> {
    let Event::Finished(ending) = &request.report.event else { panic!("{request:?}") };
    ending.usage.as_ref().unwrap().log_bytes
}

/// What was said, of a log that is what its head says.
fn said(upload: &Upload) -> Vec<u8> {
    assert_eq!(upload.line, "PUT /v1/reports/uid/3/log HTTP/1.1");
    assert_eq!(upload.token, "Bearer secret");
    assert_eq!(
        upload.digest,
        format!("sha-256=:{}:", BASE64.encode(Sha256::digest(&upload.bytes)))
    );
    without_times(&upload.bytes)
}

#[test]
fn both_streams_are_sent_with_times_and_pass_through_as_they_are() {
    let answers = [CannedAnswer::Stored("somewhere"), CannedAnswer::Status(204)];
    let (bench, gateway) = keeping(&answers);
    let script = "echo error >&2; sleep 0.1; printf 'odd \\377\\000 bytes'; exit 3";
    let exited = exited(bench.sh(script));
    assert_eq!((exited.code, exited.stderr.as_str()), (1, "error\n"));
    assert_eq!(std::fs::read(bench.path("stdout")).unwrap(), b"odd \xff\0 bytes");
    let upload = gateway.upload();
    assert_eq!(said(&upload), b"error\nodd \xff\0 bytes");
    let request = gateway.next_request();
    assert_eq!(log_bytes(&request), Some(upload.bytes.len() as u64));
}

#[test]
fn a_function_that_says_nothing_costs_no_request_more() {
    let (bench, gateway) = keeping(&[CannedAnswer::Status(204)]);
    assert_eq!(exited(bench.sh("exit 3")).code, 1);
    let [request] = &gateway.rest()[..] else { panic!() };
    assert_eq!(log_bytes(request), Some(0));
}

#[test]
fn a_line_of_five_mib_is_bounded() {
    let answers = [CannedAnswer::Stored("somewhere"), CannedAnswer::Status(204)];
    let (bench, gateway) = keeping(&answers);
    let script = "head -c 5242880 /dev/zero | tr '\\0' x; echo; echo end; exit 3";
    assert_eq!(exited(bench.sh(script)).code, 1);
    let upload = gateway.upload();
    let bytes = upload.bytes.len() as u64;
    assert!((MAX_KEPT_LOG_BYTES - 300..=MAX_KEPT_LOG_BYTES).contains(&bytes), "{bytes}");
    let said = said(&upload);
    assert!(said.starts_with(b"windlass: what was said before this is left out\nxxx"));
    assert!(said.ends_with(b"xxx\nend\n"));
}

#[test]
fn a_gateway_of_before_or_without_a_store_costs_the_log_and_nothing_else() {
    for status in [404, 413] {
        let answers = [CannedAnswer::Status(status), CannedAnswer::Status(204)];
        let (bench, gateway) = keeping(&answers);
        let exited = exited(bench.sh("echo said; exit 3"));
        assert!(exited.stderr.contains("the log is not kept"), "{}", exited.stderr);
        assert_eq!(log_bytes(&gateway.next_request()), None);
    }
}

#[test]
fn a_gateway_that_is_not_ready_gets_the_log_again() {
    let answers = [
        CannedAnswer::Status(503),
        CannedAnswer::Drop,
        CannedAnswer::Stored("somewhere"),
        CannedAnswer::Status(204),
    ];
    let (bench, gateway) = keeping(&answers);
    assert_eq!(exited(bench.sh("echo said; exit 3")).code, 1);
    for _ in 0..3 {
        assert_eq!(said(&gateway.upload()), b"said\n");
    }
    assert!(log_bytes(&gateway.next_request()) > Some(0));
}

#[test]
fn what_an_attempt_said_that_is_stopped_is_sent() {
    let (bench, gateway) = keeping(&[CannedAnswer::Stored("somewhere")]);
    let worker = bench.sh("echo before; echo > $DIR/said; exec sleep 600");
    bench.line_of("said");
    worker.signal(Signal::TERM);
    assert_eq!(said(&gateway.upload()), b"before\n");
    assert_eq!(exited(worker).code, 143);
    assert!(gateway.rest().is_empty());
}

#[test]
fn without_being_told_to_nothing_is_sent() {
    let mut bench = Bench::new();
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(204)]);
    assert_eq!(exited(bench.sh("echo said >&2; exit 3")).code, 1);
    let [request] = &gateway.rest()[..] else { panic!() };
    assert_eq!(log_bytes(request), None);
}

/// Serves, and says something before its job and during it.
fn talks() -> String {
    let said = |text: &str| format!("print({text:?}, flush=True); os.write(2, b\"error\\n\")\n");
    let ready = "say({\"ready\": 2})\n";
    let job = "    job = json.loads(line)\n";
    SERVES
        .replace(ready, &(said("before") + ready))
        .replace(job, &(job.to_owned() + "    " + &said("during")))
}

#[test]
fn a_standby_sends_what_was_said_for_its_job_and_no_half_of_it() {
    // The order that it waits with may be of a controller that kept no logs yet: then its stdout is not heard.
    for (of_order, requests) in [(ALL, 1), (None, 0)] {
        let answers = [CannedAnswer::AssignedWhenReady("{}"), CannedAnswer::Status(201)];
        let (mut bench, gateway) = keeping(&answers);
        bench.assignment.keep_log_bytes = of_order;
        let mut worker = bench.start_standby(&["python3", "-c", &talks()]);
        worker.hang_up();
        let request = gateway.next_request();
        assert_eq!(worker.exited().code, 0);
        let uploads = gateway.uploads_so_far();
        assert_eq!(uploads.len(), requests);
        match uploads.first() {
            Some(upload) => {
                let mut lines: Vec<_> =
                    said(upload).split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                lines.sort();
                assert_eq!(lines, [&b""[..], b"during", b"error"]);
                assert_eq!(log_bytes(&request), Some(upload.bytes.len() as u64));
            }
            None => assert_eq!(log_bytes(&request), None),
        }
        let stdout = std::fs::read_to_string(bench.path("stdout")).unwrap();
        assert_eq!(stdout, "before\nduring\n");
    }
}
