//! When each line of a log came. The bytes of the log stay what the function wrote: the times are in a
//! file beside each part of it, `LOG.times`.
//!
//! That file has 16 bytes for each write: where in the part it begins, and when it came, in
//! microseconds since 1970. Both are little endian. The first 16 bytes are the number of the part's
//! file (its inode) and where in the whole log the part begins: a part keeps it when it becomes the
//! part before, so no reader takes the times of another part.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::private_files;

const RECORD_BYTES: usize = 16;

/// What the name of a part's times ends in.
const ENDING: &str = "times";

/// Writes that follow each other within so many microseconds share a time.
const PRECISION: i64 = 1_000;

/// Most times of one part. A part that has so many is full.
const MOST: u64 = 32 * 1024;

/// Where the times of a part are.
pub(crate) fn times_of(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(".");
    name.push(ENDING);
    name.into()
}

/// What is noted for the part with this inode, where `candidates` has it.
pub(crate) fn noted(inode: u64, candidates: [&Path; 2]) -> io::Result<Option<Vec<u8>>> {
    let Some(mut file) = PartTimes::open(inode, candidates)?.file else { return Ok(None) };
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Where in the whole log a part begins; `None` where nobody has noted it.
pub(crate) fn begin_of(part: &File, candidates: [&Path; 2]) -> io::Result<Option<u64>> {
    Ok(PartTimes::open(part.metadata()?.ino(), candidates)?.begin)
}

/// Makes the times in a directory of logs that were copied there those of the parts beside them.
pub fn adopt(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension() != Some(OsStr::new(ENDING)) {
            continue;
        }
        let part = fs::symlink_metadata(path.with_extension(""))?;
        // Where it begins stays.
        private_files::open_or_create(&path)?.write_all(&part.ino().to_le_bytes())?;
    }
    Ok(())
}

/// The times of a part that is being written.
pub(crate) struct TimesWriter {
    file: File,
    records: u64,
    /// The last time that was written, in microseconds.
    last: i64,
}

impl TimesWriter {
    /// Of a part that begins there in the whole log.
    pub(crate) fn create(path: &Path, part: &File, begin: u64) -> io::Result<Self> {
        let mut file = private_files::create(&times_of(path))?;
        file.write_all(&record(part.metadata()?.ino(), begin.cast_signed()))?;
        Ok(Self { file, records: 0, last: i64::MIN })
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records >= MOST
    }

    /// Notes that what is written next, at `offset`, comes now. It is noted before it is written, so
    /// that nobody reads a line without its time.
    pub(crate) fn note(&mut self, offset: u64) -> io::Result<()> {
        let now = Timestamp::now().as_microsecond();
        // A clock that is set back is believed.
        if (self.last..self.last.saturating_add(PRECISION)).contains(&now) {
            return Ok(());
        }
        self.file.write_all(&record(offset, now))?;
        (self.records, self.last) = (self.records + 1, now);
        Ok(())
    }
}

fn record(first: u64, second: i64) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    bytes
}

/// Puts the time before each line of a log that is read from its parts in their order.
#[derive(Default)]
pub(crate) struct Stamps {
    part: Option<PartTimes>,
    is_inside_line: bool,
}

impl Stamps {
    /// `bytes` were read from `part` and begin at `offset`; `candidates` are where the part may be.
    pub(crate) fn stamp(
        &mut self,
        (part, offset): (&File, u64),
        candidates: [&Path; 2],
        bytes: &[u8],
    ) -> io::Result<Vec<u8>> {
        let inode = part.metadata()?.ino();
        if self.part.as_ref().is_none_or(|times| times.inode != inode) {
            self.part = Some(PartTimes::open(inode, candidates)?);
        }
        let Some(times) = &mut self.part else { return Ok(bytes.to_vec()) };
        times.read_on()?;
        let (mut stamped, mut at) = (Vec::new(), offset);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.is_inside_line {
                let time = match times.at(at) {
                    Some(time) => time,
                    // A version that kept no times wrote it: no line came later.
                    None => Timestamp::try_from(part.metadata()?.modified()?)
                        .map_err(io::Error::other)?,
                };
                write!(stamped, "{time:.6} ")?;
            }
            stamped.extend_from_slice(line);
            self.is_inside_line = !line.ends_with(b"\n");
            at += line.len() as u64;
        }
        Ok(stamped)
    }
}

