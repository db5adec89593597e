//! Removes directories in which a function may have left anything.

use std::ffi::{CStr, CString};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;
use rustix::rand::{GetRandomFlags, getrandom};
use windlass_core::result::hex;

/// Removes a directory and everything in it, of which nothing is used any more. However deep it is, that takes no more
/// stack and no more open files: each directory is moved to the top before it is emptied. Nor does its mode matter.
pub fn remove_tree(top: &Path) -> io::Result<()> {
    remove_contents(top, None)?;
    fs::remove_dir(top)
}

/// The same, but for the directory itself, and for a regular file of this name in it. A function that still runs may
/// change what is there meanwhile: each directory is opened once and never through a link, so that nothing elsewhere is
/// touched.
pub(crate) fn remove_contents(top: &Path, kept: Option<&str>) -> io::Result<()> {
    let top = open_directory(CWD, top)?;
    // No name that a function could have chosen.
    let prefix = random_name()?;
    let mut number = 0_u64;
    let mut left: Vec<Option<String>> = vec![None];
    while let Some(name) = left.pop() {
        let opened = match &name {
            Some(name) => Some(open_any_mode(&top, name)?),
            None => None,
        };
        let directory = opened.as_ref().unwrap_or(&top);
        for entry in names(directory)? {
            if name.is_none() && is_kept(&top, &entry, kept)? {
                continue;
            }
            match unlinkat(directory, &entry, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    number += 1;
                    let moved = format!("{prefix}-{number}");
                    renameat(directory, &entry, &top, moved.as_str())?;
                    left.push(Some(moved));
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(name) = name {
            unlinkat(&top, name.as_str(), AtFlags::REMOVEDIR)?;
        }
    }
    Ok(())
}

/// The names in a directory, all of them before any is changed.
fn names(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Whether an entry is the file that is kept. One with a second name is somebody else's, too.
fn is_kept(top: &OwnedFd, entry: &CStr, kept: Option<&str>) -> io::Result<bool> {
    if kept.is_none_or(|kept| entry.to_bytes() != kept.as_bytes()) {
        return Ok(false);
    }
    let found = statat(top, entry, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(found.st_mode) == FileType::RegularFile && found.st_nlink == 1)
}

fn open_directory(at: impl AsFd, path: impl Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, path, flags, Mode::empty())?)
}

/// The same where its mode forbids it.
fn open_any_mode(top: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(top, name, flags, Mode::empty())?;
    // What a descriptor without rights leads to, and nothing that has come to its place.
    let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
    fs::set_permissions(itself, Permissions::from_mode(0o700))?;
    open_directory(&found, ".")
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

    #[test]
    fn what_a_link_leads_to_is_left_alone_and_the_file_that_is_kept_is_a_plain_one() {
        let here = tempfile::tempdir().unwrap();
        let (top, outside) = (here.path().join("top"), here.path().join("outside"));
        for directory in [&top, &outside] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("kept"), "1").unwrap();
        }
        std::os::unix::fs::symlink(&outside, top.join("link")).unwrap();
        let names = |path: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        remove_contents(&top, Some("kept")).unwrap();
        assert_eq!((names(&top), names(&outside)), (vec!["kept".into()], vec!["kept".into()]));
        fs::remove_file(top.join("kept")).unwrap();
        fs::hard_link(outside.join("kept"), top.join("kept")).unwrap();
        remove_contents(&top, Some("kept")).unwrap();
        assert!(names(&top).is_empty());
        std::os::unix::fs::symlink(&outside, here.path().join("way")).unwrap();
        remove_contents(&here.path().join("way"), None).unwrap_err();
        assert_eq!(names(&outside), ["kept"]);
    }
}
