//! Writes a backup. The jobs are those of one instant, and their files are read after it: a file that is gone by
//! then belonged to a job that was deleted meanwhile, and that job is left out.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use tracing::warn;
use uuid::Uuid;
use windlass_worker::private_files::open_plain;
use windlass_worker::{log_copies, stored_name, usage_files};

use super::archive::Writer;
use super::{BackupError, Contents, check_whole};
use crate::ownership::{SECRETS, open_secret};
use crate::store::{KeptJob, Snapshot, StoreError, database_path};

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Most bytes of a file of a log, which may grow while it is read.
const MAX_LOG_BYTES: u64 = 4 << 20;

/// Writes what a data directory keeps. `scratch` is a directory of this process in which the database has room.
pub fn backup(data: &Path, scratch: &Path, to: impl Write) -> Result<Contents, BackupError> {
    check_whole(data)?;
    let snapshot = Snapshot::take(data, scratch)?;
    let archive = Writer::begin(BufWriter::with_capacity(BUFFER_BYTES, to));
    let archive = archive.map_err(BackupError::Archive)?;
    let mut files = Files { data, archive, blobs: HashSet::new() };
    let mut deleted = Vec::new();
    snapshot.each_job(|job| {
        let missing = files.add_job(&job)?;
        if snapshot.was_deleted(job.uid)? {
            deleted.push(job.uid);
        } else if let Some(path) = missing {
            warn!(job = job.name, path = %path.display(), "a file of a job is missing, in the backup as well");
        }
        Ok::<_, BackupError>(())
    })?;
    for name in SECRETS {
        files.add_secret(name)?;
    }
    files.end(snapshot, &deleted)
}

/// The files of a data directory on their way into an archive.
struct Files<'a, W: Write> {
    data: &'a Path,
    archive: Writer<W>,
    /// Digests of those that are in the archive: several jobs may name one.
    blobs: HashSet<String>,
}

impl<W: Write> Files<'_, W> {
    /// Adds what a job has outside of the database. Gives what it lacks.
    fn add_job(&mut self, job: &KeptJob) -> Result<Option<PathBuf>, BackupError> {
        let mut missing = None;
        for sha256 in &job.blobs {
            if !self.blobs.contains(sha256) {
                match self.add(&format!("blobs/{sha256}"))? {
                    None => drop(self.blobs.insert(sha256.clone())),
                    lacks => missing = lacks,
                }
            }
        }
        if let Some(location) = &job.result {
            missing = self.add(&format!("results/{location}"))?.or(missing);
        }
        for attempt in 1..=job.attempt {
            self.add_log(job.uid, attempt)?;
        }
        Ok(missing)
    }

    /// Adds a file that does not change. Gives its path where there is none.
    fn add(&mut self, name: &str) -> Result<Option<PathBuf>, BackupError> {
        let path = self.data.join(name);
        let Some((file, bytes)) = open(&path)? else { return Ok(Some(path)) };
        self.archive.add(name, bytes, file).map_err(BackupError::Archive)?;
        Ok(None)
    }

    /// Adds what an attempt has said so far.
    fn add_log(&mut self, uid: Uuid, attempt: u32) -> Result<(), BackupError> {
        let name = format!("logs/{}", stored_name(&uid.to_string(), attempt));
        let log = self.data.join(&name);
        let copies =
            log_copies(&log, MAX_LOG_BYTES).map_err(|error| StoreError::io(&log, error))?;
        for (path, said) in copies {
            self.add_bytes(&path, &said)?;
        }
        for path in usage_files(&log) {
            let Some((file, _)) = open(&path)? else { continue };
            let mut used = Vec::new();
            let read = file.take(MAX_LOG_BYTES).read_to_end(&mut used);
            read.map_err(|error| StoreError::io(&path, error))?;
            self.add_bytes(&path, &used)?;
        }
        Ok(())
    }

    /// Adds what was read of a file of a log.
    fn add_bytes(&mut self, path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
        let name = format!("logs/{}", path.file_name().unwrap_or_default().to_string_lossy());
        self.archive.add(&name, bytes.len() as u64, bytes).map_err(BackupError::Archive)
    }

    /// Adds a secret, which may be a link.
    fn add_secret(&mut self, name: &str) -> Result<(), BackupError> {
        let path = self.data.join(name);
        let io = |error| StoreError::io(&path, error);
        let Some(file) = open_secret(self.data, name).map_err(io)? else { return Ok(()) };
        let bytes = file.metadata().map_err(io)?.len();
        self.archive.add(name, bytes, file).map_err(BackupError::Archive)
    }

    /// Adds the database without jobs that were deleted meanwhile, and ends the archive.
    fn end(mut self, snapshot: Snapshot, deleted: &[Uuid]) -> Result<Contents, BackupError> {
        let database = snapshot.without(deleted)?;
        let path = database_path(Path::new(""));
        let bytes = database.metadata().map_err(|error| StoreError::io(&path, error))?.len();
        let added = self.archive.add(&path.to_string_lossy(), bytes, database);
        added.and_then(|()| self.archive.end()).map_err(BackupError::Archive)
    }
}

/// Opens a file of a data directory and says how long it is. `None` where there is none.
fn open(path: &Path) -> Result<Option<(File, u64)>, StoreError> {
    let io = |error| StoreError::io(path, error);
    match open_plain(path) {
        Ok(Some(file)) => {
            let bytes = file.metadata().map_err(io)?.len();
            Ok(Some((file, bytes)))
        }
        Ok(None) => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(error)),
    }
}
