//! Blobs of a data directory: a file for each, which has its digest as its name.
//!
//! Nothing counts who needs a blob. Every minute those that nobody has sent or named for an hour are held against
//! the jobs that are there. The time of that is the file's modification time, so that it outlives the server.

mod upload;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use tracing::warn;
use uuid::Uuid;
use windlass_core::blob::is_sha256;
use windlass_core::{Error, strict_json};
use windlass_worker::private_files;

pub(crate) use upload::{Upload, not_written};

/// How long a blob is kept that no job needs.
pub(crate) const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// The blobs of a data directory.
#[derive(Debug)]
pub(crate) struct BlobDirectory {
    directory: PathBuf,
    /// What is written waits for the disk.
    is_durable: bool,
    known: Mutex<HashMap<String, KnownBlob>>,
    /// Held by whoever looks whether a blob is JSON.
    checks: Mutex<()>,
    /// Of all blobs, and of those that are on their way.
    bytes: AtomicU64,
}

#[derive(Clone, Debug)]
struct KnownBlob {
    bytes: u64,
    /// When it was last sent, or named by a new job.
    used: Timestamp,
    /// Whether it keeps the rule for JSON, or why not, once somebody has looked.
    json: Option<Result<(), String>>,
}

impl BlobDirectory {
    /// Makes what is missing, finds what is there, and deletes what an earlier server has left half written.
    pub(crate) fn open(data: &Path, is_durable: bool) -> io::Result<Self> {
        let directory = data.join("blobs");
        let new = directory.join("new");
        private_files::make_directory(&new)?;
        for entry in fs::read_dir(&new)? {
            fs::remove_file(entry?.path())?;
        }
        let (mut known, mut bytes) = (HashMap::new(), 0);
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let found = entry.metadata()?;
            if is_sha256(&name) && found.is_file() {
                let used = Timestamp::try_from(found.modified()?).unwrap_or(Timestamp::MIN);
                bytes += found.len();
                known.insert(name, KnownBlob { bytes: found.len(), used, json: None });
            }
        }
        let (known, checks) = (Mutex::new(known), Mutex::default());
        Ok(Self { directory, is_durable, known, checks, bytes: AtomicU64::new(bytes) })
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The file of a blob.
    pub(crate) fn path(&self, sha256: &str) -> PathBuf {
        self.directory.join(sha256)
    }

    /// The length of a blob that is there.
    #[cfg(test)]
    pub(crate) fn length(&self, sha256: &str) -> Option<u64> {
        self.lock().get(sha256).map(|blob| blob.bytes)
    }

    /// The length of a blob that is there, and stays for another hour.
    pub(crate) fn hold(&self, sha256: &str, now: Timestamp) -> io::Result<Option<u64>> {
        let mut known = self.lock();
        let Some(blob) = known.get_mut(sha256) else { return Ok(None) };
        match File::open(self.path(sha256)) {
            Ok(file) => file.set_modified(SystemTime::from(now))?,
            // Somebody has deleted it by hand.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.subtract(blob.bytes);
                known.remove(sha256);
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        blob.used = blob.used.max(now);
        Ok(Some(blob.bytes))
    }

    /// Why a blob that should be JSON is none; `None` when it keeps the rule.
    pub(crate) fn json_problem(&self, sha256: &str) -> io::Result<Option<String>> {
        let known = || self.lock().get(sha256).and_then(|blob| blob.json.clone());
        if let Some(json) = known() {
            return Ok(json.err());
        }
        // One at a time: a large one takes a thread for seconds.
        let _one = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(json) = known() {
            return Ok(json.err());
        }
        let problem = strict_json::problem(BufReader::new(File::open(self.path(sha256))?))?;
        if let Some(blob) = self.lock().get_mut(sha256) {
            blob.json = Some(problem.clone().map_or(Ok(()), Err));
        }
        Ok(problem)
    }

    /// Deletes blobs that nobody has used for an hour and that no job needs. How many those were.
    pub(crate) fn collect(
        &self,
        now: Timestamp,
        needed: impl FnOnce() -> Result<HashSet<String>, Error>,
    ) -> Result<usize, Error> {
        let is_old = |blob: &KnownBlob| now.duration_since(blob.used) >= KEPT;
        let old: Vec<String> = {
            let known = self.lock();
            known.iter().filter(|(_, blob)| is_old(blob)).map(|(name, _)| name.clone()).collect()
        };
        if old.is_empty() {
            return Ok(0);
        }
        let needed = needed()?;
        let mut deleted = 0;
        for name in old.iter().filter(|name| !needed.contains(*name)) {
            let mut known = self.lock();
            // Somebody may have used it meanwhile.
            let Some(blob) = known.get(name).filter(|blob| is_old(blob)) else { continue };
            let bytes = blob.bytes;
            // Its name first, and its bytes when nobody waits: of a large file that takes a while.
            let old = self.directory.join("new").join(Uuid::new_v4().simple().to_string());
            match fs::rename(self.path(name), &old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    warn!(%error, blob = %name, "a blob cannot be deleted");
                    continue;
                }
                renamed => {
                    known.remove(name);
                    self.subtract(bytes);
                    deleted += 1;
                    drop(known);
                    if renamed.is_ok()
                        && let Err(error) = fs::remove_file(&old)
                    {
                        warn!(%error, blob = %name, "the bytes of a blob cannot be deleted");
                    }
                }
            }
        }
        Ok(deleted)
    }

    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, KnownBlob>> {
        // Each change under this lock is one of the map, so that a panic leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
