//! How much of the disk an attempt's own directory takes.
//!
//! Looked at in pieces, so that a function with a million files does not hold up its worker. A file that is open
//! and has no name any more is not seen, nor is what a function writes elsewhere.

use std::fs::{self, ReadDir};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Entries that are looked at in one piece.
const PIECE: usize = 500;

/// From the end of one look to the begin of the next.
const PAUSE: Duration = Duration::from_secs(1);

/// The unit in which the kernel counts what a file takes.
const BLOCK_BYTES: u64 = 512;

/// Watches the directory of an attempt.
pub(crate) struct DiskWatch {
    work: PathBuf,
    most: Option<u64>,
    look: Look,
    next: Instant,
}

/// A look that is under way.
#[derive(Default)]
struct Look {
    bytes: u64,
    unread: Vec<PathBuf>,
    open: Option<ReadDir>,
}

impl DiskWatch {
    /// Of the attempt whose directory this is, with the most that it may take.
    pub(crate) fn new(work: &Path, most: Option<u64>) -> Self {
        Self { work: work.to_owned(), most, look: Look::default(), next: Instant::now() }
    }

    /// How much it takes at least, in bytes, once that is found to be more than it may. To be called again and again.
    pub(crate) fn exceeded(&mut self) -> Option<u64> {
        let most = self.most?;
        if self.look.is_over() {
            if Instant::now() < self.next {
                return None;
            }
            self.look = Look { unread: vec![self.work.clone()], ..Look::default() };
        }
        for _ in 0..PIECE {
            if !self.look.step() {
                self.next = Instant::now() + PAUSE;
                break;
            }
        }
        (self.look.bytes > most).then_some(self.look.bytes)
    }
}

impl Look {
    fn is_over(&self) -> bool {
        self.unread.is_empty() && self.open.is_none()
    }

    /// Looks at the next entry. False when there is none. What goes away meanwhile takes nothing.
    fn step(&mut self) -> bool {
        let Some(open) = &mut self.open else {
            let Some(directory) = self.unread.pop() else { return false };
            self.open = fs::read_dir(directory).ok();
            return true;
        };
        let Some(entry) = open.next() else {
            self.open = None;
            return true;
        };
        // Of the entry itself: a link leads elsewhere.
        if let Ok(entry) = entry
            && let Ok(found) = entry.metadata()
        {
            // One file may have many names.
            self.bytes += found.blocks() * BLOCK_BYTES / found.nlink().max(1);
            if found.is_dir() {
                self.unread.push(entry.path());
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(watch: &mut DiskWatch) -> Option<u64> {
        for _ in 0..100 {
            if let Some(bytes) = watch.exceeded() {
                return Some(bytes);
            }
        }
        None
    }

    #[test]
    fn what_lies_anywhere_below_counts_once() {
        let here = tempfile::tempdir().unwrap();
        let deep = here.path().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("large"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(deep.join("large"), here.path().join("second-name")).unwrap();
        std::os::unix::fs::symlink(&deep, here.path().join("link")).unwrap();
        let watch = |most| DiskWatch::new(here.path(), most);
        let bytes = found(&mut watch(Some(1 << 19))).unwrap();
        assert!(bytes > 1 << 19, "{bytes}");
        assert_eq!(found(&mut watch(Some((1 << 20) + (1 << 17)))), None);
        assert_eq!(found(&mut watch(None)), None);
    }

    #[test]
    fn many_files_are_looked_at_in_pieces() {
        let here = tempfile::tempdir().unwrap();
        for number in 0..3 * PIECE {
            fs::write(here.path().join(number.to_string()), b"x").unwrap();
        }
        let mut watch = DiskWatch::new(here.path(), Some(u64::MAX));
        assert_eq!(watch.exceeded(), None);
        assert!(!watch.look.is_over());
        let pieces = 1
            + (1..100)
                .take_while(|_| {
                    watch.exceeded();
                    !watch.look.is_over()
                })
                .count();
        assert_eq!(pieces, 3, "and the directory itself");
    }
}
