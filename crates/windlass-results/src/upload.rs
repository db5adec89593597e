//! One upload to the store: in one piece when it is small, in parts when it is not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayloadMut, Result, WriteMultipart};
use tracing::warn;

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
    pub(crate) async fn finish(mut self) -> Result<()> {
        // The last part goes alone: when it fails, no other is on its way.
        if let Some(parts) = &mut self.parts
            && let Err(error) = parts.wait_for_capacity(0).await
        {
            self.take_back().await;
            return Err(error);
        }
        match self.parts {
            Some(parts) => parts.finish().await.map(drop),
            None => self.store.put(&self.path, self.first.freeze()).await.map(drop),
        }
    }

    /// The same as [`abort`](Self::abort), of an upload that has failed: a failure of this is for the log.
    pub(crate) async fn take_back(self) {
        let path = self.path.clone();
        if let Err(error) = self.abort().await {
            // The bucket's life cycle, or the next garbage collection of a directory, does it.
            warn!(%path, %error, "an upload that failed was not taken back");
        }
    }

    /// Takes it back, after its parts have arrived or failed: a bucket keeps a part that arrives later than this.
    async fn abort(self) -> Result<()> {
        let Some(mut parts) = self.parts else { return Ok(()) };
        let all_have_ended = async {
            // One error for each part that has failed.
            while parts.wait_for_capacity(0).await.is_err() {}
        };
        if tokio::time::timeout(LAST_PARTS, all_have_ended).await.is_err() {
            warn!(path = %self.path, "parts of an upload that is taken back do not arrive");
        }
        parts.abort().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use object_store::memory::InMemory;
    use object_store::{MultipartUpload, PutPayload, PutResult, UploadPart};

    use super::*;

    /// What a store hears of an upload whose first part fails at once, and whose second arrives late.
    #[derive(Debug, Default)]
    struct Parts {
        told: Arc<Mutex<Vec<&'static str>>>,
        number: usize,
    }

    #[async_trait]
    impl MultipartUpload for Parts {
        fn put_part(&mut self, _: PutPayload) -> UploadPart {
            self.number += 1;
            let (told, number) = (Arc::clone(&self.told), self.number);
            Box::pin(async move {
                if number == 1 {
                    let source = "fails".into();
                    return Err(object_store::Error::Generic { store: "test", source });
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                told.lock().unwrap().push("part");
                Ok(())
            })
        }

        async fn complete(&mut self) -> Result<PutResult> {
            unreachable!("a part has failed")
        }

        async fn abort(&mut self) -> Result<()> {
            self.told.lock().unwrap().push("abort");
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_upload_is_taken_back_after_its_parts_have_arrived() {
        for finishes in [false, true] {
            let store = Parts::default();
            let told = Arc::clone(&store.told);
            let mut parts = WriteMultipart::new_with_chunk_size(Box::new(store), 2);
            parts.put(Bytes::from_static(b"aabbc"));
            let mut upload = Upload::new(Arc::new(InMemory::new()), Path::from("x"), 2);
            upload.parts = Some(parts);
            if finishes {
                upload.finish().await.unwrap_err();
            } else {
                upload.abort().await.unwrap();
            }
            assert_eq!(*told.lock().unwrap(), ["part", "abort"], "finishes: {finishes}");
        }
    }
}
