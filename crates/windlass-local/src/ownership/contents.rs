//! What is below the directories of a data directory, where others could have come to it.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tracing::warn;

/// Directories of which everything is the server's. Others cannot pass into those that this version makes.
const OWN: [&str; 3] = ["results", "logs", "blobs"];
/// Of an attempt, what the server reads after a restart. The rest is its function's, and is deleted then.
const OF_ATTEMPT: [&str; 2] = ["attempt.json", "lock"];
/// Most files that are looked at: some seconds of a start, and only of the first after an old version.
const MOST: usize = 1_000_000;
/// How deep directories are in each other.
const DEPTH: usize = 4;

/// Refuses what somebody else could have written. Where others cannot pass there is nothing to look for.
pub(super) fn check_contents(data: &Path, found: &Metadata, owner: u32) -> io::Result<()> {
    if !lets_pass(found) {
        return Ok(());
    }
    let mut left = MOST;
    for name in OWN {
        check_below(&data.join(name), owner, DEPTH, &mut left)?;
    }
    let attempts = data.join("attempts");
    for entry in entries(&attempts)? {
        let attempt = entry?.path();
        check(&attempt, owner)?;
        for name in OF_ATTEMPT {
            check(&attempt.join(name), owner)?;
        }
    }
    if left == 0 {
        warn!(data = %data.display(), "not all files were looked at: there are more than {MOST}");
    }
    Ok(())
}

fn lets_pass(found: &Metadata) -> bool {
    found.mode() & 0o011 != 0
}

fn check_below(directory: &Path, owner: u32, depth: usize, left: &mut usize) -> io::Result<()> {
    let Some(found) = check(directory, owner)? else { return Ok(()) };
    if depth == 0 || !found.is_dir() || !lets_pass(&found) {
        return Ok(());
    }
    for entry in entries(directory)? {
        let Some(fewer) = left.checked_sub(1) else { return Ok(()) };
        *left = fewer;
        check_below(&entry?.path(), owner, depth - 1, left)?;
    }
    Ok(())
}

/// Looks at a file, or at a link itself. `None` where there is none: another process may delete it meanwhile.
fn check(path: &Path, owner: u32) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => check_owner(path, &found, owner).map(|()| Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is in a directory; nothing where there is none.
fn entries(directory: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    let found = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found?),
    };
    Ok(found.into_iter().flatten())
}

/// Nobody but the owner has been able to write.
pub(super) fn check_owner(path: &Path, found: &Metadata, owner: u32) -> io::Result<()> {
    let refuse = |why: String| {
        let why = format!("{} {why}", path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
    };
    if found.uid() != owner {
        return refuse(format!("belongs to user {}, and not to user {owner}", found.uid()));
    }
    // The mode of a link says nothing.
    if !found.is_symlink() && found.mode() & 0o022 != 0 {
        return refuse(
            "may be written by other users: look whether all in it is yours, then use \
             `chmod -R go-w`"
                .into(),
        );
    }
    Ok(())
}
