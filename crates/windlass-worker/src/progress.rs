//! The progress file: lines that the function appends, of which the latest counts.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use windlass_core::contract::{MAX_PROGRESS_LINE_BYTES, ProgressLine, parse_progress_line};

/// Most that is read at one look; what lies before it is skipped, however long the file has become.
const MAX_READ_BYTES: u64 = 64 * 1024;

/// A progress file that is being written.
pub(crate) struct ProgressFile {
    path: PathBuf,
    /// Everything before has been read.
    offset: u64,
}

impl ProgressFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// The latest whole line since the last look, if there is one that can be read. A file that
    /// cannot be read tells nothing: progress is never a reason to fail.
    pub(crate) fn latest(&mut self) -> Option<ProgressLine> {
        let mut file = File::open(&self.path).ok()?;
        let length = file.metadata().ok()?.len();
        if length <= self.offset {
            return None;
        }
        let from = self.offset.max(length.saturating_sub(MAX_READ_BYTES));
        file.seek(SeekFrom::Start(from)).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_READ_BYTES).read_to_end(&mut bytes).ok()?;
        let end = bytes.iter().rposition(|&byte| byte == b'\n')?;
        self.offset = from + end as u64 + 1;
        bytes[..end]
            .rsplit(|&byte| byte == b'\n')
            .filter(|line| line.len() <= MAX_PROGRESS_LINE_BYTES)
            .find_map(|line| parse_progress_line(std::str::from_utf8(line).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_latest_whole_line_counts_and_rubbish_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("progress");
        let mut file = File::create(&path).unwrap();
        let mut progress = ProgressFile::new(path);
        assert_eq!(progress.latest(), None);
        file.write_all(b"1 10\n2 10 two\nnonsense\n\xff\xfe\n3 1").unwrap();
        let line = progress.latest().unwrap();
        assert_eq!((line.done, line.total, line.message.as_str()), (2, 10, "two"));
        assert_eq!(progress.latest(), None);
        file.write_all(b"0 three\n").unwrap();
        assert_eq!(progress.latest().unwrap().done, 3);
    }

    #[test]
    fn a_flood_of_lines_costs_one_bounded_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("progress");
        std::fs::write(&path, "1 10\n".repeat(1_000_000) + "9 10\n").unwrap();
        let mut progress = ProgressFile::new(path);
        assert_eq!(progress.latest().unwrap().done, 9);
        assert_eq!(progress.offset, 5_000_005);
    }
}
