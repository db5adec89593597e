//! Where blobs are kept: what the gateway asks of a world that has them.

use std::io;

use async_trait::async_trait;

use crate::blob::Blob;
use crate::result::{ByteStream, StoredResult};
use crate::{BlobRef, Error, Problem};

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
    /// How many they are, if their sender has said.
    pub announced: Option<u64>,
}

/// A bound of the bytes of blobs that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The flag that sets it.
    pub name: &'static str,
    /// Most bytes.
    pub limit: u64,
}

impl Quota {
    /// Whether so many bytes may be kept beside those that are there.
    pub fn check(&self, used: u64, requested: u64) -> Result<(), Error> {
        if used.saturating_add(requested) <= self.limit {
            return Ok(());
        }
        let Self { name, limit } = self;
        Err(Error::Refused(format!(
            "exceeded quota: {name}, requested: {requested} bytes, used: {used}, limited: {limit}; \
             a blob that no job names is deleted after an hour"
        )))
    }
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

/// What becomes of bytes that are sent.
pub type BlobReply = Result<StoredBlob, NotStored>;

/// What is told of bytes that have this digest, and should have another.
pub fn another_digest(found: &str) -> Error {
    let why = format!("the bytes that came have the digest {found}");
    Error::Invalid(vec![Problem::at("/sha256", why)])
}

/// What is wrong with a blob that a job names at this pointer, where so many bytes were found of it.
pub fn unlike(at: &str, blob: &BlobRef, found: Option<u64>) -> Option<Problem> {
    match found {
        Some(bytes) if bytes == blob.bytes => None,
        Some(bytes) => {
            let why = format!("the blob has {bytes} bytes, not {}", blob.bytes);
            Some(Problem::at(format!("{at}/bytes"), why))
        }
        None => {
            let why = "there is no such blob; send it again, a blob that no job names is kept for an hour";
            Some(Problem::at(format!("{at}/sha256"), why))
        }
    }
}

/// What is told of an input that is called JSON and breaks its [rule](crate::strict_json) so.
pub fn no_json(why: &str) -> Problem {
    Problem::at("/inputBlob", format!("is no JSON that all read alike: {why}"))
}

/// Who takes blobs.
#[async_trait]
pub trait BlobSink: Send + Sync + 'static {
    /// Stores bytes in pieces. When this returns they are not lost, for an hour at least, and then as
    /// long as a job names them. An error leaves nothing.
    async fn store(&self, namespace: &str, new: &NewBlob, content: ByteStream) -> BlobReply;
}

/// A world that keeps blobs.
#[async_trait]
pub trait Blobs: BlobSink {
    /// A blob of this digest, to be read.
    async fn read(&self, namespace: &str, sha256: &str) -> Result<StoredResult, Error>;
}
