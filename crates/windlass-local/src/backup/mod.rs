//! Backups of a data directory: an archive with its jobs, results, logs, blobs and secrets, as they were at one
//! instant, and a directory that is made of one. The server may run meanwhile.
//!
//! An archive is a tar file. Its first entry says that it is a backup, and its last one has a digest of all the
//! others: what was cut off or changed is not restored. See [`archive`].

mod archive;
mod restore;
mod write;

use std::io;
use std::path::{Path, PathBuf};

pub use restore::restore;
pub use write::backup;

use crate::store::StoreError;

/// In a directory as long as it is not restored to its end.
const UNFINISHED: &str = "restoring";

/// What a backup has, or a directory that was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Files, the database among them.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why there is no backup, or nothing is restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive cannot be written or read.
    #[error("the backup: {0}")]
    Archive(#[source] io::Error),
    /// It is not what `windlass backup` writes, or not all of it.
    #[error("it is no whole backup of windlass: {0}")]
    NotWhole(String),
    /// Only an empty directory is restored into.
    #[error("{} is not empty: a backup is restored into a new directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
}

/// Refuses a directory that was not restored to its end: jobs are missing in it.
pub(crate) fn check_whole(data: &Path) -> Result<(), StoreError> {
    let mark = data.join(UNFINISHED);
    match mark.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(StoreError::HalfRestored { path: data.to_owned() }),
        Err(error) => Err(StoreError::io(&mark, error)),
    }
}
