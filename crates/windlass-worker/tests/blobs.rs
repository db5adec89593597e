//! Blobs that a worker in a pod fetches from its gateway.

use std::collections::BTreeMap;

use rustix::process::Signal;
use windlass_core::assignment::{Inputs, SourceFile};
use windlass_core::result::sha256;
use windlass_core::status::FailureReason;
use windlass_core::{BlobRef, Outcome};

use crate::bench::Bench;
use crate::fake_gateway::{CannedAnswer, FakeGateway};
use crate::http::{exited, finished};
use crate::processes::eventually;
use crate::standby::{SERVES, text_of};

/// Says what it has got.
const SAYS: &str = r#"cd "$WINDLASS_FILES" 2>/dev/null
    { echo "$WINDLASS_INPUT_TYPE"; cat "$WINDLASS_INPUT" $(ls "$WINDLASS_FILES"); } > "$WINDLASS_OUTPUT""#;

fn fetched(text: &str) -> SourceFile {
    let blob = BlobRef {
        sha256: sha256(text.as_bytes()),
        bytes: text.len() as u64,
        media_type: "text/csv".into(),
    };
    SourceFile { path: None, blob }
}

/// A bench whose job has an input and files to be fetched.
fn bench(input: &str, files: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new();
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), fetched(text))).collect();
    bench.assignment.inputs = Some(Inputs { input: Some(fetched(input)), files });
    bench.assignment.input_digest = None;
    bench.assignment.input = bench.path("work/input/input").to_str().unwrap().to_owned();
    bench
}

#[test]
fn what_a_job_names_is_fetched_until_it_is_there_and_right() {
    let mut bench = bench("a long input", &[("x.csv", "1,2")]);
    // Away, not ready, another one that does not know the path, and half of it: it asks again.
    let answers = [
        CannedAnswer::Drop,
        CannedAnswer::Status(503),
        CannedAnswer::Status(404),
        CannedAnswer::Half("a long in"),
        CannedAnswer::Blob("a long input"),
        CannedAnswer::Blob("1,2"),
        CannedAnswer::Status(204),
    ];
    let gateway = FakeGateway::plain(&mut bench, &answers);
    assert_eq!(exited(bench.sh(SAYS)).code, 0);
    let Outcome::Succeeded(result) = finished(&gateway.next_request()).clone() else { panic!() };
    assert_eq!(result.text.as_deref(), Some("text/csv\na long input1,2"));
    let asked = gateway.questions();
    let path = |text: &str| format!("/v1/reports/uid/3/blobs/sha256:{}", sha256(text.as_bytes()));
    assert!(asked[..5].iter().all(|line| line.contains(&path("a long input"))), "{asked:?}");
    assert!(asked.len() == 6 && asked[5].contains(&path("1,2")), "{asked:?}");
}

#[test]
fn what_is_lost_or_another_fails_the_attempt_and_says_which() {
    for (answers, said) in [
        (vec![CannedAnswer::Status(409)], "the input: its blob is lost: the gateway says no"),
        (vec![CannedAnswer::Blob("another")], "the input: its blob is not what its digest says"),
        (
            vec![CannedAnswer::Blob("input"), CannedAnswer::Blob("longer than it was")],
            "x.csv: its blob is not what its digest says",
        ),
    ] {
        let mut bench = bench("input", &[("x.csv", "1,2")]);
        let answers = [&answers[..], &[CannedAnswer::Status(204)]].concat();
        let gateway = FakeGateway::plain(&mut bench, &answers);
        assert_eq!(exited(bench.sh(SAYS)).code, 1);
        match finished(&gateway.next_request()) {
            Outcome::Failed { reason: FailureReason::CannotStart, message, .. } => {
                assert!(message.ends_with(said), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_input_that_is_no_json_never_reaches_its_function() {
    let mut bench = bench(r#"{"a":1,"a":2}"#, &[]);
    for (media_type, is_refused) in [("application/json", true), ("text/plain", false)] {
        let input = bench.assignment.inputs.as_mut().unwrap().input.as_mut().unwrap();
        input.blob.media_type = media_type.into();
        let answers = [CannedAnswer::Blob(r#"{"a":1,"a":2}"#), CannedAnswer::Status(204)];
        let gateway = FakeGateway::plain(&mut bench, &answers);
        exited(bench.sh(SAYS));
        let ended = gateway.next_request();
        match finished(&ended) {
            Outcome::Failed { reason: FailureReason::CannotStart, message, .. } if is_refused => {
                assert!(message.contains("no JSON that all read alike"), "{message}");
            }
            Outcome::Succeeded(_) if !is_refused => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_inline_input_is_copied_to_where_the_files_are() {
    let mut bench = bench("", &[("x", "file")]);
    let inline =
        BlobRef { sha256: sha256(br#"{"n":7}"#), bytes: 7, media_type: "application/json".into() };
    // As a node makes the files of a volume.
    std::os::unix::fs::symlink("input.json", bench.path("link")).unwrap();
    let path = Some(bench.path("link").to_str().unwrap().to_owned());
    let inputs = bench.assignment.inputs.as_mut().unwrap();
    inputs.input = Some(SourceFile { path, blob: inline });
    let gateway =
        FakeGateway::plain(&mut bench, &[CannedAnswer::Blob("file"), CannedAnswer::Status(204)]);
    assert_eq!(exited(bench.sh(SAYS)).code, 0);
    let Outcome::Succeeded(result) = finished(&gateway.next_request()).clone() else { panic!() };
    assert_eq!(result.text.as_deref(), Some("application/json\n{\"n\":7}file"));
}

#[test]
fn a_worker_that_waited_fetches_what_its_job_names() {
    let mut bench = Bench::new();
    let files = BTreeMap::from([("x".to_owned(), fetched("file"))]);
    bench.assignment.inputs = Some(Inputs { input: Some(fetched("in")), files });
    let answers = [
        CannedAnswer::Assigned(""),
        CannedAnswer::Blob("in"),
        CannedAnswer::Blob("file"),
        CannedAnswer::Status(200),
    ];
    let gateway = FakeGateway::plain(&mut bench, &answers);
    let mut worker = bench.start_standby(&["python3", "-c", SERVES]);
    worker.hang_up();
    assert_eq!(text_of(&gateway.next_request()).as_deref(), Some("2 in"));
    assert_eq!(worker.exited().code, 0);
    let files = bench.path("input.json").with_file_name("files");
    assert!(!files.join("x").exists(), "a function that serves keeps no job's files");
}

#[test]
fn a_worker_that_waits_for_its_blobs_can_be_stopped() {
    let mut bench = bench("input", &[]);
    let gateway = FakeGateway::plain(&mut bench, &[CannedAnswer::Status(503)]);
    let worker = bench.sh(SAYS);
    eventually("it asks", || (!gateway.questions().is_empty()).then_some(()));
    worker.signal(Signal::TERM);
    assert_eq!(exited(worker).code, 143);
    let left = bench.left_word().unwrap().outcome;
    assert!(matches!(left, Outcome::Failed { reason: FailureReason::Lost, .. }), "{left:?}");
}
