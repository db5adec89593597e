//! Where blobs are kept: what the gateway asks of a world that has them.

use std::io;

use async_trait::async_trait;

use crate::Error;
use crate::blob::Blob;
use crate::result::{ByteStream, StoredResult};

/// Bytes that somebody sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewBlob {
    /// What their digest must be, if their sender knows it.
    pub sha256: Option<String>,
    /// Most bytes that are taken; `None` for as many as there is room for.
    pub max_bytes: Option<u64>,
    /// They have to keep the [rule for JSON](crate::strict_json).
    pub is_json: bool,
    /// Their sender waits to be asked for them: they are left alone when they are there already.
    pub waits: bool,
}

/// A blob that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// The blob.
    pub blob: Blob,
    /// It was there before.
    pub is_known: bool,
}

/// Why bytes were not stored.
#[derive(Debug, thiserror::Error)]
pub enum NotStored {
    /// They did not arrive.
    #[error("the body broke off: {0}")]
    Content(#[source] io::Error),
    /// There are more than may be.
    #[error("at most {0} bytes are taken here")]
    TooLarge(u64),
    /// They should be JSON and break the rule; a sentence without a subject.
    #[error("{0}")]
    Malformed(String),
    /// Another reason.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A world that keeps blobs.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Stores bytes in pieces. When this returns they are not lost, for an hour at least, and then as
    /// long as a job names them. An error leaves nothing.
    async fn store(
        &self,
        namespace: &str,
        new: &NewBlob,
        content: ByteStream,
    ) -> Result<StoredBlob, NotStored>;
    /// A blob of this digest, to be read.
    async fn read(&self, namespace: &str, sha256: &str) -> Result<StoredResult, Error>;
}
