//! Blobs: bytes that are sent before the jobs that name them.
//!
//! Each has a directory, `NAMESPACE/_blobs/SHA256/`, so that one list tells all there is to know of it:
//!
//! | object | what it is | its time says |
//! | --- | --- | --- |
//! | `bytes` | the blob | when it was sent |
//! | `used` | empty | when it was last sent again, or named |
//! | `json` | empty: it keeps the rule for JSON | - |
//! | `deleting-ID` | empty | since when a [collection](blob_gc) may be deleting it |
//!
//! A store of objects cannot delete one only if nobody has just used it. So whoever uses a blob writes `used` first, and
//! then looks for `deleting-*`. Whoever deletes it writes `deleting-ID` first, and then looks at the times. One of the
//! two sees the other, and gives way.

mod blob_gc;
mod received;
mod room;
mod store;

use std::io::{self, Read};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutPayload};
use tokio::runtime::Handle;
use windlass_core::blobs::{no_json, unlike};
use windlass_core::result::ByteStream;
use windlass_core::{BlobRef, Error, JobSpec, strict_json};

use crate::{Results, unavailable};

/// The directory of the blobs of a namespace. No job has this UID.
const DIRECTORY: &str = "_blobs";

/// The directory of uploads of a namespace that have no name yet. No job has this UID.
const UPLOADS: &str = "_uploads";

/// Names of the objects of a blob.
const BYTES: &str = "bytes";
const USED: &str = "used";
const JSON: &str = "json";
const DELETING: &str = "deleting-";

/// A use that is younger is not written again: it is still far from the hour after which a blob may be deleted.
const FRESH: Duration = Duration::from_secs(60);

/// Blobs of one job that are looked for at the same time.
const LOOKS: usize = 8;

/// What there is of a blob.
#[derive(Default)]
struct Found {
    /// The length of its bytes, if they are there.
    bytes: Option<u64>,
    /// When it was last sent or used.
    used: Option<SystemTime>,
    is_json: bool,
    /// Objects but for those of collections.
    objects: Vec<Path>,
    /// What collections have left that may be deleting it, and since when.
    deleting: Vec<(Path, SystemTime)>,
}

/// A blob that is there, and stays so for the better part of an hour.
struct Held {
    bytes: u64,
    is_json: bool,
}

impl Found {
    fn from_objects(objects: impl IntoIterator<Item = ObjectMeta>) -> Self {
        let mut found = Self::default();
        for ObjectMeta { location, last_modified, size, .. } in objects {
            let time = SystemTime::from(last_modified);
            let name = location.filename().unwrap_or_default();
            if name.starts_with(DELETING) {
                found.deleting.push((location, time));
                continue;
            }
            match name {
                BYTES => found.bytes = Some(size),
                JSON => found.is_json = true,
                _ => {}
            }
            found.used = found.used.max(Some(time));
            found.objects.push(location);
        }
        found
    }

    /// Whether nobody has sent or used it for so long.
    fn is_older(&self, than: Duration) -> bool {
        let age = |time| SystemTime::now().duration_since(time).unwrap_or_default();
        self.used.is_none_or(|used| age(used) >= than)
    }

    /// `None` when it is not there. A blob of which nobody knows whether it stays is `Unavailable`.
    fn held(&self) -> Result<Option<Held>, Error> {
        if !self.deleting.is_empty() {
            return Err(Error::unavailable("a blob that nobody used is being deleted; try again"));
        }
        Ok(self.bytes.map(|bytes| Held { bytes, is_json: self.is_json }))
    }
}

fn path_of(namespace: &str, sha256: &str, object: &str) -> Path {
    Path::from_iter([namespace, DIRECTORY, sha256, object])
}

impl Results {
    async fn find(&self, namespace: &str, sha256: &str) -> Result<Found, Error> {
        let prefix = Path::from_iter([namespace, DIRECTORY, sha256]);
        let objects: Vec<_> =
            self.store.list(Some(&prefix)).try_collect().await.map_err(|e| unavailable(&e))?;
        Ok(Found::from_objects(objects))
    }

