//! Makes spans of what workers report.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::trace::Status;
use windlass_core::jobs::{
    AssignReply, Denied, FetchReply, ReportError, Reports, StoreReply, Storing, Upload, Verdict,
    WantedBlob,
};
use windlass_core::report::{Ending, Event};
use windlass_core::result::ByteStream;
use windlass_core::trace::{Trace, span_of};
use windlass_core::{AttemptNumber, Outcome, Report};

use crate::span::{Service, Span};
use crate::traces::Traces;

/// Passes reports on, and makes spans of those that were committed.
pub struct TracedReports {
    inner: Arc<dyn Reports>,
    traces: Traces,
}

impl TracedReports {
    /// In front of these.
    pub fn new(inner: Arc<dyn Reports>, traces: Traces) -> Self {
        Self { inner, traces }
    }

    fn record_attempt(&self, uid: &str, attempt: AttemptNumber, ending: &Ending) {
        let Some(trace) = Trace::of_job(uid) else { return };
        let status = match &ending.outcome {
            Outcome::Succeeded(_) => Status::Ok,
            Outcome::Failed { reason, .. } => Status::error(reason.as_str()),
        };
        let span = Span {
            name: attempt_name(attempt),
            parent: Some(trace.root),
            from: ending.started,
            to: ending.finished,
            status,
        };
        let mut attributes =
            vec![KeyValue::new("windlass.parallelism", i64::from(ending.parallelism))];
        if let Some(usage) = &ending.usage {
            attributes.push(KeyValue::new("windlass.cpu_seconds", usage.cpu_seconds));
        }
        self.traces.enqueue(Service::Worker, uid, trace, span, attributes);
    }

    fn record_gateway_step(&self, what: &str, uid: &str, attempt: AttemptNumber, from: Timestamp) {
        let Some(trace) = Trace::of_job(uid) else { return };
        let span = Span {
            name: format!("{what} {attempt}"),
            parent: Some(span_of(uid, &attempt_name(attempt))),
            from,
            to: Timestamp::now(),
            status: Status::Unset,
        };
        self.traces.enqueue(Service::Gateway, uid, trace, span, Vec::new());
    }
}

fn attempt_name(attempt: AttemptNumber) -> String {
    format!("attempt {attempt}")
}

#[async_trait]
impl Reports for TracedReports {
    async fn namespace(&self, token: Option<&str>) -> Result<String, Denied> {
        self.inner.namespace(token).await
    }

    async fn report(&self, token: Option<&str>, report: Report) -> Result<Verdict, ReportError> {
        let Event::Finished(ending) = &report.event else {
            return self.inner.report(token, report).await;
        };
        let (uid, attempt, ending) = (report.job_uid.clone(), report.attempt, ending.clone());
        let from = Timestamp::now();
        let verdict = self.inner.report(token, report).await?;
        // What was refused may be anybody's.
        if verdict == Verdict::Accepted {
            self.record_attempt(&uid, attempt, &ending);
            self.record_gateway_step("commit", &uid, attempt, from);
        }
        Ok(verdict)
    }

    async fn store(&self, token: Option<&str>, upload: &Upload, content: ByteStream) -> StoreReply {
        let from = Timestamp::now();
        let stored = self.inner.store(token, upload, content).await?;
        if matches!(stored, Storing::At(_)) {
            self.record_gateway_step("store", &upload.job_uid, upload.attempt, from);
        }
        Ok(stored)
    }

    async fn fetch(&self, token: Option<&str>, wanted: &WantedBlob) -> FetchReply {
        self.inner.fetch(token, wanted).await
    }

    async fn assign(&self, token: Option<&str>, within: Duration) -> AssignReply {
        self.inner.assign(token, within).await
    }
}
