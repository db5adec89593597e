//! Removes directories in which a function may have left anything.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};
use windlass_core::result::hex;

/// Removes a directory and everything in it, of which nothing is used any more. However deep it is, that takes no more
/// stack and no more open files: each directory is moved to the top before it is emptied. Nor does its mode matter.
pub fn remove_tree(top: &Path) -> io::Result<()> {
    remove_contents(top, None)?;
    fs::remove_dir(top)
}

/// The same, but for the directory itself, and for a regular file of this name in it.
pub(crate) fn remove_contents(top: &Path, kept: Option<&str>) -> io::Result<()> {
    // No name that a function could have chosen.
    let prefix = random_name()?;
    let mut number = 0_u64;
    let mut left = vec![top.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            // One with a second name is somebody else's, too.
            let is_kept = kept.is_some_and(|kept| entry.file_name() == kept);
            if is_kept && directory == top && kind.is_file() && entry.metadata()?.nlink() == 1 {
                continue;
            }
            if !kind.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
            number += 1;
            let moved = top.join(format!("{prefix}-{number}"));
            fs::rename(entry.path(), &moved)?;
            left.push(moved);
        }
        if directory != top {
            fs::remove_dir(&directory)?;
        }
    }
    Ok(())
}

fn random_name() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn whatever_a_function_has_left_is_removed() {
        let here = tempfile::tempdir().unwrap();
        let top = here.path().join("top");
        fs::create_dir_all(top.join("wide/empty")).unwrap();
        for name in ["a", "b"] {
            fs::write(top.join("wide").join(name), "1").unwrap();
        }
        let outside = here.path().join("outside");
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, top.join("link")).unwrap();
        fs::create_dir(top.join("closed")).unwrap();
        fs::write(top.join("closed/in"), "1").unwrap();
        fs::set_permissions(top.join("closed"), Permissions::from_mode(0o0)).unwrap();
        // Deeper than any stack or path, as `mkdir d; mv chain d/; mv d chain` makes it.
        let chain = top.join("chain");
        fs::create_dir(&chain).unwrap();
        for _ in 0..20_000 {
            let next = top.join("next");
            fs::create_dir(&next).unwrap();
            fs::rename(&chain, next.join("c")).unwrap();
            fs::rename(&next, &chain).unwrap();
        }
        remove_tree(&top).unwrap();
        let all: Vec<PathBuf> =
            fs::read_dir(here.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(all, [outside]);
        assert_eq!(remove_tree(&top).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
