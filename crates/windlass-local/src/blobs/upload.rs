//! A blob on its way: beside the others until it is whole, then renamed to its digest.

use std::fs::{self, File};
use std::io::{self, BufReader, Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tracing::warn;
use uuid::Uuid;
use windlass_core::blob::Blob;
use windlass_core::blobs::{NewBlob, NotStored, StoredBlob, another_digest};
use windlass_core::result::hex;
use windlass_core::{Error, strict_json};
use windlass_worker::private_files;

use super::{BlobDirectory, KnownBlob};

/// A file that takes the bytes. When this is dropped nothing of it stays, unless it was finished.
pub(crate) struct Upload {
    blobs: Arc<BlobDirectory>,
    /// `None` once it has its name.
    path: Option<PathBuf>,
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Upload {
    /// An empty one.
    pub(crate) fn begin(blobs: &Arc<BlobDirectory>) -> io::Result<Self> {
        let blobs = Arc::clone(blobs);
        let path = blobs.directory.join("new").join(Uuid::new_v4().simple().to_string());
        let file = private_files::create(&path)?;
        Ok(Self { blobs, path: Some(path), file, hash: Sha256::new(), bytes: 0 })
    }

    /// Takes the next bytes.
    pub(crate) fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        for piece in pieces {
            self.file.write_all(piece)?;
            self.hash.update(piece);
            self.bytes += piece.len() as u64;
            self.blobs.add(piece.len() as u64);
        }
        Ok(())
    }

    /// Makes a blob of it, if it is what it should be.
    pub(crate) fn finish(mut self, new: &NewBlob, now: Timestamp) -> Result<StoredBlob, NotStored> {
        let sha256 = hex(&std::mem::take(&mut self.hash).finalize());
        if let Some(expected) = &new.sha256
            && *expected != sha256
        {
            return Err(another_digest(&sha256).into());
        }
        if new.is_json {
            self.file.rewind().map_err(|error| not_written(&error))?;
            let problem = strict_json::problem(BufReader::new(&self.file));
            match problem.map_err(|error| not_written(&error))? {
                None => {}
                Some(why) => return Err(NotStored::Malformed(why)),
            }
        }
        let is_known = self.name(&sha256, new.is_json, now).map_err(|error| not_written(&error))?;
        Ok(StoredBlob { blob: Blob { sha256, bytes: self.bytes }, is_known })
    }

    /// Gives it its name. Whether there was one before: then that stays.
    fn name(&mut self, sha256: &str, is_json: bool, now: Timestamp) -> io::Result<bool> {
        let blobs = Arc::clone(&self.blobs);
        if blobs.hold(sha256, now)?.is_some() {
            return Ok(true);
        }
        self.file.set_modified(SystemTime::from(now))?;
        if blobs.is_durable {
            self.file.sync_all()?;
        }
        let mut known = blobs.lock();
        if known.contains_key(sha256) {
            return Ok(true);
        }
        if let Some(path) = &self.path {
            fs::rename(path, blobs.path(sha256))?;
        }
        self.path = None;
        // Before anybody can name it.
        if blobs.is_durable {
            File::open(&blobs.directory)?.sync_all()?;
        }
        let json = is_json.then_some(Ok(()));
        known.insert(sha256.to_owned(), KnownBlob { bytes: self.bytes, used: now, json });
        Ok(false)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        self.blobs.subtract(self.bytes);
        let remove = move || {
            if let Err(error) = fs::remove_file(&path) {
                warn!(%error, path = %path.display(), "what was sent of a blob cannot be deleted");
            }
        };
        // To delete a large file takes a while, and whoever gives up may be the thread that serves everybody.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// What is told of a disk that does not take a blob.
pub(crate) fn not_written(error: &io::Error) -> NotStored {
    warn!(%error, "a blob cannot be written");
    let why = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the server's disk is full",
        _ => "the server's disk does not take the bytes",
    };
    Error::unavailable(why).into()
}
