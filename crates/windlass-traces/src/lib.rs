//! One trace a job, told to an OpenTelemetry collector (OTLP over HTTP).
//!
//! In: jobs that have ended, and the reports by which they did. Out: spans of one trace, whose id is the
//! job's UID. The controller tells the job and its phases, the gateway what a worker reported and how
//! long it took to commit that; a function finds the trace in `TRACEPARENT`.
//!
//! | span | parent | service |
//! | --- | --- | --- |
//! | `job` | - | `windlass-controller` |
//! | `queued`, `starting`, `preparing`, `running` | `job` | `windlass-controller` |
//! | `attempt N` | `job` | `windlass-worker` |
//! | `store N`, `commit N` | `attempt N` | `windlass-gateway` |
//!
//! A collector that is slow or away costs spans, never a job's time: they wait in a bounded queue.
//!
//! Deliberately absent: spans of requests (an ingress has them), sampling (jobs are few), and text that a
//! user or a function wrote, but for names.

mod exporter;
mod reports;

use std::time::SystemTime;

use jiff::Timestamp;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::sync::mpsc;
use windlass_core::explain::explain;
use windlass_core::trace::{Trace, span_of};
use windlass_core::{Job, Phase};

pub use exporter::Unusable;
pub use reports::TracedReports;

/// Spans that wait for the collector; what comes beyond is dropped.
const WAITING: usize = 4096;

/// Where spans are told.
#[derive(Clone, Debug)]
pub struct Traces {
    spans: mpsc::Sender<Told>,
}

/// A span and who tells it.
#[derive(Debug)]
struct Told {
    service: Service,
    span: SpanData,
}

/// Part of Windlass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Controller,
    Gateway,
    Worker,
}

impl Service {
    const ALL: [Self; 3] = [Self::Controller, Self::Gateway, Self::Worker];

    fn name(self) -> &'static str {
        match self {
            Self::Controller => "windlass-controller",
            Self::Gateway => "windlass-gateway",
            Self::Worker => "windlass-worker",
        }
    }
}

impl Traces {
    /// The collector that the standard variables name: `OTEL_EXPORTER_OTLP_ENDPOINT` or
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, with `OTEL_EXPORTER_OTLP_HEADERS` and the like. None
    /// without them. Needs a tokio runtime.
    pub fn from_environment() -> Result<Option<Self>, Unusable> {
        let named = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
        if named.iter().all(|name| std::env::var_os(name).is_none_or(|value| value.is_empty())) {
            return Ok(None);
        }
        let (spans, waiting) = mpsc::channel(WAITING);
        tokio::spawn(exporter::run(exporter::exporters(None)?, waiting));
        Ok(Some(Self { spans }))
    }

    /// The collector at this URL, such as `http://localhost:4318/v1/traces`.
    pub fn to(url: &str) -> Result<Self, Unusable> {
        let (spans, waiting) = mpsc::channel(WAITING);
        tokio::spawn(exporter::run(exporter::exporters(Some(url))?, waiting));
        Ok(Self { spans })
    }

    /// Tells a job that has ended, and its phases.
    pub fn job(&self, job: &Job) {
        let uid = &job.metadata.uid;
        let Some(trace) = Trace::of(uid) else { return };
        let explained = explain(job, Timestamp::now());
        let (Some(first), Some(last)) = (explained.parts.first(), explained.parts.last()) else {
            return;
        };
        let mut attributes = vec![
            KeyValue::new("windlass.namespace", job.metadata.namespace.clone()),
            KeyValue::new("windlass.job", job.metadata.name.clone()),
            KeyValue::new("windlass.function", job.spec.function.clone()),
            KeyValue::new("windlass.queue", job.spec.queue().to_owned()),
            KeyValue::new("windlass.attempts", i64::from(job.status.attempt.unwrap_or(0))),
        ];
        if let Some(phase) = job.status.phase {
            attributes.push(KeyValue::new("windlass.phase", phase.as_str()));
        }
        if let Some(cpus) = job.status.parallelism {
            attributes.push(KeyValue::new("windlass.parallelism", i64::from(cpus)));
        }
        let status = match (job.status.phase, &job.status.failure) {
            (Some(Phase::Succeeded), _) => Status::Ok,
            (_, Some(failure)) => Status::error(failure.reason.as_str()),
            _ => Status::Unset,
        };
        let root = Span { name: "job".into(), parent: None, from: first.from, to: last.to, status };
        self.tell(Service::Controller, uid, trace, root, attributes);
        for part in &explained.parts {
            let span = Span {
                name: part.name.as_str().into(),
                parent: Some(trace.root),
                from: part.from,
                to: part.to,
                status: Status::Unset,
            };
            self.tell(Service::Controller, uid, trace, span, Vec::new());
        }
    }

    fn tell(
        &self,
        service: Service,
        uid: &str,
        trace: Trace,
        span: Span,
        attributes: Vec<KeyValue>,
    ) {
        let Span { name, parent, from, to, status } = span;
        let span = SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(trace.id),
                SpanId::from_bytes(span_of(uid, &name)),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: SystemTime::from(from),
            end_time: SystemTime::from(to),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: InstrumentationScope::builder("windlass").build(),
        };
        if self.spans.try_send(Told { service, span }).is_err() {
            tracing::debug!("a span is dropped: the collector does not keep up");
        }
    }
}

/// One span. Its id follows from its name.
struct Span {
    name: String,
    parent: Option<[u8; 8]>,
    from: Timestamp,
    to: Timestamp,
    status: Status,
}
