//! The progress file: lines that the function appends, of which the latest counts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use windlass_core::assignment::RunAs;
use windlass_core::contract::{MAX_PROGRESS_LINE_BYTES, ProgressLine, parse_progress_line};

use crate::private_files;

/// Most that is read at one look; what lies before it is skipped, however long the file has become.
const MAX_READ_BYTES: u64 = 64 * 1024;

/// How much of what was read stays on the disk, at least; what is before it is given back.
const KEPT_BYTES: u64 = 1 << 20;

/// A progress file that is being written.
///
/// It is made before the function starts. A function may replace it by another plain file. One that
/// puts a pipe or a link in its place can make the worker neither wait nor read something else.
pub(crate) struct ProgressFile {
    path: PathBuf,
    file: File,
    /// The user that the function runs as, if that is another.
    user: Option<RunAs>,
    /// Everything before has been read.
    offset: u64,
    /// Everything before is on no disk any more.
    freed: u64,
}

impl ProgressFile {
    /// An empty file of the user that the function runs as, if that is another. It exists from the start, so that a
    /// function may append without creating. One that is there already is used again if it is that user's.
    pub(crate) fn create(path: &Path, user: Option<&RunAs>) -> io::Result<Self> {
        let file = match user {
            Some(_) => match private_files::open_of(user, &mut reading_and_writing(), path) {
                Ok(Some(file)) => private_files::emptied(file)?,
                _ => private_files::replace(path)?,
            },
            None => private_files::create(path)?,
        };
        private_files::give_open(user, &file)?;
        Ok(Self { path: path.to_owned(), file, user: user.cloned(), offset: 0, freed: 0 })
    }

    /// The latest whole line since the last look, if there is one that can be read. A file that
    /// cannot be read tells nothing: progress is never a reason to fail.
    pub(crate) fn latest(&mut self) -> Option<ProgressLine> {
        self.follow();
        let length = self.file.metadata().ok()?.len();
        if length < self.offset {
            // Written anew instead of appended to.
            self.offset = 0;
            self.freed = 0;
        }
        if length == self.offset {
            return None;
        }
        let from = self.offset.max(length.saturating_sub(MAX_READ_BYTES));
        self.file.seek(SeekFrom::Start(from)).ok()?;
        let mut bytes = Vec::new();
        (&self.file).take(MAX_READ_BYTES).read_to_end(&mut bytes).ok()?;
        let newline = |&byte: &u8| byte == b'\n';
        let end = bytes.iter().rposition(newline)?;
        // What was skipped ends inside a line, whose rest could look like another line.
        let start = if from > self.offset { bytes.iter().position(newline)? + 1 } else { 0 };
        self.offset = from + end as u64 + 1;
        self.free();
        bytes
            .get(start..end)?
            .rsplit(newline)
            .filter(|line| line.len() <= MAX_PROGRESS_LINE_BYTES)
            .find_map(|line| parse_progress_line(std::str::from_utf8(line).ok()?))
    }

    /// Goes on with the file that is at the path now, once that is another one of the same user.
    fn follow(&mut self) {
        let inode = |found: &fs::Metadata| (found.dev(), found.ino());
        let (Ok(there), Ok(ours)) = (fs::symlink_metadata(&self.path), self.file.metadata()) else {
            return;
        };
        if inode(&there) != inode(&ours)
            && there.is_file()
            && let Ok(Some(file)) =
                private_files::open_of(self.user.as_ref(), &mut reading_and_writing(), &self.path)
        {
            (self.file, self.offset, self.freed) = (file, 0, 0);
        }
    }

    /// A function that tells its progress all the time fills no disk. Its file keeps its length, so
    /// that it need not know. Where the file system cannot do it, the file just grows.
    fn free(&mut self) {
        let read = self.offset - self.freed;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if read > KEPT_BYTES && fallocate(&self.file, flags, self.freed, read).is_ok() {
            self.freed = self.offset;
        }
    }
}

