//! What a function says on stdout and stderr, in a file that is bounded and can be read while it is
//! written: the latest part, and the part before it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use windlass_core::log_tail::{LogRange, LogTail};

use crate::log_times::{Stamps, TimesWriter, noted, times_of};
use crate::private_files;

/// Largest part, in bytes. What is kept is between one part and two: the last 512 KiB, or the writes of the last
/// half minute where they are more than [a part has times](crate::log_times).
const PART_BYTES: u64 = 512 * 1024;

/// A log that is being written. Its file is made with the first byte: most functions say nothing.
pub(crate) struct RotatingLog {
    path: PathBuf,
    file: Option<(File, TimesWriter)>,
    bytes: u64,
    has_failed: bool,
}

impl RotatingLog {
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), file: None, bytes: 0, has_failed: false }
    }

    /// Writes on. Only the first error is returned, so that it is told once: a log is no reason to fail.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.append(bytes) {
            Err(error) if !self.has_failed => {
                self.has_failed = true;
                Err(io::Error::new(error.kind(), format!("{}: {error}", self.path.display())))
            }
            _ => Ok(()),
        }
    }

    /// A part that is full becomes the part before.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let times_are_full = self.file.as_ref().is_some_and(|(_, times)| times.is_full());
        let is_full = times_are_full || self.bytes + bytes.len() as u64 > PART_BYTES;
        if is_full && self.bytes > 0 {
            let previous = previous_part(&self.path);
            rename(&self.path, &previous)?;
            (self.file, self.bytes) = (None, 0);
            rename(&times_of(&self.path), &times_of(&previous))?;
        }
        let (file, times) = match &mut self.file {
            Some(part) => part,
            None => {
                let file = private_files::create(&self.path)?;
                let times = TimesWriter::create(&self.path, &file)?;
                self.file.insert((file, times))
            }
        };
        times.note(self.bytes)?;
        file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// What somebody has deleted is made anew, and needs no other name.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The end of a log. Empty when there is none.
pub fn read(path: &Path, range: LogRange) -> io::Result<Vec<u8>> {
    if range.timestamps { read_with_times(path, range) } else { read_bytes(path, range.tail) }
}

/// What is there now, and not what comes while it is read.
fn read_with_times(path: &Path, range: LogRange) -> io::Result<Vec<u8>> {
    let mut follower = LogFollower::open(path, range)?;
    let (mut end, mut left) = (LogTail::new(range), range.tail.min(2 * PART_BYTES));
    while left > 0 {
        let before = left;
        let (bytes, stamped) = follower.more_with_times(left.min(PART_BYTES) as usize)?;
        left -= bytes;
        end.push(&stamped);
        if left == before {
            break;
        }
    }
    Ok(end.into_bytes())
}

fn read_bytes(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // The latest part first: one that becomes the part before meanwhile is read twice rather than
    // not at all.
    let latest = tail(path, limit)?;
    let mut bytes = tail(&previous_part(path), limit.saturating_sub(latest.len() as u64))?;
    bytes.extend(latest);
    Ok(bytes)
}

/// Reads on in a log while it is written, from part to part.
pub struct LogFollower {
    path: PathBuf,
    /// The part that is read; none while there is no log.
    part: Option<File>,
    /// Where each line gets its time.
    stamps: Option<Stamps>,
}

impl LogFollower {
    /// From the end of what is there. With times a first line that is cut has the time of what is left of it.
    pub fn open(path: &Path, range: LogRange) -> io::Result<Self> {
        let tail = range.tail;
        let latest = open(path)?;
        let length = latest.as_ref().map_or(Ok(0), length)?;
        let earlier = match tail.checked_sub(length) {
            Some(more) if more > 0 => open(&previous_part(path))?.map(|part| (part, more)),
            _ => None,
        };
        let same = |a: &File, b: &File| Ok::<_, io::Error>(inode(a)? == inode(b)?);
        let part = match (earlier, latest) {
            // It has become the part before since it was opened.
            (Some((part, _)), Some(latest)) if same(&part, &latest)? => {
                Some(seek_to_tail(latest, tail)?)
            }
            (Some((part, more)), _) => Some(seek_to_tail(part, more)?),
            (None, Some(latest)) => Some(seek_to_tail(latest, tail)?),
            (None, None) => None,
        };
        let stamps = range.timestamps.then(Stamps::default);
        Ok(Self { path: path.to_owned(), part, stamps })
    }