/// The times of the part that is read.
struct PartTimes {
    inode: u64,
    /// Where in the whole log it begins.
    begin: Option<u64>,
    /// None where there are no times of this part.
    file: Option<File>,
    /// Those that may still be asked for, and where what came then begins.
    records: VecDeque<(u64, Timestamp)>,
}

impl PartTimes {
    /// The latest part first: its times become those of the part before, and never the other way round.
    fn open(inode: u64, candidates: [&Path; 2]) -> io::Result<Self> {
        let mut found = None;
        for path in candidates {
            let mut file = match private_files::open_plain(&times_of(path)) {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut first = Vec::new();
            (&mut file).take(RECORD_BYTES as u64).read_to_end(&mut first)?;
            if let Some((number, rest)) = first.split_first_chunk()
                && u64::from_le_bytes(*number) == inode
            {
                found = Some((file, rest.try_into().map_or(0, u64::from_le_bytes)));
                break;
            }
        }
        let (file, begin) = found.unzip();
        Ok(Self { inode, begin, file, records: VecDeque::new() })
    }

    /// Reads what was noted since.
    fn read_on(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        for record in bytes.chunks_exact(RECORD_BYTES) {
            let (offset, time) = record.split_at(8);
            let offset = u64::from_le_bytes(offset.try_into().map_err(io::Error::other)?);
            let time = i64::from_le_bytes(time.try_into().map_err(io::Error::other)?);
            let time = Timestamp::from_microsecond(time).map_err(io::Error::other)?;
            self.records.push_back((offset, time));
        }
        Ok(())
    }

    /// When what is at `offset` came. Offsets only rise.
    fn at(&mut self, offset: u64) -> Option<Timestamp> {
        while self.records.get(1).is_some_and(|(next, _)| *next <= offset) {
            self.records.pop_front();
        }
        self.records.front().filter(|(first, _)| *first <= offset).map(|(_, time)| *time)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};

    use windlass_core::log_tail::LogRange;

    use super::*;
    use crate::log::{LogFollower, RotatingLog, copies, files, read};

    const TIMED: LogRange = LogRange { tail: u64::MAX, timestamps: true };

    /// The times and the lines of a log with times.
    fn lines(log: &[u8]) -> Vec<(Timestamp, String)> {
        let text = String::from_utf8(log.to_vec()).unwrap();
        let line = |line: &str| {
            let (time, rest) = line.split_once(' ').unwrap();
            assert_eq!(time.len(), "2026-01-02T03:04:05.678901Z".len(), "{line}");
            (time.parse().unwrap(), rest.to_owned())
        };
        text.lines().map(line).collect()
    }

    /// Waits until the clock shows another time than the last that was noted, which was no later than this.
    fn later_than(time: Timestamp) -> Timestamp {
        loop {
            let now = Timestamp::now();
            if now.as_microsecond() > time.as_microsecond() + PRECISION {
                return now;
            }
        }
    }

    /// An empty log that is followed with times.
    struct FollowedLog {
        _directory: tempfile::TempDir,
        path: PathBuf,
        log: RotatingLog,
        follower: LogFollower,
    }

    impl FollowedLog {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log");
            let log = RotatingLog::at(&path);
            let follower = LogFollower::open(&path, TIMED).unwrap();
            Self { _directory: directory, path, log, follower }
        }
    }

