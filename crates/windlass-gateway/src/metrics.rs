//! What can be measured of a gateway.
//!
//! No label holds what a caller chose: a path is the table's, with its placeholders.

use axum::response::{IntoResponse as _, Response};
use http::header;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use windlass_core::Error;
use windlass_core::blobs::{BlobReply, NotStored, StoredBlob};

use crate::protocol::error::ApiError;

/// Media type of the exposition.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    path: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PathLabels {
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    verdict: &'static str,
}

/// What a gateway measures, and all that others have registered beside it.
pub struct Meters {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<PathLabels, Histogram, fn() -> Histogram>,
    reports: Family<VerdictLabels, Counter>,
    uploads: Family<VerdictLabels, Counter>,
    uploaded: Counter,
    blob_uploads: Family<VerdictLabels, Counter>,
    blobs_stored: Counter,
    streams: Gauge,
    peers: Gauge,
    batches: Family<VerdictLabels, Counter>,
}

/// From a millisecond to half a minute; a wait is longer.
fn request_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Default for Meters {
    fn default() -> Self {
        Self::beside(Registry::default())
    }
}

impl Meters {
    /// Beside what is registered already.
    pub fn beside(mut registry: Registry) -> Self {
        let requests: Family<RequestLabels, Counter> = Family::default();
        let seconds = Family::new_with_constructor(request_seconds as fn() -> Histogram);
        let reports: Family<VerdictLabels, Counter> = Family::default();
        let uploads: Family<VerdictLabels, Counter> = Family::default();
        let uploaded = Counter::default();
        let streams = Gauge::default();
        let windlass = registry.sub_registry_with_prefix("windlass");
        windlass.register("http_requests", "Requests that were answered", requests.clone());
        let help = "Time to the head of an answer, waits for a job's end included";
        windlass.register_with_unit("http_request_duration", help, Unit::Seconds, seconds.clone());
        windlass.register("worker_reports", "Reports of workers", reports.clone());
        windlass.register(
            "result_uploads",
            "Large results and logs that workers sent",
            uploads.clone(),
        );
        let help = "Large results and logs that were stored";
        windlass.register_with_unit("results_stored", help, Unit::Bytes, uploaded.clone());
        let (blob_uploads, blobs_stored): (Family<VerdictLabels, Counter>, Counter) =
            Default::default();
        let help = "Inputs and files that callers sent";
        windlass.register("blob_uploads", help, blob_uploads.clone());
        let help = "Inputs and files that were stored";
        windlass.register_with_unit("blobs_stored", help, Unit::Bytes, blobs_stored.clone());
        windlass.register("event_streams", "Open streams of events", streams.clone());
        let (peers, batches): (Gauge, Family<VerdictLabels, Counter>) = Default::default();
        windlass.register("peers", "Other replicas that are told of progress", peers.clone());
        let help = "Batches of progress for other replicas";
        windlass.register("peer_batches", help, batches.clone());
        Self {
            registry,
            requests,
            seconds,
            reports,
            uploads,
            uploaded,
            blob_uploads,
            blobs_stored,
            streams,
            peers,
            batches,
        }
    }

    pub(crate) fn record_request(
        &self,
        method: &http::Method,
        path: &str,
        status: u16,
        seconds: f64,
    ) {
        // A closed list: a caller may make up methods.
        let method = match *method {
            http::Method::GET => "GET",
            http::Method::HEAD => "HEAD",
            http::Method::POST => "POST",
            http::Method::PUT => "PUT",
            http::Method::DELETE => "DELETE",
            _ => "other",
        };
        let path = path.to_owned();
        self.seconds.get_or_create(&PathLabels { path: path.clone() }).observe(seconds);
        self.requests.get_or_create(&RequestLabels { method, path, status }).inc();
    }

    pub(crate) fn record_report(&self, verdict: &'static str) {
        self.reports.get_or_create(&VerdictLabels { verdict }).inc();
    }

    /// What became of an upload, and how many bytes of it are stored.
    pub(crate) fn record_upload(&self, (verdict, bytes): (&'static str, u64)) {
        self.uploads.get_or_create(&VerdictLabels { verdict }).inc();
        self.uploaded.inc_by(bytes);
    }

    /// What became of a blob, which is handed on.
    pub(crate) fn record_blob(&self, stored: BlobReply) -> BlobReply {
        let (verdict, bytes) = match &stored {
            Ok(StoredBlob { is_known: true, .. }) => ("known", 0),
            Ok(StoredBlob { blob, .. }) => ("stored", blob.bytes),
            Err(NotStored::Failed(Error::Refused(_))) => ("exceeds_quota", 0),
            Err(NotStored::Failed(Error::Busy { .. })) => ("busy", 0),
            Err(NotStored::Failed(Error::Invalid(_))) => ("refused", 0),
            Err(NotStored::Failed(_)) => ("failed", 0),
            Err(NotStored::Content(_)) => ("broken_off", 0),
            Err(NotStored::TooLarge(_) | NotStored::Malformed(_)) => ("refused", 0),
        };
        self.blob_uploads.get_or_create(&VerdictLabels { verdict }).inc();
        self.blobs_stored.inc_by(bytes);
        stored
    }

    pub(crate) fn set_peers(&self, peers: usize) {
        self.peers.set(i64::try_from(peers).unwrap_or(i64::MAX));
    }

    /// Whether a peer took a batch.
    pub(crate) fn batch_sent(&self, taken: bool) {
        let verdict = if taken { "accepted" } else { "failed" };
        self.batches.get_or_create(&VerdictLabels { verdict }).inc();
    }

    /// A stream of events is open as long as this is kept.
    pub(crate) fn open_stream(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }

    /// Everything, in the OpenMetrics text format.
    pub(crate) fn exposition(&self) -> Response {
        let mut body = String::new();
        match text::encode(&mut body, &self.registry) {
            Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], body).into_response(),
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be written");
                ApiError::internal().into_response()
            }
        }
    }
}

/// An open stream of events.
pub(crate) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}