    /// What has come since, at most `most` bytes without their times. Empty when nothing has, for now. A reader that is
    /// slower than two parts are written misses some.
    pub fn more(&mut self, most: usize) -> io::Result<Vec<u8>> {
        self.more_with_times(most).map(|(_, bytes)| bytes)
    }

    /// The same, and how many bytes it is without the times.
    fn more_with_times(&mut self, most: usize) -> io::Result<(u64, Vec<u8>)> {
        let bytes = self.next_bytes(most)?;
        let length = bytes.len() as u64;
        let (Some(stamps), Some(part)) = (&mut self.stamps, &mut self.part) else {
            return Ok((length, bytes));
        };
        let begin = part.stream_position()? - length;
        let candidates = [self.path.as_path(), &previous_part(&self.path)];
        Ok((length, stamps.stamp((part, begin), candidates, &bytes)?))
    }

    fn next_bytes(&mut self, most: usize) -> io::Result<Vec<u8>> {
        loop {
            let Some(part) = &mut self.part else {
                self.part = open(&self.path)?;
                match &self.part {
                    Some(_) => continue,
                    None => return Ok(Vec::new()),
                }
            };
            let bytes = read_up_to(part, most)?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            let Some(next) = self.next_part()? else { return Ok(Vec::new()) };
            // Between the look and the change of parts something may have been written.
            if let Some(part) = &mut self.part {
                let bytes = read_up_to(part, most)?;
                if !bytes.is_empty() {
                    return Ok(bytes);
                }
            }
            self.part = Some(next);
        }
    }

    /// The part after the one that is read, where there is one.
    fn next_part(&self) -> io::Result<Option<File>> {
        let (Some(part), Some(latest)) = (&self.part, open(&self.path)?) else { return Ok(None) };
        if inode(&latest)? == inode(part)? {
            return Ok(None);
        }
        match open(&previous_part(&self.path))? {
            // The one that is read is gone already: this one came after it.
            Some(earlier) if inode(&earlier)? != inode(part)? => Ok(Some(earlier)),
            _ => Ok(Some(latest)),
        }
    }
}

/// A part, unless there is none or a function has put something else in its place.
fn open(path: &Path) -> io::Result<Option<File>> {
    match private_files::open_plain(path) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn length(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

fn inode(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.ino())
}

/// Goes to the last `tail` bytes.
fn seek_to_tail(mut file: File, tail: u64) -> io::Result<File> {
    let start = length(&file)?.saturating_sub(tail);
    file.seek(SeekFrom::Start(start))?;
    Ok(file)
}

fn read_up_to(file: &mut File, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// All files that a log may have.
pub fn files(path: &Path) -> [PathBuf; 4] {
    let previous = previous_part(path);
    [times_of(&previous), times_of(path), previous, path.to_owned()]
}

/// Copies of the files of a log as they are now, under their paths. `most` bytes of a part, at most.
pub fn copies(path: &Path, most: u64) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let previous = previous_part(path);
    let candidates = [path, previous.as_path()];
    let mut copies = Vec::new();
    for (name, part) in candidates.into_iter().zip(parts(candidates)?) {
        let Some(part) = part else { continue };
        let mut said = Vec::new();
        (&part).take(most).read_to_end(&mut said)?;
        copies.push((name.to_owned(), said));
        // After its bytes: what was said has its times already.
        if let Some(times) = noted(inode(&part)?, candidates)? {
            copies.push((times_of(name), times));
        }
    }
    Ok(copies)
}

/// The latest part and the one before it, at one instant: none has taken the place of another meanwhile.
fn parts([path, previous]: [&Path; 2]) -> io::Result<[Option<File>; 2]> {
    let number = |part: &Option<File>| part.as_ref().map(inode).transpose();
    loop {
        let parts = [open(path)?, open(previous)?];
        if number(&open(path)?)? == number(&parts[0])? {
            return Ok(parts);
        }
    }
}

/// Where the part before is.
fn previous_part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".before");
    name.into()
}

