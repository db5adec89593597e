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
mod span;
mod traces;

pub use exporter::Unusable;
pub use reports::TracedReports;
pub use traces::Traces;