    #[test]
    fn each_line_has_the_time_at_which_its_first_byte_came() {
        let FollowedLog { _directory, path, mut log, mut follower } = FollowedLog::new();
        let (mut heard, mut begun, mut written) = (Vec::new(), Vec::new(), Timestamp::now());
        for piece in ["one\ntwo\nth", "ree", " and\n", "\n", "four"] {
            begun.push(later_than(written));
            log.write(piece.as_bytes()).unwrap();
            written = Timestamp::now();
            heard.extend(follower.more(1_000).unwrap());
        }
        begun.push(written);
        let told = lines(&heard);
        let texts: Vec<&str> = told.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["one", "two", "three and", "", "four"]);
        for ((time, text), piece) in told.iter().zip([0, 0, 0, 3, 4]) {
            let (least, most) = (begun[piece].as_microsecond(), begun[piece + 1].as_microsecond());
            assert!((least..=most).contains(&time.as_microsecond()), "{text}: {time}, {begun:?}");
        }
        assert_eq!(read(&path, TIMED).unwrap(), heard);
        // The bytes of the log are those of the function.
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\nthree and\n\nfour");
        // Of an end there are whole lines.
        let end = LogRange { tail: 40, timestamps: true };
        assert_eq!(lines(&read(&path, end).unwrap()), told[4..]);
    }

    #[test]
    fn times_stay_with_their_part_and_are_bounded() {
        let FollowedLog { _directory, path, mut log, mut follower } = FollowedLog::new();
        let mut heard = Vec::new();
        let line = [b"x".repeat(9_999), b"\n".to_vec()].concat();
        for _ in 0..150 {
            log.write(&line).unwrap();
            heard.extend(follower.more(3_000).unwrap());
        }
        while let more @ [_, ..] = &follower.more(3_000).unwrap()[..] {
            heard.extend(more);
        }
        let told = lines(&heard);
        assert!(told.len() == 150 && told.is_sorted(), "{}", told.len());
        let kept = lines(&read(&path, TIMED).unwrap());
        // The first says that there were others.
        assert!(told.ends_with(&kept[1..]) && kept.len() > 50, "{}", kept.len());
        assert!(files(&path).iter().all(|file| file.exists()));
        // A part whose times are full is full.
        let mut times = TimesWriter::create(&path, &File::open(&path).unwrap(), 0).unwrap();
        times.records = MOST;
        assert!(times.is_full());
    }

    #[test]
    fn a_copy_of_a_log_has_its_parts_and_their_times_also_when_one_becomes_the_part_before() {
        let FollowedLog { _directory, path, mut log, .. } = FollowedLog::new();
        let line = [b"x".repeat(9_999), b"\n".to_vec()].concat();
        for written in 1..150 {
            later_than(Timestamp::now());
            log.write(&line).unwrap();
            if written % 49 > 0 {
                continue;
            }
            let told = read(&path, TIMED).unwrap();
            let copy = tempfile::tempdir().unwrap();
            for (name, bytes) in copies(&path, u64::MAX).unwrap() {
                fs::write(copy.path().join(name.file_name().unwrap()), bytes).unwrap();
            }
            adopt(copy.path()).unwrap();
            assert!(read(&copy.path().join("log"), TIMED).unwrap() == told, "{written}");
        }
    }

    /// The numbers of the whole lines of a copy.
    fn numbers(copied: Vec<(PathBuf, Vec<u8>)>) -> Vec<u64> {
        let parts = copied.into_iter().rev();
        let parts = parts.filter(|(name, _)| name.extension() != Some(OsStr::new(ENDING)));
        let text = String::from_utf8(parts.flat_map(|(_, bytes)| bytes).collect()).unwrap();
        let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        whole.map(|line| line.parse().unwrap()).collect()
    }

    #[test]
    fn a_copy_beside_a_writer_lacks_nothing_between_its_first_and_its_last_line() {
        let FollowedLog { _directory, path, mut log, .. } = FollowedLog::new();
        let over = AtomicBool::new(false);
        let copied: Vec<_> = std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    log.write(format!("{number:050000}\n").as_bytes()).unwrap();
                }
            });
            let copied = (0..200).map(|_| copies(&path, u64::MAX).map(numbers)).collect();
            over.store(true, Ordering::Relaxed);
            copied
        });
        for numbers in copied {
            let numbers = numbers.unwrap();
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
        }
    }

    #[test]
    fn lines_of_a_log_without_times_came_no_later_than_its_last_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        RotatingLog::at(&path).write(b"old\nlog\n").unwrap();
        let written =
            Timestamp::try_from(fs::metadata(&path).unwrap().modified().unwrap()).unwrap();
        for replace in [false, true] {
            fs::remove_file(times_of(&path)).unwrap();
            if replace {
                // Of another part.
                TimesWriter::create(&path, &File::open(directory.path()).unwrap(), 0).unwrap();
            } else {
                fs::write(times_of(&path), "").unwrap();
            }
            let told = lines(&read(&path, TIMED).unwrap());
            assert_eq!(told.len(), 2);
            for (time, _) in told {
                assert_eq!(time.as_microsecond(), written.as_microsecond());
            }
        }
    }
}
