//! What an object store does by itself and a directory does not.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use windlass_core::name;

/// An upload that nobody has written to for so long is never finished.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Deletes unfinished uploads, which the store writes beside their place with a `#` in their names, and
/// directories of jobs, blobs and namespaces that are empty.
pub(crate) fn tidy(root: &Path) -> io::Result<()> {
    let is_name = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name::problem(name).is_none())
    };
    let is_directory = |path: &PathBuf| path.is_dir() && !path.is_symlink();
    entries(root)?
        .iter()
        .filter(|path| is_directory(path) && is_name(path))
        .try_for_each(|path| tidy_below(path))
}

fn tidy_below(directory: &Path) -> io::Result<()> {
    for entry in entries(directory)? {
        let is_unfinished =
            entry.file_name().is_some_and(|name| name.to_string_lossy().contains('#'));
        if entry.is_dir() && !entry.is_symlink() {
            tidy_below(&entry)?;
        } else if is_unfinished && is_stale(&entry)? {
            ignore_not_found(fs::remove_file(&entry))?;
        }
    }
    remove_if_empty(directory)
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        // Another gateway was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn is_stale(file: &Path) -> io::Result<bool> {
    match fs::metadata(file) {
        Ok(found) => {
            let written = found.modified()?;
            Ok(SystemTime::now().duration_since(written).unwrap_or_default() > STALE)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove_if_empty(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => ignore_not_found(removed),
    }
}

fn ignore_not_found(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_unfinished_uploads_and_empty_directories_go_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str, age: Duration| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = fs::File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let old = STALE * 2;
        let kept = [
            make("a/1/1-x", old),
            make("a/1/1-x#2", Duration::ZERO),
            make("top#1", old),
            make("lost+found/3/1-x#1", old),
        ];
        let goes = ["a/2/1-x#1", "b/3/1-x#1", "b/_blobs/0a/bytes#1"].map(|path| make(path, old));
        tidy(root.path()).unwrap();
        for path in kept {
            assert!(path.exists(), "{}", path.display());
        }
        for path in goes {
            assert!(!path.parent().unwrap().exists(), "{}", path.display());
        }
        assert!(!root.path().join("b").exists());
        tidy(root.path()).unwrap();
    }
}
