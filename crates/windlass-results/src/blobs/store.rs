//! Takes blobs, and gives them back.
//!
//! Bytes whose digest is known go to their place at once. Others go to `NAMESPACE/_uploads/`, and get their place once
//! their digest is known.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use tokio::time::{Instant, timeout};
use uuid::Uuid;
use windlass_core::blob::Blob;
use windlass_core::blobs::{BlobReply, BlobSink, Blobs, NewBlob, NotStored, StoredBlob};
use windlass_core::result::{ByteStream, Content, StoredResult};
use windlass_core::{Error, media_type};

use super::received::received;
use super::{BYTES, JSON, UPLOADS, path_of};
use crate::turns::{Demand, UploadTurn};
use crate::{BLOB_PART, Failed, Results, namespace_of, unavailable};

/// Most bytes that can get another name in a bucket: 5 GiB.
const MOST_RENAMED: u64 = 5 << 30;

/// One that is slower gives its turn to another.
const LEAST_BYTES_PER_SECOND: u64 = 256 * 1024;

#[async_trait]
impl BlobSink for Results {
    async fn store(&self, namespace: &str, new: &NewBlob, content: ByteStream) -> BlobReply {
        let most = new.max_bytes.unwrap_or(u64::MAX);
        let Some(sha256) = &new.sha256 else {
            return self.store_nameless(namespace, new, content, most.min(MOST_RENAMED)).await;
        };
        if let Some(held) = self.hold(namespace, sha256).await? {
            if new.is_json
                && let Some(why) = self.why_no_json(namespace, sha256, &held).await?
            {
                return Err(NotStored::Malformed(why));
            }
            if !new.waits {
                drain(content, new, most).await?;
            }
            let blob = Blob { sha256: sha256.clone(), bytes: held.bytes };
            return Ok(StoredBlob { blob, is_known: true });
        }
        let turn = self.blob_turn(namespace).await?;
        let place = path_of(namespace, sha256, BYTES);
        let blob = self.upload(turn, place, new, content, most).await?;
        self.settle(namespace, &blob, new.is_json).await?;
        Ok(StoredBlob { blob, is_known: false })
    }
}

#[async_trait]
impl Blobs for Results {
    async fn read(&self, namespace: &str, sha256: &str) -> Result<StoredResult, Error> {
        let missing = || Error::NotFound { kind: "blob", name: format!("sha256:{sha256}") };
        // Whoever hears that it is there may name it.
        let held = self.hold(namespace, sha256).await?.ok_or_else(missing)?;
        let location = path_of(namespace, sha256, BYTES);
        Ok(StoredResult {
            bytes: held.bytes,
            content_type: media_type::BYTES.into(),
            sha256: sha256.to_owned(),
            content: Content::Stored(self.stored_at(location.as_ref())),
        })
    }
}

impl Results {
    async fn store_nameless(
        &self,
        namespace: &str,
        new: &NewBlob,
        content: ByteStream,
        most: u64,
    ) -> Result<StoredBlob, NotStored> {
        let id = Uuid::new_v4().simple().to_string();
        let nameless = Path::from_iter([namespace, UPLOADS, &id]);
        // It is kept until the blob has its place: then whoever has the next turn sees its bytes.
        let turn = self.blob_turn(namespace).await?;
        let blob = self.upload(Arc::clone(&turn), nameless.clone(), new, content, most).await?;
        let named = self.name(namespace, new, &nameless, &blob).await;
        if !matches!(named, Ok(false)) {
            self.delete_object(&nameless).await?;
        }
        let is_known = named?;
        if !is_known {
            self.settle(namespace, &blob, new.is_json).await?;
        }
        drop(turn);
        Ok(StoredBlob { blob, is_known })
    }

    /// Moves an upload to its place. Whether there was such a blob before, which then stays.
    async fn name(
        &self,
        namespace: &str,
        new: &NewBlob,
        nameless: &Path,
        blob: &Blob,
    ) -> Result<bool, NotStored> {
        if new.is_json
            && let Some(why) = self.json_problem(nameless).await?
        {
            return Err(NotStored::Malformed(why));
        }
        if self.hold(namespace, &blob.sha256).await?.is_some() {
            return Ok(true);
        }
        let place = path_of(namespace, &blob.sha256, BYTES);
        let renamed = self.store.rename(nameless, &place).await;
        renamed.map_err(|error| unavailable(&error))?;
        Ok(false)
    }

    /// Looks whether a blob that has just been stored stays.
    async fn settle(&self, namespace: &str, blob: &Blob, is_json: bool) -> Result<(), Error> {
        let gone = || Error::unavailable("the blob was deleted as it came; send it again");
        self.find(namespace, &blob.sha256).await?.held()?.ok_or_else(gone)?;
        if is_json {
            self.put_empty(&path_of(namespace, &blob.sha256, JSON)).await?;
        }
        Ok(())
    }

    /// The same bytes, unless they come slowly while others wait for their turn.
    fn paced(&self, content: ByteStream, demand: Demand) -> ByteStream {
        let (begun, turn) = (Instant::now(), self.turn);
        let mut bytes = 0_u64;
        Box::pin(content.and_then(move |piece| {
            bytes += piece.len() as u64;
            let elapsed = begun.elapsed();
            let is_slow = elapsed > turn && bytes < elapsed.as_secs() * LEAST_BYTES_PER_SECOND;
            let taken = if is_slow && demand.is_waited_for() {
                Err(io::ErrorKind::TimedOut.into())
            } else {
                Ok(piece)
            };
            std::future::ready(taken)
        }))
    }

    async fn blob_turn(&self, namespace: &str) -> Result<Arc<UploadTurn>, Error> {
        let turn = timeout(self.turn, self.blob_uploads.acquire(namespace)).await;
        let busy = |_| Error::Busy {
            message: "too many blobs are being stored".into(),
            retry_after: Duration::from_secs(1),
        };
        let turn = turn.map_err(busy)?.map_err(|error| Error::Bug(error.to_string()))?;
        Ok(Arc::new(turn))
    }

    async fn upload(
        &self,
        turn: Arc<UploadTurn>,
        path: Path,
        new: &NewBlob,
        content: ByteStream,
        most: u64,
    ) -> Result<Blob, NotStored> {
        // The time of the list is not the sender's.
        let room = self.room(namespace_of(&path)).await?;
        let content = self.paced(content, turn.demand());
        let content = match room {
            Some(room) => room.bound(content, new.announced)?,
            None => content,
        };
        let (content, received) = received(content, new, most);
        match (self.put_at(turn, path, BLOB_PART, content).await, received.take()) {
            (Err(Failed::Store(error)), _) => Err(error.into()),
            (_, Some(end)) => end,
            (Err(Failed::Content(error)), None) => Err(NotStored::Content(error)),
            (Ok(()), None) => Err(Error::Bug("a body was stored that has no end".into()).into()),
        }
    }
}

/// Reads what nobody needs, so that its sender comes to read the answer. What has another digest is told all the same.
async fn drain(content: ByteStream, new: &NewBlob, most: u64) -> Result<(), NotStored> {
    let (mut content, received) = received(content, new, most);
    while let Ok(Some(_)) = content.try_next().await {}
    received.take().map_or(Ok(()), |end| end.map(drop))
}
