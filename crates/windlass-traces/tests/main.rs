//! What a collector is told.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use windlass_core::jobs::{
    AssignReply, Denied, FetchReply, ReportError, Reports, StoreReply, Storing, Upload, Verdict,
    WantedBlob,
};
use windlass_core::report::{Ending, Event, ReportRefusal};
use windlass_core::result::{ByteStream, hex, inline_result};
use windlass_core::{Job, Metadata, Outcome, Phase, Report};
use windlass_traces::{TracedReports, Traces};

const UID: &str = "0192f3a4-5b6c-7d8e-9f00-112233445566";
const TRACE: &str = "0192f3a45b6c7d8e9f00112233445566";
const BOUND: Duration = Duration::from_secs(20);

/// A collector: its address, and what it is told as service and span.
async fn collector() -> (String, mpsc::UnboundedReceiver<(String, Span)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (sender, spans) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let mut reader = BufReader::new(socket);
            let sender = sender.clone();
            tokio::spawn(async move { while read_export(&mut reader, &sender).await.is_some() {} });
        }
    });
    (url, spans)
}

/// Takes one message.
async fn read_export(
    reader: &mut BufReader<tokio::net::TcpStream>,
    sender: &mpsc::UnboundedSender<(String, Span)>,
) -> Option<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap();
            }
            Some(_) => {}
            None if line.trim().is_empty() => break,
            None => assert_eq!(line.trim(), "POST /v1/traces HTTP/1.1"),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.ok()?;
    for resource in ExportTraceServiceRequest::decode(&body[..]).unwrap().resource_spans {
        let attributes = resource.resource.unwrap().attributes;
        let service = attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
        let service = format!("{:?}", service.value);
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            sender.send((service.clone(), span)).unwrap();
        }
    }
    reader.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.ok()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn finished() -> Job {
    let metadata = Metadata {
        name: "job".into(),
        namespace: "team".into(),
        uid: UID.into(),
        creation_timestamp: Some(at(0)),
        ..Metadata::default()
    };
    let mut job = Job::new(metadata, serde_json::from_value(json!({"function": "price"})).unwrap());
    job.status.phase = Some(Phase::Succeeded);
    job.status.attempt = Some(1);
    let timeline = &mut job.status.timeline;
    (timeline.created, timeline.admitted) = (Some(at(0)), Some(at(10)));
    (timeline.started, timeline.running) = (Some(at(12)), Some(at(13)));
    timeline.finished = Some(at(73));
    job
}

fn report(uid: &str) -> Report {
    let ending = Ending {
        outcome: Outcome::Succeeded(inline_result(b"1", "text/plain").unwrap()),
        started: at(12),
        running: Some(at(13)),
        finished: at(73),
        parallelism: 2,
        usage: None,
        progress: None,
    };
    Report { job_uid: uid.into(), attempt: 1, event: Event::Finished(ending), sent: None }
}

/// Takes what has this token.
struct FakeReports;

#[async_trait]
impl Reports for FakeReports {
    async fn assign(&self, _: Option<&str>, _: Duration) -> AssignReply {
        Ok(None)
    }

    async fn namespace(&self, _: Option<&str>) -> Result<String, Denied> {
        Ok("team".into())
    }

    async fn report(&self, token: Option<&str>, _: Report) -> Result<Verdict, ReportError> {
        Ok(if token.is_some() {
            Verdict::Accepted
        } else {
            Verdict::Refused(ReportRefusal::Cancelled)
        })
    }

    async fn fetch(&self, _: Option<&str>, _: &WantedBlob) -> FetchReply {
        Ok(Err(ReportRefusal::BlobLost))
    }

    async fn store(&self, _: Option<&str>, _: &Upload, _: ByteStream) -> StoreReply {
        Ok(Storing::Refused(ReportRefusal::Cancelled))
    }
}

#[tokio::test]
async fn a_job_is_one_trace_of_controller_gateway_and_worker() {
    let (url, mut spans) = collector().await;
    let traces = Traces::to(&url).unwrap();
    let reports = TracedReports::new(Arc::new(FakeReports), traces.clone());
    // What is refused is not told.
    reports.report(None, report("ffffffff-5b6c-7d8e-9f00-112233445566")).await.unwrap();
    reports.report(Some("token"), report(UID)).await.unwrap();
    traces.job(&finished());

    let mut found = BTreeMap::new();
    while found.len() < 7 {
        let (service, span) = timeout(BOUND, spans.recv()).await.expect("seven spans").unwrap();
        assert_eq!(hex(&span.trace_id), TRACE, "{span:?}");
        found.insert(span.name.clone(), (service, span));
    }
    let id = |name: &str| found[name].1.span_id.clone();
    let seconds = |name: &str| {
        let span = &found[name].1;
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000_000
    };
    assert!(found["job"].1.parent_span_id.is_empty());
    for (name, parent, service, expected) in [
        ("queued", "job", "controller", Some(10)),
        ("starting", "job", "controller", Some(2)),
        ("preparing", "job", "controller", Some(1)),
        ("running", "job", "controller", Some(60)),
        ("attempt 1", "job", "worker", Some(61)),
        ("commit 1", "attempt 1", "gateway", None),
    ] {
        let (by, span) = &found[name];
        assert_eq!(span.parent_span_id, id(parent), "{name}");
        assert!(by.contains(&format!("windlass-{service}")), "{name}: {by}");
        assert!(expected.is_none_or(|expected| expected == seconds(name)), "{name}");
    }
    assert_eq!(seconds("job"), 73);
    let root = windlass_core::trace::Trace::of_job(UID).unwrap();
    assert_eq!(id("job"), root.root);
    assert_eq!(root.parent(), format!("00-{TRACE}-{}-01", hex(&id("job"))));
}

#[tokio::test]
async fn a_collector_that_is_away_delays_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let traces = Traces::to(&url).unwrap();
    let began = Instant::now();
    for _ in 0..10_000 {
        traces.job(&finished());
    }
    assert!(began.elapsed() < BOUND / 4, "{:?}", began.elapsed());
}
