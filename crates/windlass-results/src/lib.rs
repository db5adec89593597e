//! Results that are too large for a resource, and [blobs]: in a bucket of an S3 API, or in a directory
//! that all gateways share.
//!
//! In: bytes on their way and the [location](windlass_core::result::location) that core computed for
//! them, or their digest. Out: the same bytes. Every object is written once, whole or not at all, under a
//! name that has its digest; so that writing it again is no harm.
//!
//! Architecture Invariants: only this crate knows the object store, and only the gateway has this
//! crate. No name comes from outside: what is read, written or deleted is a location of core below the
//! prefix of the operator's URL.
//!
//! Deliberately absent: encryption and life cycles (the bucket has them; give it a rule that aborts
//! incomplete multipart uploads), signed URLs (who may read is decided for each request).

mod blob_quotas;
mod blobs;
mod directory;
mod result_gc;
mod store_url;
mod turns;
mod upload;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;
use windlass_core::Error;
use windlass_core::result::{ByteStream, Stored};

use blob_quotas::BlobQuotas;
use turns::UploadTurns;
use upload::Upload;

pub use store_url::InvalidStoreUrl;

/// Bytes of one part of a result's upload, and the same of a blob's, which is the least that a bucket takes.
const PART: usize = 8 << 20;
const BLOB_PART: usize = 5 << 20;

/// How long an upload of a blob waits for its turn, and has one however slow it is.
const TURN: Duration = Duration::from_secs(20);

/// Uploads at a time, of results or of blobs.
const UPLOADS: usize = 4;

/// The same of logs, of which each is a megabyte at most.
const LOG_UPLOADS: usize = 16;

/// The same of samples, of which each is some kilobytes.
const SAMPLES_UPLOADS: usize = 8;

/// How long an upload of a log waits for its turn, and how long it may take then: the end of a job waits for it.
const LOG_TURN: Duration = Duration::from_secs(2);
const LOG_TIME: Duration = Duration::from_secs(5);

/// Where results are.
#[derive(Clone)]
pub struct Results {
    store: Arc<dyn ObjectStore>,
    /// The directory, when it is one.
    directory: Option<std::path::PathBuf>,
    /// Of results: who finds no turn is told to come back.
    uploads: UploadTurns,
    /// Of blobs, which wait for their turn.
    blob_uploads: UploadTurns,
    /// Of logs, which wait as well, and not for long.
    log_uploads: UploadTurns,
    /// Of samples: who finds no turn keeps none.
    samples_uploads: UploadTurns,
    turn: Duration,
    /// Held by whoever looks whether a blob is JSON.
    checks: Arc<Semaphore>,
    quotas: Arc<BlobQuotas>,
}

/// Why bytes were not stored.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// They did not arrive, or are not what was announced.
    #[error("the bytes did not arrive: {0}")]
    Content(#[source] io::Error),
    /// The store did not take them.
    #[error(transparent)]
    Store(Error),
}

