//! Which file a path leads to, whatever its name.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Device and number: no two files have the same.
pub(crate) type Inode = (u64, u64);

/// That of the file at this path, through links.
pub(crate) fn inode(path: &Path) -> io::Result<Inode> {
    let found = fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}
