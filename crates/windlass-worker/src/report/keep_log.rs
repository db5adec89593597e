//! Sends what is kept of a function's log to the gateway.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use tokio::time::Instant;
use windlass_core::result::sha256;

use super::gateway::{GatewayClient, TRY, digest_field};
use super::retry::{GatewayResponse, retry_until};
use crate::stdio::log_line;

/// How long all tries may take: the result waits for them.
const PATIENCE: Duration = Duration::from_secs(10);

impl GatewayClient {
    /// Sends a log. Whether it is kept.
    pub(super) async fn keep_log(&self, who: &(String, u32), log: &Bytes) -> bool {
        let sha256 = sha256(log);
        let sent = retry_until(Instant::now() + PATIENCE, || self.send_log(who, log, &sha256));
        let why = match sent.await {
            Some(Ok(())) => return true,
            Some(Err((status, _))) => format!("it was refused ({status})"),
            None => "it reached nobody".into(),
        };
        log_line(&format!("windlass worker: the log is not kept: {why}"));
        false
    }

    async fn send_log(
        &self,
        (uid, attempt): &(String, u32),
        log: &Bytes,
        sha256: &str,
    ) -> Result<GatewayResponse<()>, String> {
        let body = Full::from(log.clone()).map_err(|never| match never {}).boxed_unsync();
        let request = self
            .authorize(Request::put(format!("{}/{uid}/{attempt}/log", self.url)))?
            .header(header::CONTENT_LENGTH, log.len())
            .header("content-digest", digest_field(sha256));
        let answer = self.request(request.body(body), TRY).await?;
        Ok(match answer.status() {
            status if status.is_success() => GatewayResponse::Accepted(()),
            status @ StatusCode::REQUEST_TIMEOUT => GatewayResponse::RetryLater(status),
            // A gateway of an earlier version knows no such route, and one that has many to store has let it wait.
            status if status.is_client_error() => GatewayResponse::Rejected(status, None),
            status => GatewayResponse::RetryLater(status),
        })
    }
}
