//! Blobs in memory.

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use windlass_core::Error;
use windlass_core::blob::Blob;
use windlass_core::blobs::{BlobReply, BlobSink, Blobs, NewBlob, NotStored, StoredBlob};
use windlass_core::result::{ByteStream, Content, StoredResult, sha256};

use super::backend::FakeBackend;

#[async_trait]
impl BlobSink for FakeBackend {
    async fn store(&self, _: &str, new: &NewBlob, mut content: ByteStream) -> BlobReply {
        self.meet_fault().await?;
        if let Some(known) = new.sha256.as_ref().filter(|_| new.waits)
            && let Some(bytes) = self.blobs.lock().unwrap().get(known)
        {
            let blob = Blob { sha256: known.clone(), bytes: bytes.len() as u64 };
            return Ok(StoredBlob { blob, is_known: true });
        }
        let mut bytes = Vec::new();
        while let Some(piece) = content.try_next().await.map_err(NotStored::Content)? {
            bytes.extend(piece);
            if let Some(max) = new.max_bytes.filter(|max| bytes.len() as u64 > *max) {
                return Err(NotStored::TooLarge(max));
            }
        }
        let blob = Blob { sha256: sha256(&bytes), bytes: bytes.len() as u64 };
        let known = self.blobs.lock().unwrap().insert(blob.sha256.clone(), bytes.into());
        Ok(StoredBlob { blob, is_known: known.is_some() })
    }
}

#[async_trait]
impl Blobs for FakeBackend {
    async fn read(&self, _: &str, sha256: &str) -> Result<StoredResult, Error> {
        let missing = || Error::NotFound { kind: "blob", name: sha256.to_owned() };
        let bytes: Bytes = self.blobs.lock().unwrap().get(sha256).cloned().ok_or_else(missing)?;
        Ok(StoredResult {
            bytes: bytes.len() as u64,
            content_type: "application/octet-stream".into(),
            sha256: sha256.to_owned(),
            content: Content::Inline(bytes),
        })
    }
}
