//! What a function says on stdout and stderr, in a file that is bounded and can be read while it is
//! written: the latest part, and the part before it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Largest part, in bytes. What is kept is between one part and two: the last 512 KiB at least.
const PART_BYTES: u64 = 512 * 1024;

/// A log that is being written.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Log {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::create(path)?, bytes: 0 })
    }

    /// Writes on. A part that is full becomes the part before.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.bytes + bytes.len() as u64 > PART_BYTES && self.bytes > 0 {
            fs::rename(&self.path, before(&self.path))?;
            self.file = File::create(&self.path)?;
            self.bytes = 0;
        }
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// The last `limit` bytes of a log. Empty when there is none.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // The latest part first: one that becomes the part before meanwhile is read twice rather than
    // not at all.
    let latest = tail(path, limit)?;
    let mut bytes = tail(&before(path), limit.saturating_sub(latest.len() as u64))?;
    bytes.extend(latest);
    Ok(bytes)
}

/// Where the part before is.
pub fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".before");
    name.into()
}

fn tail(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(bytes),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_log_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = Log::create(&path).unwrap();
        for number in 0..300_000 {
            log.write(format!("{number:07}\n").as_bytes()).unwrap();
        }
        let kept = read(&path, u64::MAX).unwrap();
        assert!((PART_BYTES..=2 * PART_BYTES).contains(&(kept.len() as u64)), "{}", kept.len());
        assert!(kept.ends_with(b"0299998\n0299999\n"));
        assert_eq!(read(&path, 8).unwrap(), b"0299999\n");
        let lines: Vec<u32> =
            std::str::from_utf8(&kept).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        assert!(lines.is_sorted() && lines.len() == kept.len() / 8);
    }

    #[test]
    fn no_log_is_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(&directory.path().join("log"), 10).unwrap(), b"");
    }
}