impl Results {
    /// The store at this URL: `s3://BUCKET/PREFIX`, with what else there is to say in the `AWS_*`
    /// variables (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL` and
    /// `AWS_ALLOW_HTTP` for another than Amazon's), or `file:///DIRECTORY`. Nothing is asked of it yet.
    pub fn open(url: &str) -> Result<Self, InvalidStoreUrl> {
        Self::open_with(
            url,
            std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            }),
        )
    }

    /// The same with these variables instead of the process's own.
    pub fn open_with(
        url: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, InvalidStoreUrl> {
        let (store, directory) = store_url::open(url, environment)?;
        let [uploads, blob_uploads] = std::array::from_fn(|_| UploadTurns::new(UPLOADS));
        let log_uploads = UploadTurns::new(LOG_UPLOADS);
        let samples_uploads = UploadTurns::new(SAMPLES_UPLOADS);
        let checks = Arc::new(Semaphore::new(1));
        let quotas = Arc::default();
        let turn = TURN;
        Ok(Self {
            store,
            directory,
            uploads,
            blob_uploads,
            log_uploads,
            samples_uploads,
            turn,
            checks,
            quotas,
        })
    }

    /// The same with another time for which an upload of a blob waits for its turn, and has one however slow it is.
    #[must_use]
    pub fn with_turn(self, turn: Duration) -> Self {
        Self { turn, ..self }
    }

    /// The same with bounds of the bytes of blobs: of one namespace, and of all together.
    #[must_use]
    pub fn with_blob_quotas(self, namespace: Option<u64>, all: Option<u64>) -> Self {
        Self { quotas: Arc::new(BlobQuotas::new(namespace, all)), ..self }
    }

    /// Whether the store answers and lets us list.
    pub async fn check(&self) -> Result<(), Error> {
        self.namespaces().await.map(|_| ())
    }

    /// Writes these bytes; when this returns they are durable. An error in the stream, also that they
    /// are [not what was announced](windlass_core::result::checked), leaves nothing; nor does a caller
    /// who stops waiting: its stream then ends.
    pub async fn put(&self, location: &str, content: ByteStream) -> Result<(), Failed> {
        let path = path(location).map_err(Failed::Store)?;
        let Some(turn) = self.uploads.try_acquire(namespace_of(&path)) else {
            let message = "too many results are being stored".to_owned();
            let retry_after = Duration::from_secs(1);
            return Err(Failed::Store(Error::Busy { message, retry_after }));
        };
        self.put_at(turn, path, PART, content).await
    }

    /// The same of a log, unless others take all turns for too long. One that is there is replaced.
    pub async fn put_log(&self, location: &str, content: ByteStream) -> Result<(), Failed> {
        let path = path(location).map_err(Failed::Store)?;
        let turn = timeout(LOG_TURN, self.log_uploads.acquire(namespace_of(&path))).await;
        let busy = |_| Error::Busy {
            message: "too many logs are being stored".to_owned(),
            retry_after: Duration::from_secs(1),
        };
        let turn = turn.map_err(|late| Failed::Store(busy(late)))?;
        let turn = turn.map_err(|error| Failed::Store(Error::Bug(error.to_string())))?;
        self.put_at(turn, path, PART, ends_by(Instant::now() + LOG_TIME, content)).await
    }

    /// The same of what an attempt has used, unless others take all turns now. They are not those of logs.
    pub async fn put_samples(&self, location: &str, content: ByteStream) -> Result<(), Failed> {
        let path = path(location).map_err(Failed::Store)?;
        let Some(turn) = self.samples_uploads.try_acquire(namespace_of(&path)) else {
            let message = "too many samples are being stored".to_owned();
            return Err(Failed::Store(Error::Busy {
                message,
                retry_after: Duration::from_secs(1),
            }));
        };
        self.put_at(turn, path, PART, ends_by(Instant::now() + LOG_TIME, content)).await
    }

    /// The same for whoever may upload now.
    async fn put_at(
        &self,
        turn: impl Send + 'static,
        path: Path,
        part: usize,
        content: ByteStream,
    ) -> Result<(), Failed> {
        let store = Arc::clone(&self.store);
        let written = tokio::spawn(async move {
            let written = write(store, path, part, content).await;
            drop(turn);
            written
        });
        written.await.unwrap_or_else(|error| Err(Failed::Store(Error::Bug(error.to_string()))))
    }

    /// How many bytes are stored there, if any are.
    pub async fn length(&self, location: &str) -> Result<Option<u64>, Error> {
        match self.store.head(&path(location)?).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// The bytes that are stored there, for a reader.
    pub fn stored_at(&self, location: &str) -> Box<dyn Stored> {
        Box::new(StoredObject { store: Arc::clone(&self.store), location: location.to_owned() })
    }
}

/// The same bytes, and an error once it is later than this: who sends slowly keeps no turn from others.
fn ends_by(deadline: Instant, content: ByteStream) -> ByteStream {
    Box::pin(futures::stream::try_unfold(content, move |mut content| async move {
        match timeout_at(deadline, content.try_next()).await {
            Ok(piece) => Ok(piece?.map(|piece| (piece, content))),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }))
}

/// All that is stored lies below its namespace.
fn namespace_of(path: &Path) -> &str {
    path.as_ref().split('/').next().unwrap_or_default()
}

/// Stores the content whole, or nothing of it.
async fn write(
    store: Arc<dyn ObjectStore>,
    path: Path,
    part: usize,
    mut content: ByteStream,
) -> Result<(), Failed> {
    let mut upload = Upload::new(store, path, part);
    let failed = loop {
        match content.try_next().await {
            Ok(Some(piece)) => {
                if let Err(error) = upload.put(piece).await {
                    break Failed::Store(unavailable(&error));
                }
            }
            Ok(None) => {
                let done = upload.finish().await;
                return done.map_err(|error| Failed::Store(unavailable(&error)));
            }
            Err(error) => break Failed::Content(error),
        }
    };
    upload.take_back().await;
    Err(failed)
}

struct StoredObject {
    store: Arc<dyn ObjectStore>,
    location: String,
}

#[async_trait]
impl Stored for StoredObject {
    async fn read(self: Box<Self>, range: Range<u64>) -> Result<ByteStream, Error> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        match self.store.get_opts(&path(&self.location)?, options).await {
            Ok(found) => Ok(Box::pin(found.into_stream().map_err(io::Error::other))),
            Err(object_store::Error::NotFound { .. }) => {
                let missing = || "of this job in the object store".to_owned();
                Err(Error::NotFound { kind: "result", name: missing() })
            }
            Err(error) => Err(unavailable(&error)),
        }
    }
}

fn path(location: &str) -> Result<Path, Error> {
    Path::parse(location).map_err(|error| Error::Bug(format!("{location}: {error}")))
}

/// What the store says is for the log: it names hosts and buckets.
fn unavailable(error: &(dyn std::error::Error + 'static)) -> Error {
    warn!(%error, "the object store does not do what it is asked");
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    let is_full = causes.any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    });
    Error::unavailable(if is_full {
        "the object store is full"
    } else {
        "the object store does not answer as it should"
    })
}
