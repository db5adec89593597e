//! The result of a job, in pieces.

use std::ops::Range;

use async_trait::async_trait;
use futures::stream;
use hyper::{HeaderMap, Method, header};
use windlass_core::result::{ByteStream, Stored};
use windlass_core::{Error, JobKey};

use super::events::next_piece;
use super::http_client::{Client, RequestParts};
use super::rest_path::{no_job, path};

/// A result that is too large to be in the job.
pub(super) struct RestResult {
    client: Client,
    key: JobKey,
    /// Whether what was computed before a failure will do.
    partial: bool,
}

impl RestResult {
    pub(super) fn new(client: Client, key: JobKey, partial: bool) -> Self {
        Self { client, key, partial }
    }
}

#[async_trait]
impl Stored for RestResult {
    async fn read(self: Box<Self>, range: Range<u64>) -> Result<ByteStream, Error> {
        let Self { client, key, partial } = *self;
        let mut headers = HeaderMap::new();
        let last = range.end.saturating_sub(1);
        if let Ok(part) = format!("bytes={}-{last}", range.start).parse() {
            headers.insert(header::RANGE, part);
        }
        let sent = RequestParts { headers, ..RequestParts::default() };
        let of_job = if partial { "/result?partial=true" } else { "/result" };
        let answer = client.open(Method::GET, &path(&key, of_job), sent).await;
        let body = answer.map_err(|error| no_job(error, &key))?.into_body();
        Ok(Box::pin(stream::try_unfold(body, |mut body| async {
            Ok(next_piece(&mut body).await?.map(|piece| (piece, body)))
        })))
    }
}
