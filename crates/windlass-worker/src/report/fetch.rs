//! Fetches blobs from the gateway: straight into a file, and held against their digest.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout};
use windlass_core::BlobRef;
use windlass_core::result::hex;

use super::gateway::{GatewayClient, MAX_ANSWER, ProblemDetail, TRY, read_answer};
use super::retry::{GatewayResponse, rejection, retry_until};

/// Longest silence of a gateway that sends a blob.
const SILENCE: Duration = Duration::from_secs(30);

impl GatewayClient {
    /// Writes a blob into a file, and tries until the deadline. `InvalidInput` is for good.
    pub(super) async fn fetch_until(
        &self,
        who: &(String, u32),
        blob: &BlobRef,
        to: File,
        deadline: Instant,
    ) -> io::Result<()> {
        let final_error = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        match retry_until(deadline, || self.fetch(who, blob, &to)).await {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(error),
            Some(Err((status, why))) => {
                let why = why.unwrap_or_else(|| status.to_string());
                Err(final_error(format!("its blob is lost: {why}")))
            }
            None => {
                let why = "its blob did not come: no gateway has sent it";
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            }
        }
    }

    /// One try. The inner error is for good, and the outer one that of the connection.
    async fn fetch(
        &self,
        (uid, attempt): &(String, u32),
        blob: &BlobRef,
        mut to: &File,
    ) -> Result<GatewayResponse<io::Result<()>>, String> {
        let body = Full::from(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        let url = format!("{}/{uid}/{attempt}/blobs/sha256:{}", self.url, blob.sha256);
        let request = self.authorize(Request::get(url))?.header(header::ACCEPT, "*/*");
        let answer = self.request(request.body(body), TRY).await?;
        let status = answer.status();
        if !status.is_success() {
            let body = read_answer(answer, MAX_ANSWER).await?;
            let problem = serde_json::from_slice::<ProblemDetail>(&body).ok();
            return Ok(rejection(status, problem.map(|problem| problem.detail)));
        }
        // What an earlier try has written is written over.
        if let Err(error) = to.set_len(0).and_then(|()| to.rewind()) {
            return Ok(GatewayResponse::Accepted(Err(error)));
        }
        let (mut body, mut hash, mut bytes) = (answer.into_body(), Sha256::new(), 0);
        loop {
            let frame = timeout(SILENCE, body.frame()).await;
            let Some(frame) = frame.map_err(|_| "the gateway is silent".to_owned())? else { break };
            let frame = frame.map_err(|error| format!("a blob broke off: {error}"))?;
            let Ok(piece) = frame.into_data() else { continue };
            hash.update(&piece);
            bytes += piece.len() as u64;
            if let Err(error) = to.write_all(&piece) {
                return Ok(GatewayResponse::Accepted(Err(error)));
            }
        }
        let is_right = bytes == blob.bytes && hex(&hash.finalize()) == blob.sha256;
        let wrong =
            || io::Error::new(io::ErrorKind::InvalidInput, "its blob is not what its digest says");
        Ok(GatewayResponse::Accepted(if is_right { Ok(()) } else { Err(wrong()) }))
    }
}
