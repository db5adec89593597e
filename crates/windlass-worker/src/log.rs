//! What a function says on stdout and stderr, in a file that is bounded and can be read while it is
//! written: the latest part, and the part before it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
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

/// Reads a log on while it is written. What is written faster than it is read, by more than a part
/// between two reads, is left out.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
}

impl Follower {
    /// From now on, and the last `limit` bytes of what there is already.
    pub fn start(path: PathBuf, limit: u64) -> io::Result<(Self, Vec<u8>)> {
        let mut file = opened(&path)?;
        let mut said = Vec::new();
        if let Some(file) = &mut file {
            let length = file.metadata()?.len();
            said = tail(&before(&path), limit.saturating_sub(length))?;
            file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
            file.take(length.min(limit)).read_to_end(&mut said)?;
        }
        Ok((Self { path, file }, said))
    }

    /// What was written since the last call, at most `limit` bytes of it; empty when there is nothing.
    pub fn read(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut said = Vec::new();
        loop {
            let Some(file) = &mut self.file else {
                self.file = opened(&self.path)?;
                if self.file.is_none() {
                    return Ok(said);
                }
                continue;
            };
            // Looked at before it is read: a part that has become the part before grows no more.
            let latest = match fs::metadata(&self.path) {
                Ok(latest) => Some((latest.dev(), latest.ino())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            file.take(limit).read_to_end(&mut said)?;
            let read = file.metadata()?;
            if !said.is_empty() || latest.is_none() || latest == Some((read.dev(), read.ino())) {
                return Ok(said);
            }
            self.file = None;
        }
    }
}

fn opened(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the part before is.
pub fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".before");
    name.into()
}

fn tail(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(mut file) = opened(path)? else { return Ok(bytes) };
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
    fn a_log_is_followed_from_part_to_part() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (mut early, said) = Follower::start(path.clone(), 100).unwrap();
        assert_eq!((said, early.read(10).unwrap()), (vec![], vec![]));
        let mut log = Log::create(&path).unwrap();
        log.write(b"first\n").unwrap();
        let (mut late, said) = Follower::start(path, 3).unwrap();
        assert_eq!(said, b"st\n");
        let mut all = vec![early.read(1 << 20).unwrap(), said];
        assert_eq!(all[0], b"first\n");
        for number in 0..200_000 {
            log.write(format!("{number:07}\n").as_bytes()).unwrap();
            if number % 10_000 == 9_999 {
                for (follower, all) in [&mut early, &mut late].into_iter().zip(&mut all) {
                    loop {
                        let said = follower.read(4_096).unwrap();
                        if said.is_empty() {
                            break;
                        }
                        all.extend(said);
                    }
                }
            }
        }
        let expected: String = (0..200_000).map(|number| format!("{number:07}\n")).collect();
        assert!(all[0] == format!("first\n{expected}").as_bytes());
        assert!(all[1] == format!("st\n{expected}").as_bytes());
    }

    #[test]
    fn no_log_is_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(&directory.path().join("log"), 10).unwrap(), b"");
    }
}
