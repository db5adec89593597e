//! What the function uses over time, on its way to the gateway.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use windlass_core::report::Report;

use super::gateway::GatewayClient;
use super::retry::{GatewayResponse, retry_until};
use crate::stdio::log_line;

/// How long all tries at the last samples may take: the result waits for them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends the latest samples. What is not taken is among the next ones; a gateway that refuses them, as one of an earlier
/// version does, gets no more.
pub(super) async fn send_usage(
    gateway: GatewayClient,
    mut latest: watch::Receiver<Option<Report>>,
) {
    while latest.changed().await.is_ok() {
        let Some(report) = latest.borrow_and_update().clone() else { continue };
        let why = match gateway.send(&report).await {
            Ok(GatewayResponse::Accepted(())) => continue,
            Ok(GatewayResponse::Rejected(status, _)) => {
                log_line(&format!("windlass worker: samples were refused ({status})"));
                return;
            }
            Ok(GatewayResponse::RetryLater(status)) => status.to_string(),
            Err(why) => why,
        };
        log_line(&format!("windlass worker: samples were not taken: {why}"));
    }
}

impl GatewayClient {
    /// Has the last samples kept, if it can be done in time.
    pub(super) async fn keep_usage(&self, report: &Report) {
        let why = match retry_until(Instant::now() + PATIENCE, || self.send(report)).await {
            Some(Ok(())) => return,
            Some(Err((status, _))) => format!("they were refused ({status})"),
            None => "they reached nobody".into(),
        };
        log_line(&format!("windlass worker: the samples are not kept: {why}"));
    }
}
