//! What workers tell.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use windlass_core::report::{Event, ReportRefusal};
use windlass_core::result::sha256;
use windlass_core::usage_over_time::{UsageOverTime, UsageSample};
use windlass_core::{Error, Report};

use crate::fake::{Fault, GOOD, WORKER};
use crate::http::{Ask, Server};

pub(crate) fn progress() -> Value {
    let report = Report {
        job_uid: "u".into(),
        attempt: 1,
        event: Event::Progress { done: 1, total: 2, message: "m".into(), elapsed_seconds: 0.5 },
        sent: None,
    };
    serde_json::to_value(report).unwrap()
}

fn report(body: &Value) -> Ask {
    Ask::new(Method::POST, "/v1/reports").token(WORKER).json(body)
}

#[tokio::test]
async fn a_report_that_counts_is_204() {
    let server = Server::start().await;
    let answer = server.send(report(&progress())).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    assert_eq!(server.backend.reports.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_worker_that_reports_too_often_is_asked_to_wait_before_its_report_is_read() {
    let server = Server::start_with(|gateway| gateway.limits.rates.worker_requests = Some(1)).await;
    let store = Ask::new(Method::PUT, "/v1/reports/u/1/result").token(WORKER).content(b"x");
    assert_eq!(server.send(report(&progress())).await.status, 204);
    assert_eq!(server.send(report(&progress())).await.status, 204);
    for ask in [report(&progress()), report(&json!("no report")), store] {
        let answer = server.send(ask).await;
        assert_eq!(answer.header("retry-after"), Some("1"));
        answer.problem(429);
    }
    assert_eq!(server.backend.reports.lock().unwrap().len(), 2);
    let another = Ask::new(Method::POST, "/v1/reports").token("another").json(&progress());
    server.send(another).await.problem(401);
}

#[tokio::test]
async fn a_report_that_never_will_is_409_with_the_reason() {
    let server = Server::start().await;
    *server.backend.refuses.lock().unwrap() = Some(ReportRefusal::Cancelled);
    let problem = server.send(report(&progress())).await.problem(409);
    assert_eq!(problem["reason"], "Cancelled");
    assert_eq!(problem["detail"], "the job was cancelled");
}

#[tokio::test]
async fn reports_that_cannot_be_read_are_refused() {
    let server = Server::start().await;
    let mut odd = progress();
    odd["attempt"] = json!("first");
    assert_eq!(server.send(report(&odd)).await.pointers(422), ["/attempt"]);
    let torn = report(&progress()).body("{\"jobUid\":");
    server.send(torn).await.problem(400);
    let large = report(&json!("x".repeat(300 * 1024)));
    server.send(large).await.problem(413);
    let user = Ask::new(Method::POST, "/v1/reports").token(GOOD).json(&progress());
    server.send(user).await.problem(401);
    assert!(server.backend.reports.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_report_is_asked_for_again_when_nothing_can_be_written() {
    let server = Server::start().await;
    server.backend.fail(Fault::Fails(Error::unavailable("not now")));
    let answer = server.send(report(&progress())).await;
    answer.problem(503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    server.backend.fail(Fault::Fails(Error::no_job("a")));
    server.send(report(&progress())).await.problem(404);
}

#[tokio::test]
async fn one_machine_has_no_such_route() {
    let server = Server::start_with(|gateway| gateway.reports = None).await;
    server.send(report(&progress())).await.problem(401);
    let user = Ask::good(Method::POST, "/v1/reports").json(&progress());
    server.send(user).await.problem(404);
}

fn upload(bytes: &[u8]) -> Ask {
    Ask::new(Method::PUT, "/v1/reports/uid/2/result").token(WORKER).content(bytes)
}

#[tokio::test]
async fn a_large_result_is_stored_and_its_location_told() {
    let server = Server::start().await;
    let bytes = vec![7; 90_000];
    let answer = server.send(upload(&bytes)).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (201, json!({"location": "uid/2"})));
    assert_eq!(server.backend.stored.lock().unwrap()[..], [bytes]);
}

#[tokio::test]
async fn a_log_is_stored_like_a_result_and_for_a_worker_only() {
    let server = Server::start().await;
    let log = || Ask::new(Method::PUT, "/v1/reports/uid/2/log");
    let answer = server.send(log().token(WORKER).content(b"said\n")).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (201, json!({"location": "uid/2-log"})));
    assert_eq!(server.backend.stored.lock().unwrap()[..], [b"said\n".to_vec()]);
    server.send(log().token(WORKER).body("x")).await.problem(400);
    server.send(log().token(GOOD).content(b"said\n")).await.problem(401);
    server.send(log().token(WORKER).content(&vec![7; 100_001])).await.problem(413);
    let right = log().token(WORKER).content(b"right");
    server.send(right.body("wrong")).await.problem(409);
    assert_eq!(server.backend.stored.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_upload_says_first_how_much_and_what_it_is() {
    let server = Server::start().await;
    let ask = || Ask::new(Method::PUT, "/v1/reports/uid/2/result").token(WORKER).body("x");
    server.send(ask()).await.problem(400);
    for digest in ["sha-256=:eA==:", "sha-256=x", "md5=:eA==:", ""] {
        server.send(ask().header("content-digest", digest)).await.problem(400);
    }
    let odd = Ask::new(Method::PUT, "/v1/reports/uid/x/result").token(WORKER).content(b"x");
    server.send(odd).await.problem(404);
    let right = upload(b"right");
    let problem = server.send(right.body("wrong")).await.problem(409);
    assert_eq!(problem["reason"], "Damaged");
    server.send(upload(&vec![7; 100_001])).await.problem(413);
    let user = Ask::new(Method::PUT, "/v1/reports/uid/2/result").token(GOOD).content(b"x");
    server.send(user).await.problem(401);
    assert!(server.backend.stored.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_that_falls_silent_is_given_up_and_one_that_is_refused_is_not_read() {
    let silence = Duration::from_millis(200);
    let server = Server::start_with(|gateway| gateway.limits.body = silence).await;
    let head = |length: u64| {
        let digest = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        format!(
            "PUT /v1/reports/uid/2/result HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {WORKER}\r\n\
             content-length: {length}\r\ncontent-digest: sha-256=:{digest}:\r\n\r\nsome"
        )
    };
    let answer = server.raw(head(1000).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    *server.backend.refuses.lock().unwrap() = Some(ReportRefusal::Cancelled);
    let answer = server.raw(head(1 << 40).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
    assert!(server.backend.stored.lock().unwrap().is_empty());
}

/// What the worker of release 0.1.0 has told, one report a line.
const RECORDED: &str = include_str!("recorded/worker-0.1.0.jsonl");

/// Puts a field that nobody knows beside every other that is not the one of its object.
fn with_unknown_fields(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(with_unknown_fields);
        // The one field of the others says of which kind they are.
        if fields.len() > 1 {
            fields.insert("ofALaterRelease".into(), json!({ "some": ["thing"] }));
        }
    }
}

#[tokio::test]
async fn reports_of_the_release_before_and_of_the_next_one_count() {
    let server = Server::start().await;
    let mut sent = 0;
    for line in RECORDED.lines() {
        let told: Value = serde_json::from_str(line).unwrap();
        let mut later = told.clone();
        with_unknown_fields(&mut later);
        assert_ne!(told, later);
        for told in [told, later] {
            let answer = server.send(report(&told)).await;
            assert_eq!(answer.status, 204, "{told}");
            sent += 1;
        }
    }
    let taken = server.backend.reports.lock().unwrap();
    assert_eq!(taken.len(), sent);
    for pair in taken.chunks(2) {
        assert_eq!(pair[0], pair[1], "what is known is read the same");
    }
}

#[tokio::test]
async fn a_worker_gets_the_blobs_of_its_job_and_nobody_else_does() {
    let server = Server::start().await;
    server.backend.keep_blob(b"bytes");
    let path = format!("/v1/reports/uid/2/blobs/sha256:{}", sha256(b"bytes"));
    let answer = server.send(Ask::new(Method::GET, &path).token(WORKER)).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"bytes"[..]));
    assert_eq!(answer.header("content-length"), Some("5"));
    server.send(Ask::new(Method::GET, &path).token(GOOD)).await.problem(401);
    for (bad, status) in
        [("/v1/reports/uid/x/blobs/sha256:00", 404), ("/v1/reports/uid/2/blobs/00", 422)]
    {
        server.send(Ask::new(Method::GET, bad).token(WORKER)).await.problem(status);
    }
    *server.backend.refuses.lock().unwrap() = Some(ReportRefusal::BlobLost);
    let problem = server.send(Ask::new(Method::GET, &path).token(WORKER)).await.problem(409);
    assert_eq!(
        (&problem["reason"], &problem["detail"]),
        (&json!("BlobLost"), &json!("the blob is lost"))
    );
}

/// Samples of the job "a", whose worker says that it is of another namespace.
pub(crate) fn samples(count: usize) -> Value {
    let sample = json!({ "cpus": 1.5, "memoryBytes": 7 });
    let over_time =
        json!({ "attempt": 1, "granted": 2, "intervalSeconds": 1, "samples": vec![sample; count] });
    let usage = json!({ "overTime": over_time, "isLast": false, "namespace": "team" });
    json!({ "jobUid": "uid-of-a", "attempt": 1, "event": { "usage": usage } })
}

#[tokio::test]
async fn what_a_job_uses_is_told_while_it_runs_and_counts_in_the_namespace_of_its_worker() {
    let server = Server::start().await;
    server.backend.put("a");
    let get = async |path: &str| server.send(Ask::good(Method::GET, path)).await.json();
    let usage = "/v1/namespaces/default/jobs/a/usage";
    assert_eq!(get(usage).await["samples"], json!([]));
    for (sent, kept) in [(5, 5), (4, 5), (4000, 120)] {
        assert_eq!(server.send(report(&samples(sent))).await.status, 204);
        let told = get(usage).await;
        assert_eq!(told["samples"].as_array().unwrap().len(), kept, "{told}");
        assert_eq!((&told["granted"], &told["samples"][0]["cpus"]), (&json!(2), &json!(1.5)));
    }
    let capacity = get("/v1/namespaces/default/capacity").await;
    assert_eq!(
        (&capacity["used"], &capacity["usedBy"]),
        (&json!(1.5), &json!({ "uid-of-a": 1.5 }))
    );
    let other = get("/v1/namespaces/team/capacity").await;
    assert_eq!((&other["used"], &other["usedBy"]), (&Value::Null, &Value::Null));
    // What is stored counts once the job has ended.
    let mut stored = UsageOverTime::begin(1, 2);
    stored.add(UsageSample { cpus: 7.0, memory_bytes: 7 });
    *server.backend.usage.lock().unwrap() = stored;
    assert_eq!(get(usage).await["samples"][0]["cpus"], json!(1.5));
    server.backend.finish("a", b"1", "application/json");
    assert_eq!(get(usage).await["samples"][0]["cpus"], json!(7.0));
    *server.backend.usage.lock().unwrap() = UsageOverTime::default();
    assert_eq!(get(usage).await["samples"][0]["cpus"], json!(1.5));
    let odd = [
        ("/event/usage/overTime/intervalSeconds", json!(4_294_967_295_u32)),
        ("/event/usage/overTime/samples/0/cpus", json!(1e308)),
        ("/event/usage/overTime/samples/0/cpus", json!(-1)),
        ("/event/usage/overTime/attempt", json!(2)),
    ];
    for (pointer, value) in odd {
        let mut told = samples(1);
        *told.pointer_mut(pointer).unwrap() = value;
        let answer = server.send(report(&told)).await;
        assert_eq!(answer.pointers(422), ["/event/usage/overTime"], "{pointer}");
    }
    *server.backend.refuses.lock().unwrap() = Some(ReportRefusal::OtherJob);
    server.send(report(&samples(120))).await.problem(409);
}
