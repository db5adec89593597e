//! Which attempt a worker's directory is of, for a server that starts after this one was killed.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use windlass_core::AttemptNumber;
use windlass_worker::private_files;

/// Name of the file in a worker's directory.
const FILE: &str = "attempt.json";

/// Bytes of the file, whatever it says: one that gets shorter and longer takes the file system longer.
const BYTES: usize = 96;

/// What the file says of no attempt.
const NO_ATTEMPT: &[u8] = b"null";

/// One attempt that was given to a worker.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptRecord {
    pub(crate) job_uid: Uuid,
    pub(crate) attempt: AttemptNumber,
}

impl AttemptRecord {
    /// Writes it into a worker's directory.
    pub(super) fn write(&self, home: &Path) -> io::Result<()> {
        write(home, serde_json::to_vec(self)?)
    }

    /// The worker of this directory has no attempt any more. The file is used again, because file systems take longer
    /// to make and remove one.
    pub(super) fn clear(home: &Path) -> io::Result<()> {
        write(home, NO_ATTEMPT.to_vec())
    }
}

/// Writes what is JSON with and without space after it.
fn write(home: &Path, mut said: Vec<u8>) -> io::Result<()> {
    said.resize(said.len().max(BYTES), b' ');
    private_files::write(&home.join(FILE), &said)
}

/// The attempts that an earlier server has started and not seen the end of, from the directory of
/// all workers' directories.
pub(crate) fn read_all(attempts: &Path) -> io::Result<Vec<AttemptRecord>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(attempts)? {
        match fs::read(entry?.path().join(FILE)) {
            // What cannot be read was being written, or says so: its worker has no order.
            Ok(text) => records.extend(serde_json::from_slice::<AttemptRecord>(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(records)
}
