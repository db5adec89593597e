//! Blobs in memory.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use windlass_core::Error;
use windlass_core::blob::Blob;
use windlass_core::blobs::{BlobReply, BlobSink, Blobs, NewBlob, NotStored, StoredBlob};
use windlass_core::result::{ByteStream, Content, Stored, StoredResult, sha256};

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
        if sha256 == windlass_core::result::sha256(b"") {
            return Ok(StoredResult {
                bytes: 1 << 40,
                content_type: "application/octet-stream".into(),
                sha256: sha256.to_owned(),
                content: Content::Stored(Box::new(Slow)),
            });
        }
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

/// A blob that nobody has sent, under the digest of nothing: its first piece comes, and no other.
struct Slow;

#[async_trait]
impl Stored for Slow {
    async fn read(self: Box<Self>, _: Range<u64>) -> Result<ByteStream, Error> {
        let first = stream::iter([Ok(Bytes::from_static(b"first"))]);
        Ok(Box::pin(first.chain(stream::pending())))
    }
}
