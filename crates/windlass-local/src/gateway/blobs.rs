//! `Blobs` on one machine: bytes are written as they come, in a thread that may wait for the disk.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use windlass_core::blob::Blob;
use windlass_core::blobs::{
    self, BlobReply, BlobSink, Blobs, NewBlob, NotStored, StoredBlob, another_digest,
};
use windlass_core::result::{ByteStream, Content, StoredResult, hex};
use windlass_core::{Error, JobSpec, media_type, strict_json};

use super::stored_file::StoredFile;
use crate::blobs::{Upload, not_written};
use crate::config::NAMESPACE;
use crate::controller::Context;
use crate::engine::Engine;

/// What is collected before it is written, in bytes.
const BATCH_BYTES: usize = 256 * 1024;

#[async_trait]
impl BlobSink for Engine {
    async fn store(&self, namespace: &str, new: &NewBlob, content: ByteStream) -> BlobReply {
        if namespace != NAMESPACE {
            return Err(Error::NotFound { kind: "Namespace", name: namespace.to_owned() }.into());
        }
        self.check_ready()?;
        if let Some(blob) = find_known(&self.ctx, new).await? {
            if !new.waits {
                drain(content, &blob.sha256, new.max_bytes.unwrap_or(u64::MAX)).await?;
            }
            return Ok(StoredBlob { blob, is_known: true });
        }
        check_quota(&self.ctx, new.announced.unwrap_or(1))?;
        let blobs = Arc::clone(&self.ctx.files.blobs);
        let upload = in_thread(move || Upload::begin(&blobs).map_err(|e| not_written(&e))).await?;
        let upload = self.receive(upload, new, content).await?;
        let (new, now) = (new.clone(), self.ctx.clock.now());
        in_thread(move || upload.finish(&new, now)).await
    }
}

#[async_trait]
impl Blobs for Engine {
    async fn read(&self, namespace: &str, sha256: &str) -> Result<StoredResult, Error> {
        let missing = || Error::NotFound { kind: "blob", name: format!("sha256:{sha256}") };
        if namespace != NAMESPACE {
            return Err(missing());
        }
        let (ctx, name) = (Arc::clone(&self.ctx), sha256.to_owned());
        // Whoever hears that it is there may name it for another hour.
        let held = spawn_blocking(move || ctx.files.blobs.hold(&name, ctx.clock.now())).await;
        let held = held.map_err(|error| Error::Bug(error.to_string()))?;
        let bytes = held
            .map_err(|error| Error::unavailable(format!("a blob cannot be read: {error}")))?
            .ok_or_else(missing)?;
        Ok(StoredResult {
            bytes,
            content_type: media_type::BYTES.into(),
            sha256: sha256.to_owned(),
            content: Content::Stored(Box::new(StoredFile(self.ctx.files.blobs.path(sha256)))),
        })
    }
}

impl Engine {
    /// Writes all that comes.
    async fn receive(
        &self,
        mut upload: Upload,
        new: &NewBlob,
        mut content: ByteStream,
    ) -> Result<Upload, NotStored> {
        let (mut left, mut is_over) = (new.max_bytes.unwrap_or(u64::MAX), false);
        while !is_over {
            self.ctx.check_room()?;
            let (mut batch, mut bytes) = (Vec::<Bytes>::new(), 0);
            while !is_over && bytes < BATCH_BYTES {
                match content.next().await {
                    Some(piece) => {
                        let piece = piece.map_err(NotStored::Content)?;
                        let too_large = || NotStored::TooLarge(new.max_bytes.unwrap_or_default());
                        left = left.checked_sub(piece.len() as u64).ok_or_else(too_large)?;
                        bytes += piece.len();
                        batch.push(piece);
                    }
                    None => is_over = true,
                }
            }
            check_quota(&self.ctx, bytes as u64)?;
            upload = in_thread(move || {
                upload.write(&batch).map_err(|error| not_written(&error))?;
                Ok(upload)
            })
            .await?;
        }
        Ok(upload)
    }
}

/// Whether blobs may have so many bytes more. Those on their way count.
fn check_quota(ctx: &Context, requested: u64) -> Result<(), Error> {
    let quota = &ctx.config.bounds.blob_quota;
    quota.map_or(Ok(()), |quota| quota.check(ctx.files.blobs.bytes(), requested))
}

/// A blob that is there already, and stays for another hour.
async fn find_known(ctx: &Arc<Context>, new: &NewBlob) -> Result<Option<Blob>, NotStored> {
    let Some(sha256) = new.sha256.clone() else { return Ok(None) };
    let (ctx, is_json) = (Arc::clone(ctx), new.is_json);
    in_thread(move || {
        let failed = |error: io::Error| not_written(&error);
        let blobs = &ctx.files.blobs;
        let Some(bytes) = blobs.hold(&sha256, ctx.clock.now()).map_err(failed)? else {
            return Ok(None);
        };
        let problem = if is_json { blobs.json_problem(&sha256).map_err(failed)? } else { None };
        match problem {
            Some(why) => Err(NotStored::Malformed(why)),
            None => Ok(Some(Blob { sha256, bytes })),
        }
    })
    .await
}

/// Reads what nobody needs, so that its sender comes to read the answer. What has another digest is told all the same.
async fn drain(mut content: ByteStream, sha256: &str, most: u64) -> Result<(), NotStored> {
    let (mut hash, mut left) = (Sha256::new(), most);
    while let Some(piece) = content.next().await {
        let piece = piece.map_err(NotStored::Content)?;
        left = left.checked_sub(piece.len() as u64).ok_or(NotStored::TooLarge(most))?;
        hash.update(&piece);
    }
    let found = hex(&hash.finalize());
    if found == sha256 { Ok(()) } else { Err(another_digest(&found).into()) }
}

/// Looks whether all the blobs are there that a new job names. They stay for another hour; the job is there by then.
pub(super) async fn hold(ctx: &Arc<Context>, spec: &JobSpec) -> Result<(), Error> {
    if spec.blobs().next().is_none() {
        return Ok(());
    }
    let (ctx, spec) = (Arc::clone(ctx), spec.clone());
    let held = spawn_blocking(move || {
        let mut problems = Vec::new();
        for (at, blob) in spec.blobs() {
            let found = ctx.files.blobs.hold(&blob.sha256, ctx.clock.now())?;
            problems.extend(blobs::unlike(&at, blob, found));
        }
        let input = spec.input_blob.as_ref().filter(|_| problems.is_empty());
        if let Some(input) = input.filter(|input| strict_json::is_json(&input.media_type))
            && let Some(why) = ctx.files.blobs.json_problem(&input.sha256)?
        {
            problems.push(blobs::no_json(&why));
        }
        Ok::<_, io::Error>(problems)
    });
    let held = held.await.map_err(|error| Error::Bug(error.to_string()))?;
    let problems =
        held.map_err(|error| Error::unavailable(format!("a blob cannot be read: {error}")))?;
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

/// Does what may wait for the disk.
async fn in_thread<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, NotStored> + Send + 'static,
) -> Result<T, NotStored> {
    spawn_blocking(task).await.map_err(|error| Error::Bug(error.to_string()))?
}