fn tail(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(mut file) = open(path)? else { return Ok(bytes) };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit)))?;
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(tail: u64) -> LogRange {
        LogRange { tail, timestamps: false }
    }

    #[test]
    fn the_end_of_a_long_log_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = RotatingLog::at(&path);
        for number in 0..300_000 {
            log.write(format!("{number:07}\n").as_bytes()).unwrap();
        }
        let kept = read(&path, plain(u64::MAX)).unwrap();
        assert!((PART_BYTES..=2 * PART_BYTES).contains(&(kept.len() as u64)), "{}", kept.len());
        assert!(kept.ends_with(b"0299998\n0299999\n"));
        assert_eq!(read(&path, plain(8)).unwrap(), b"0299999\n");
        let lines: Vec<u32> =
            std::str::from_utf8(&kept).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        assert!(lines.is_sorted() && lines.len() == kept.len() / 8);
    }

    #[test]
    fn a_log_that_somebody_has_deleted_goes_on_with_its_next_part() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = RotatingLog::at(&path);
        log.write(b"deleted\n").unwrap();
        for gone in [&path, &times_of(&path)] {
            fs::remove_file(gone).unwrap();
        }
        log.write(&vec![b'-'; PART_BYTES as usize]).unwrap();
        log.write(b"kept\n").unwrap();
        assert!(read(&path, plain(5)).unwrap() == b"kept\n");
    }

    /// Numbers from `from` on, eight bytes each.
    fn lines(from: u32, to: u32) -> Vec<u8> {
        (from..to).flat_map(|number| format!("{number:07}\n").into_bytes()).collect()
    }

    fn read_all(follower: &mut LogFollower) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let piece = follower.more(1_000).unwrap();
            if piece.is_empty() {
                return all;
            }
            assert!(piece.len() <= 1_000);
            all.extend(piece);
        }
    }

    #[test]
    fn a_follower_hears_everything_from_part_to_part() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut early = LogFollower::open(&path, plain(0)).unwrap();
        assert!(read_all(&mut early).is_empty());
        let mut log = RotatingLog::at(&path);
        let (mut read_back, mut written) = (Vec::new(), 0);
        // Over several parts, in steps that are no divisor of one.
        while written < 300_000 {
            for number in written..written + 7_001 {
                log.write(&lines(number, number + 1)).unwrap();
            }
            written += 7_001;
            read_back.extend(read_all(&mut early));
        }
        assert!(read_back == lines(0, written), "{} bytes of {}", read_back.len(), written * 8);
        // Later ones hear the end first: of the latest part, and of both.
        for tail in [0, 8, PART_BYTES] {
            let mut late = LogFollower::open(&path, plain(tail)).unwrap();
            assert!(read_all(&mut late) == lines(written - (tail / 8) as u32, written), "{tail}");
            assert!(read_all(&mut late).is_empty());
        }
    }

    #[test]
    fn a_follower_that_is_two_parts_late_goes_on_with_what_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = RotatingLog::at(&path);
        log.write(b"first\n").unwrap();
        let mut late = LogFollower::open(&path, plain(0)).unwrap();
        let part = vec![b'x'; PART_BYTES as usize];
        for _ in 0..3 {
            log.write(&part).unwrap();
        }
        log.write(b"last\n").unwrap();
        let read_back = read_all(&mut late);
        assert!(read_back.ends_with(b"xlast\n") && read_back.len() == PART_BYTES as usize + 5);
    }

    #[test]
    fn a_log_that_cannot_be_written_says_so_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = RotatingLog::at(directory.path().join("missing/log"));
        let error = log.write(b"1").unwrap_err();
        assert!(error.to_string().contains("missing/log"), "{error}");
        log.write(b"2").unwrap();
        // It is tried anew each time.
        fs::create_dir(directory.path().join("missing")).unwrap();
        log.write(b"3").unwrap();
        assert_eq!(fs::read(directory.path().join("missing/log")).unwrap(), b"3");
    }

    #[test]
    fn no_log_is_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(&directory.path().join("log"), plain(10)).unwrap(), b"");
    }
}
