//! From the queue to the collector.

use std::time::Duration;

use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::sync::mpsc;
use tracing::warn;

use crate::span::{QueuedSpan, Service};

/// Spans in one message to the collector.
const BATCH: usize = 512;
/// Between two messages, so that spans go together.
const PAUSE: Duration = Duration::from_millis(500);

/// Why no collector can be used.
#[derive(Debug, thiserror::Error)]
#[error("the OpenTelemetry collector cannot be used: {0}")]
pub struct Unusable(#[from] ExporterBuildError);

type Exporters = [(Service, SpanExporter); 3];

/// One for each service: a message has one.
pub(crate) fn exporters(url: Option<&str>) -> Result<Exporters, Unusable> {
    let [a, b, c] = Service::ALL.map(|service| {
        let mut builder = SpanExporter::builder().with_http();
        if let Some(url) = url {
            builder = builder.with_endpoint(url);
        }
        let mut exporter = builder.build()?;
        exporter.set_resource(&Resource::builder().with_service_name(service.name()).build());
        Ok::<_, Unusable>((service, exporter))
    });
    Ok([a?, b?, c?])
}

/// Sends spans to the collector until the last sender is dropped. What the collector does not take is lost.
pub(crate) async fn export_until_closed(
    exporters: Exporters,
    mut waiting: mpsc::Receiver<QueuedSpan>,
) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        for (service, exporter) in &exporters {
            let mine = batch.extract_if(.., |queued| queued.service == *service);
            let spans: Vec<_> = mine.map(|queued| queued.span).collect();
            let count = spans.len();
            if count > 0
                && let Err(error) = exporter.export(spans).await
            {
                warn!(count, %error, "spans were lost");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