    /// A blob, which stays for as long as it takes to name it; `None` when it is not there.
    async fn hold(&self, namespace: &str, sha256: &str) -> Result<Option<Held>, Error> {
        let found = self.find(namespace, sha256).await?;
        let held = found.held()?;
        if held.is_none() || !found.is_older(FRESH) {
            return Ok(held);
        }
        self.put_empty(&path_of(namespace, sha256, USED)).await?;
        self.find(namespace, sha256).await?.held()
    }

    /// Looks whether all the blobs are there that a new job names. They stay until it is there.
    pub async fn hold_blobs(&self, namespace: &str, spec: &JobSpec) -> Result<(), Error> {
        let named: Vec<(String, &BlobRef)> = spec.blobs().collect();
        let digests: Vec<String> = named.iter().map(|(_, blob)| blob.sha256.clone()).collect();
        let looks = digests.into_iter().map(|sha256| {
            let (results, namespace) = (self.clone(), namespace.to_owned());
            async move { results.hold(&namespace, &sha256).await }
        });
        let held: Vec<Option<Held>> =
            futures::stream::iter(looks).buffered(LOOKS).try_collect().await?;
        let found = named.iter().zip(&held);
        let mut problems: Vec<_> = found
            .filter_map(|((at, blob), held)| unlike(at, blob, held.as_ref().map(|held| held.bytes)))
            .collect();
        let input = spec.input_blob.as_ref().filter(|_| problems.is_empty());
        if let Some(input) = input.filter(|input| strict_json::is_json(&input.media_type))
            && let Some(Some(held)) = held.first()
            && let Some(why) = self.why_no_json(namespace, &input.sha256, held).await?
        {
            problems.push(no_json(&why));
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
    }

    /// Why a blob is no JSON; `None` when it keeps the rule.
    async fn why_no_json(
        &self,
        namespace: &str,
        sha256: &str,
        held: &Held,
    ) -> Result<Option<String>, Error> {
        if held.is_json {
            return Ok(None);
        }
        let problem = self.json_problem(&path_of(namespace, sha256, BYTES)).await?;
        if problem.is_none() {
            self.put_empty(&path_of(namespace, sha256, JSON)).await?;
        }
        Ok(problem)
    }

    /// Reads an object, one at a time: a large one takes a thread for seconds.
    async fn json_problem(&self, path: &Path) -> Result<Option<String>, Error> {
        let bug = |error: &dyn std::error::Error| Error::Bug(error.to_string());
        let _one = self.checks.acquire().await.map_err(|error| bug(&error))?;
        let found = self.store.get(path).await.map_err(|error| unavailable(&error))?;
        let stream: ByteStream = Box::pin(found.into_stream().map_err(io::Error::other));
        let reader = BlockingReader { stream, runtime: Handle::current(), piece: Bytes::new() };
        let read = tokio::task::spawn_blocking(move || strict_json::problem(reader));
        read.await.map_err(|error| bug(&error))?.map_err(|error| unavailable(&error))
    }

    async fn put_empty(&self, path: &Path) -> Result<(), Error> {
        let put = self.store.put(path, PutPayload::new()).await;
        put.map(drop).map_err(|error| unavailable(&error))
    }

    /// Deletes an object, if it is there.
    pub(crate) async fn delete_object(&self, path: &Path) -> Result<(), Error> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

/// A stream, read by a thread that may wait.
struct BlockingReader {
    stream: ByteStream,
    runtime: Handle,
    piece: Bytes,
}

impl Read for BlockingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.stream.try_next())? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        let (read, piece) = (buffer.get_mut(..length), self.piece.split_to(length));
        if let Some(read) = read {
            read.copy_from_slice(&piece);
        }
        Ok(length)
    }
}
