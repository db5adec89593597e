//! What a function says on stdout and stderr, in a file that is bounded and can be read while it is
//! written: the latest part, and the part before it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use windlass_core::log_tail::{LogRange, LogTail, MAX_LOG_BYTES, cut_line};

use crate::log_times::{Stamps, TimesWriter, begin_of, noted, times_of};
use crate::private_files;

/// Largest part, in bytes. What is kept is between one part and two: the last 512 KiB, or the writes of the last
/// half minute where they are more than [a part has times](crate::log_times).
const PART_BYTES: u64 = 512 * 1024;

/// A log that is being written. Its file is made with the first byte: most functions say nothing.
pub(crate) struct RotatingLog {
    path: PathBuf,
    file: Option<(File, TimesWriter)>,
    bytes: u64,
    /// Where in the whole log the part begins.
    begin: u64,
    has_failed: bool,
}

impl RotatingLog {
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), file: None, bytes: 0, begin: 0, has_failed: false }
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
            (self.file, self.begin, self.bytes) = (None, self.begin + self.bytes, 0);
            rename(&times_of(&self.path), &times_of(&previous))?;
        }
        let (file, times) = match &mut self.file {
            Some(part) => part,
            None => {
                let file = private_files::create(&self.path)?;
                let times = TimesWriter::create(&self.path, &file, self.begin)?;
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

/// The end of a log. Empty when there is none. What is there now, and little of what comes while it is read.
pub fn read(path: &Path, range: LogRange) -> io::Result<Vec<u8>> {
    let mut follower = LogFollower::open(path, range)?;
    let (mut end, mut left) = (LogTail::new(range), range.tail.min(2 * PART_BYTES));
    if std::mem::take(&mut follower.is_behind) {
        end.begin_late();
    }
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

/// Reads on in a log while it is written, from part to part.
pub struct LogFollower {
    path: PathBuf,
    /// The part that is read; none while there is no log.
    part: Option<File>,
    /// Where in the whole log it begins, if that is known.
    begin: Option<u64>,
    /// Where each line gets its time.
    stamps: Option<Stamps>,
    /// What was said before what comes next is not there any more, and its reader wants it.
    is_behind: bool,
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
        let mut follower =
            Self { path: path.to_owned(), part: None, begin: None, stamps, is_behind: false };
        if let Some(mut part) = part {
            let is_whole = part.stream_position()? == 0;
            follower.turn_to(part)?;
            follower.is_behind = tail >= MAX_LOG_BYTES && is_whole && follower.begin > Some(0);
        }
        Ok(follower)
    }

    /// Reads this part from now on.
    fn turn_to(&mut self, part: File) -> io::Result<()> {
        self.begin = begin_of(&part, [&self.path, &previous_part(&self.path)])?;
        self.part = Some(part);
        Ok(())
    }

    /// What has come since, at most `most` bytes without their times. Empty when nothing has, for now. A reader that is
    /// slower than two parts are written misses some, and is told so in a line.
    pub fn more(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let (_, bytes) = self.more_with_times(most)?;
        if bytes.is_empty() || !std::mem::take(&mut self.is_behind) {
            return Ok(bytes);
        }
        Ok([cut_line(&bytes, self.stamps.is_some()), bytes].concat())
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
                match open(&self.path)? {
                    Some(part) => self.turn_to(part)?,
                    None => return Ok(Vec::new()),
                }
                continue;
            };
            let bytes = read_up_to(part, most)?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            let Some(next) = self.next_part()? else { return Ok(Vec::new()) };
            let Some(part) = &mut self.part else { return Ok(Vec::new()) };
            // Between the look and the change of parts something may have been written.
            let bytes = read_up_to(part, most)?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            let read = self.begin.zip(Some(part.stream_position()?));
            self.turn_to(next)?;
            // A part between them may be gone.
            let missing =
                read.zip(self.begin).is_some_and(|((begin, length), next)| begin + length < next);
            self.is_behind |= missing;
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

#[cfg(test)]
mod tests;
