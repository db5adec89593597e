//! The queue of spans that wait for the collector.

use jiff::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::trace::Status;
use tokio::sync::mpsc;
use windlass_core::explain::explain;
use windlass_core::trace::Trace;
use windlass_core::{Job, Phase};

use crate::exporter::{self, Unusable};
use crate::span::{QueuedSpan, Service, Span};

/// Spans that wait for the collector; what comes beyond is dropped.
const WAITING: usize = 4096;

/// Where spans are sent.
#[derive(Clone, Debug)]
pub struct Traces {
    spans: mpsc::Sender<QueuedSpan>,
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
        tokio::spawn(exporter::export_until_closed(exporter::exporters(None)?, waiting));
        Ok(Some(Self { spans }))
    }

    /// The collector at this URL, such as `http://localhost:4318/v1/traces`.
    pub fn to(url: &str) -> Result<Self, Unusable> {
        let (spans, waiting) = mpsc::channel(WAITING);
        tokio::spawn(exporter::export_until_closed(exporter::exporters(Some(url))?, waiting));
        Ok(Self { spans })
    }

    /// Tells a job that has ended, and its phases.
    pub fn job(&self, job: &Job) {
        let uid = &job.metadata.uid;
        let Some(trace) = Trace::of_job(uid) else { return };
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
        self.enqueue(Service::Controller, uid, trace, root, attributes);
        for part in &explained.parts {
            let span = Span {
                name: part.name.as_str().into(),
                parent: Some(trace.root),
                from: part.from,
                to: part.to,
                status: Status::Unset,
            };
            self.enqueue(Service::Controller, uid, trace, span, Vec::new());
        }
    }

    pub(crate) fn enqueue(
        &self,
        service: Service,
        uid: &str,
        trace: Trace,
        span: Span,
        attributes: Vec<KeyValue>,
    ) {
        let span = span.into_data(uid, trace, attributes);
        if self.spans.try_send(QueuedSpan { service, span }).is_err() {
            tracing::debug!("a span is dropped: the collector does not keep up");
        }
    }
}
