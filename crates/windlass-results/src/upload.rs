//! One upload to the store: in one piece when it is small, in parts when it is not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayloadMut, Result, WriteMultipart};

/// How many parts are on their way at a time beside the one that fills up.
const CONCURRENT_PARTS: usize = 2;

/// How long an upload that is taken back waits for its parts that are on their way.
const LAST_PARTS: Duration = Duration::from_secs(10);

/// Bytes on their way to an object, which is not there before [`finish`](Self::finish).
pub(crate) struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// Bytes of a part.
    part: usize,
    /// What is less than a part.
    first: PutPayloadMut,
    parts: Option<WriteMultipart>,
}

impl Upload {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, path: Path, part: usize) -> Self {
        Self { store, path, part, first: PutPayloadMut::new(), parts: None }
    }

    /// Takes these bytes, and waits while too many parts are on their way.
    pub(crate) async fn put(&mut self, piece: Bytes) -> Result<()> {
        if let Some(parts) = &mut self.parts {
            parts.wait_for_capacity(CONCURRENT_PARTS).await?;
            parts.put(piece);
        } else if self.first.content_length().saturating_add(piece.len()) < self.part {
            self.first.push(piece);
        } else {
            let upload = self.store.put_multipart(&self.path).await?;
            let parts = self.parts.insert(WriteMultipart::new_with_chunk_size(upload, self.part));
            let first = std::mem::take(&mut self.first).freeze();
            first.into_iter().chain([piece]).for_each(|piece| parts.put(piece));
        }
        Ok(())
    }

    /// Makes it the object. What fails here takes itself back.
    pub(crate) async fn finish(self) -> Result<()> {
        match self.parts {
            Some(parts) => parts.finish().await.map(drop),
            None => self.store.put(&self.path, self.first.freeze()).await.map(drop),
        }
    }

    /// Takes it back, after its parts have arrived or failed: a bucket keeps a part that arrives later than this.
    pub(crate) async fn abort(self) -> Result<()> {
        let Some(mut parts) = self.parts else { return Ok(()) };
        let all_have_ended = async {
            // One error for each part that has failed.
            while parts.wait_for_capacity(0).await.is_err() {}
        };
        if tokio::time::timeout(LAST_PARTS, all_have_ended).await.is_err() {
            tracing::warn!(path = %self.path, "parts of an upload that is taken back do not arrive");
        }
        parts.abort().await
    }
}
