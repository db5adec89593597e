//! The files of a data directory beside the database, and how many bytes they take.
//!
//! `attempts/` is of what runs; results above 32 KiB and logs stay as long as their jobs, and
//! [blobs](crate::blobs) as long as any job that names them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::warn;
use uuid::Uuid;
use windlass_core::AttemptNumber;

use windlass_worker::{
    log_files, private_files, remove_tree, stored_name, unfinished_name, usage_files,
};

use crate::blobs::BlobDirectory;

/// The directories under a data directory.
#[derive(Debug)]
pub(crate) struct DataDir {
    data: PathBuf,
    /// Of results and logs.
    bytes: AtomicU64,
    pub(crate) blobs: Arc<BlobDirectory>,
}

impl DataDir {
    /// Makes what is missing. `is_durable`: a blob waits for the disk.
    pub(crate) fn open(data: &Path, is_durable: bool) -> io::Result<Self> {
        let blobs = Arc::new(BlobDirectory::open(data, is_durable)?);
        let dir = Self { data: data.to_owned(), bytes: AtomicU64::new(0), blobs };
        for directory in [dir.attempts(), dir.results(), dir.logs()] {
            private_files::make_directory(&directory)?;
        }
        Ok(dir)
    }

    /// One directory for each worker.
    pub(crate) fn attempts(&self) -> PathBuf {
        self.data.join("attempts")
    }

    /// Results above 32 KiB.
    pub(crate) fn results(&self) -> PathBuf {
        self.data.join("results")
    }

    fn logs(&self) -> PathBuf {
        self.data.join("logs")
    }

    pub(crate) fn result(&self, location: &str) -> PathBuf {
        self.results().join(location)
    }

    pub(crate) fn log(&self, uid: Uuid, attempt: AttemptNumber) -> PathBuf {
        self.logs().join(stored_name(&uid.to_string(), attempt))
    }

    /// Bytes that results, logs and blobs take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) + self.blobs.bytes()
    }

    /// Counts what an attempt has left. A result that does not count is deleted.
    pub(crate) fn count_attempt(&self, uid: Uuid, attempt: AttemptNumber, result_counts: bool) {
        let result = self.result(&stored_name(&uid.to_string(), attempt));
        self.remove_unfinished(uid, attempt);
        let mut left = said(&self.log(uid, attempt)).map(|path| size(&path)).sum();
        if result_counts {
            left += size(&result);
        } else {
            remove(&result);
        }
        self.bytes.fetch_add(left, Ordering::Relaxed);
    }

    /// Deletes what the attempts of a job have left.
    pub(crate) fn remove_job(&self, uid: Uuid, last: AttemptNumber) {
        for attempt in 1..=last {
            self.remove_unfinished(uid, attempt);
            let result = self.result(&stored_name(&uid.to_string(), attempt));
            for path in said(&self.log(uid, attempt)).chain([result]) {
                let bytes = remove(&path);
                let less = |sum: u64| Some(sum.saturating_sub(bytes));
                self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or(0);
            }
        }
    }

    /// Deletes what the worker of an attempt has left that was killed while it took a result. It counts nowhere, and may be
    /// whatever the function has put there.
    fn remove_unfinished(&self, uid: Uuid, attempt: AttemptNumber) {
        let path = self.result(&unfinished_name(&uid.to_string(), attempt));
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => remove_tree(&path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        if let Err(error) = removed {
            warn!(path = %path.display(), %error, "a file cannot be deleted");
        }
    }

    /// Counts what is there, and deletes what belongs to no job that `known` knows: a server that
    /// was killed may have left it.
    pub(crate) fn remove_orphans(
        &self,
        known: impl Fn(&[Uuid]) -> Option<Vec<bool>>,
    ) -> io::Result<()> {
        for directory in [self.results(), self.logs()] {
            let mut found = Vec::new();
            for entry in fs::read_dir(directory)? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let uid = name.get(..36).and_then(|uid| Uuid::parse_str(uid).ok());
                found.push((path, uid.unwrap_or_default()));
            }
            let uids: Vec<Uuid> = found.iter().map(|(_, uid)| *uid).collect();
            let Some(known) = known(&uids) else { return Ok(()) };
            for ((path, _), known) in found.iter().zip(known) {
                if known {
                    self.bytes.fetch_add(size(path), Ordering::Relaxed);
                } else {
                    remove(path);
                }
            }
        }
        Ok(())
    }
}

/// The files of a log, and of what was used meanwhile.
fn said(log: &Path) -> impl Iterator<Item = PathBuf> {
    log_files(log).into_iter().chain(usage_files(log))
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Deletes a file and says how many bytes it had.
fn remove(path: &Path) -> u64 {
    let bytes = size(path);
    match fs::remove_file(path) {
        Ok(()) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => {
            warn!(path = %path.display(), %error, "a file cannot be deleted");
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_worker_was_taking_goes_with_its_attempt() {
        let place = tempfile::tempdir().unwrap();
        let files = DataDir::open(place.path(), false).unwrap();
        let uid = Uuid::from_u128(1);
        let part = |attempt| files.result(&unfinished_name(&uid.to_string(), attempt));
        let ends: [&dyn Fn(); 3] = [
            &|| files.count_attempt(uid, 1, true),
            &|| files.count_attempt(uid, 1, false),
            &|| files.remove_job(uid, 1),
        ];
        for end in ends {
            fs::write(part(1), "half").unwrap();
            fs::write(part(2), "of another attempt").unwrap();
            end();
            assert!(!part(1).exists() && part(2).exists());
            // A function may have put that there in the last moment.
            fs::create_dir_all(part(1).join("deep")).unwrap();
            end();
            assert!(!part(1).exists());
        }
        assert_eq!(files.bytes(), 0);
    }
}
