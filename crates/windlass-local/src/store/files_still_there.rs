//! Whether the files of an open database are still where they were: what is written to a file that was
//! removed is gone.

use std::io;
use std::path::{Path, PathBuf};

use crate::inode::{Inode, inode};

/// The files of an open database.
pub(super) struct OpenFiles(Vec<(PathBuf, Inode)>);

impl OpenFiles {
    /// Of the database that this process has just opened: itself, its log and its index. They are not
    /// opened again, because closing one would drop this process's locks on it.
    pub(super) fn of_database(database: &Path) -> io::Result<Self> {
        let files = ["", "-wal", "-shm"].map(|suffix| {
            let mut path = database.as_os_str().to_owned();
            path.push(suffix);
            let path = PathBuf::from(path);
            let inode = inode(&path)?;
            Ok((path, inode))
        });
        Ok(Self(files.into_iter().collect::<io::Result<_>>()?))
    }

    /// What has become of the first that is not there any more.
    pub(super) fn check(&self) -> Result<(), String> {
        for (path, ours) in &self.0 {
            match inode(path) {
                Ok(there) if there == *ours => {}
                Ok(_) => return Err(format!("{} was replaced by another file", path.display())),
                Err(error) => return Err(format!("{} is gone: {error}", path.display())),
            }
        }
        Ok(())
    }
}