fn reading_and_writing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_of_somebody_else_is_neither_emptied_nor_given_away() {
        if !rustix::process::geteuid().is_root() {
            println!("not tested: only root can give files away");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let [path, kept] = ["progress", "kept"].map(|name| directory.path().join(name));
        let user = RunAs { user: 4711, group: 4712, name: None, home: None };
        let create = || ProgressFile::create(&path, Some(&user)).unwrap();
        let inode = |file: &File| file.metadata().unwrap().ino();
        let first = inode(&create().file);
        fs::write(&path, "1 2\n").unwrap();
        let again = create().file;
        assert_eq!((inode(&again), again.metadata().unwrap().len()), (first, 0), "its own");
        fs::write(&kept, "secret").unwrap();
        let mut secret = File::open(&kept).unwrap();
        fs::rename(&kept, &path).unwrap();
        let new = create().file;
        assert_eq!((new.metadata().unwrap().uid(), secret.metadata().unwrap().uid()), (4711, 0));
        let mut said = String::new();
        secret.read_to_string(&mut said).unwrap();
        assert_eq!(said, "secret");
    }

    fn file() -> (tempfile::TempDir, std::path::PathBuf, ProgressFile) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("progress");
        let progress = ProgressFile::create(&path, None).unwrap();
        (directory, path, progress)
    }

    #[test]
    fn the_latest_whole_line_counts_and_rubbish_does_not() {
        let (_directory, path, mut progress) = file();
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        assert_eq!(progress.latest(), None);
        file.write_all(b"1 10\n2 10 two\nnonsense\n\xff\xfe\n3 1").unwrap();
        let line = progress.latest().unwrap();
        assert_eq!((line.done, line.total, line.message.as_str()), (2, 10, "two"));
        assert_eq!(progress.latest(), None);
        file.write_all(b"0 three\n").unwrap();
        // The line is whole now: `3 10 three`.
        assert_eq!(progress.latest().unwrap().done, 3);
    }

    #[test]
    fn a_flood_of_lines_costs_one_bounded_read() {
        let (_directory, path, mut progress) = file();
        fs::write(&path, "1 10\n".repeat(1_000_000) + "9 10\n").unwrap();
        assert_eq!(progress.latest().unwrap().done, 9);
        assert_eq!(progress.offset, 5_000_005);
        let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path).unwrap());
        assert!(blocks * 512 <= KEPT_BYTES, "{blocks} blocks of 512 bytes are still there");
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"10 10\n").unwrap();
        assert_eq!(progress.latest().unwrap().done, 10);
    }

    #[test]
    fn the_rest_of_a_skipped_line_is_no_line() {
        let (_directory, path, mut progress) = file();
        // The window begins inside the first line, whose end would read `1 2`.
        let rubbish = "x\n".repeat(MAX_READ_BYTES as usize / 2 - 2);
        fs::write(&path, "77 1 2\n".to_owned() + &rubbish).unwrap();
        assert_eq!(progress.latest(), None);
        fs::write(&path, "x".repeat(300_000)).unwrap();
        assert_eq!(progress.latest(), None, "a line without an end");
    }

    #[test]
    fn a_file_that_is_written_anew_is_read_anew() {
        let (_directory, path, mut progress) = file();
        fs::write(&path, "1 10 the first\n").unwrap();
        assert_eq!(progress.latest().unwrap().done, 1);
        fs::write(&path, "2 10\n").unwrap();
        assert_eq!(progress.latest().unwrap().done, 2);
    }

    #[test]
    fn a_file_that_is_replaced_is_read_on_unless_it_has_another_name() {
        let (directory, path, mut progress) = file();
        fs::write(&path, "1 10 first\n").unwrap();
        assert_eq!(progress.latest().unwrap().done, 1);
        let new = directory.path().join("new");
        for done in [2, 3] {
            fs::write(&new, format!("{done} 10 replaced\n")).unwrap();
            fs::rename(&new, &path).unwrap();
            assert_eq!(progress.latest().map(|line| line.done), Some(done));
            assert_eq!(progress.latest(), None);
        }
        fs::write(&new, "9 10 of somebody else\n").unwrap();
        fs::remove_file(&path).unwrap();
        fs::hard_link(&new, &path).unwrap();
        assert_eq!(progress.latest(), None);
    }

    #[test]
    fn a_pipe_in_the_place_of_the_file_holds_nobody_up() {
        let (_directory, path, mut progress) = file();
        fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(progress.latest(), None);
    }
}
