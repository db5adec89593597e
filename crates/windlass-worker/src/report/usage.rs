//! What the function uses over time, on its way to the gateway.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use windlass_core::report::Report;

use super::gateway::GatewayClient;
use super::retry::GatewayResponse;
use crate::stdio::log_line;

/// How long the last samples may take: the result waits for them.
const PATIENCE: Duration = Duration::from_secs(2);

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
    /// Sends the last samples, once: no more than a hint is lost with them.
    pub(super) async fn send_last_usage(&self, report: &Report) {
        let why = match timeout(PATIENCE, self.send(report)).await {
            Ok(Ok(GatewayResponse::Accepted(()))) => return,
            Ok(Ok(GatewayResponse::Rejected(status, _) | GatewayResponse::RetryLater(status))) => {
                status.to_string()
            }
            Ok(Err(why)) => why,
            Err(_) => "the gateway did not answer in time".into(),
        };
        log_line(&format!("windlass worker: the last samples were not taken: {why}"));
    }
}
