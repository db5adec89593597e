//! A span of a job's trace, and the service that it belongs to.

use std::time::SystemTime;

use jiff::Timestamp;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use windlass_core::trace::{Trace, span_of};

/// A span and the part of Windlass that it belongs to.
#[derive(Debug)]
pub(crate) struct QueuedSpan {
    pub(crate) service: Service,
    pub(crate) span: SpanData,
}

/// Part of Windlass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Controller,
    Gateway,
    Worker,
}

impl Service {
    pub(crate) const ALL: [Self; 3] = [Self::Controller, Self::Gateway, Self::Worker];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Controller => "windlass-controller",
            Self::Gateway => "windlass-gateway",
            Self::Worker => "windlass-worker",
        }
    }
}

/// One span. Its id follows from its name.
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) parent: Option<[u8; 8]>,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) status: Status,
}

impl Span {
    /// As the exporter takes it: in this trace, of the job with this UID.
    pub(crate) fn into_data(self, uid: &str, trace: Trace, attributes: Vec<KeyValue>) -> SpanData {
        let Self { name, parent, from, to, status } = self;
        SpanData {
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
        }
    }
}
