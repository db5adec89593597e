//! Files that nobody but this process's user may read or write, whatever the umask; and files of a
//! directory in which a function may have put anything.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use windlass_core::assignment::RunAs;

/// The mode of every file.
const FILE: u32 = 0o600;

/// The mode of every directory.
const DIRECTORY: u32 = 0o700;

/// Opens a file for reading and writing, and makes it when it is not there. One that is not plain is
/// refused, see [`open_plain`].
pub fn open_or_create(path: &Path) -> io::Result<File> {
    open_with_length(path).map(|(file, _)| file)
}

/// The same, with the bytes that it has.
fn open_with_length(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    let found = file.metadata()?;
    if !is_plain(&found) {
        let why = format!("{} is no regular file with one name", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    close_to_others(&file, &found)?;
    Ok((file, found.len()))
}

/// An empty file, for reading and writing.
pub fn create(path: &Path) -> io::Result<File> {
    emptied(open_with_length(path)?.0)
}

/// An open file, empty and closed to others.
pub(crate) fn emptied(file: File) -> io::Result<File> {
    let found = file.metadata()?;
    if found.len() > 0 {
        file.set_len(0)?;
    }
    close_to_others(&file, &found)?;
    Ok(file)
}

/// A file that was not there before: `AlreadyExists` where it was, whoever has made it.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(FILE).open(path)
}

/// A new file, in place of what a function may have put there: that is not touched otherwise.
pub(crate) fn replace(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => create_new(path),
    }
}

/// Writes a whole file, over what was there. A file that is emptied first goes to the disk as soon as it is written
/// and closed, and whoever empties it next waits for that: so does ext4, to save what a crash would take.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (mut file, length) = open_with_length(path)?;
    if length > bytes.len() as u64 {
        file.set_len(bytes.len() as u64)?;
    }
    file.write_all(bytes)
}

/// Makes a directory, and those above it that are missing.
pub fn make_directory(path: &Path) -> io::Result<()> {
    let is_new = !path.try_exists()?;
    DirBuilder::new().recursive(true).mode(DIRECTORY).create(path)?;
    // A umask may have taken away what its owner needs.
    if is_new { fs::set_permissions(path, Permissions::from_mode(DIRECTORY)) } else { Ok(()) }
}

/// Makes a directory that was not there before: `AlreadyExists` where it was, whoever has made it.
pub(crate) fn make_new_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(DIRECTORY).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(DIRECTORY))
}

/// Makes files those of the user that the function runs as, if that is another.
pub(crate) fn give(user: Option<&RunAs>, files: &[&Path]) -> io::Result<()> {
    let Some(RunAs { user, group, .. }) = user else { return Ok(()) };
    files.iter().try_for_each(|file| std::os::unix::fs::chown(file, Some(*user), Some(*group)))
}

/// The same for an open file, and not for what a function that runs may have put in its place.
pub(crate) fn give_open(user: Option<&RunAs>, file: &File) -> io::Result<()> {
    let Some(RunAs { user, group, .. }) = user else { return Ok(()) };
    std::os::unix::fs::fchown(file, Some(*user), Some(*group))
}

/// Makes an open file this process's user's, and takes away what others may do with it.
pub(crate) fn make_own(file: &File) -> io::Result<()> {
    let (found, user) = (file.metadata()?, rustix::process::geteuid().as_raw());
    if found.uid() != user {
        std::os::unix::fs::fchown(file, Some(user), Some(rustix::process::getegid().as_raw()))?;
    }
    close_to_others(file, &found)
}

fn close_to_others(file: &File, found: &Metadata) -> io::Result<()> {
    if found.mode() & 0o7777 == FILE {
        return Ok(());
    }
    file.set_permissions(Permissions::from_mode(FILE))
}

/// Opens a file that a function may have replaced. `None` when it is not plain: it is no regular file,
/// or it has a second name and so may be somebody else's. Neither a link nor a pipe without a writer
/// leads anywhere else or holds anybody up.
pub fn open_plain(path: &Path) -> io::Result<Option<File>> {
    open_plain_as(OpenOptions::new().read(true), path)
}

/// Opens a file that a function has written. With another user for the function, a file of anybody else is refused: it
/// may be one that the function could rename, and not read.
pub(crate) fn open_of(
    user: Option<&RunAs>,
    options: &mut OpenOptions,
    path: &Path,
) -> io::Result<Option<File>> {
    let Some(file) = open_plain_as(options, path)? else { return Ok(None) };
    match user {
        Some(RunAs { user, .. }) if file.metadata()?.uid() != *user => {
            let why = "it belongs to another user than the function's";
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
        _ => Ok(Some(file)),
    }
}

/// Opens a plain file for this, too.
fn open_plain_as(options: &mut OpenOptions, path: &Path) -> io::Result<Option<File>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    match options.custom_flags(flags.cast_signed()).open(path) {
        Ok(file) => Ok(is_plain(&file.metadata()?).then_some(file)),
        // What a link and a socket answer.
        Err(error)
            if [Errno::LOOP, Errno::NXIO]
                .iter()
                .any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether an open file is a regular one with no name but one.
pub(crate) fn is_plain(found: &Metadata) -> bool {
    found.is_file() && found.nlink() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_or_directory_of_another_mode_is_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        let file = directory.path().join("file");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        write(&file, b"new").unwrap();
        assert_eq!((mode(&file), fs::read(&file).unwrap()), (0o600, b"new".to_vec()));
        for text in ["longer than it was", "short", ""] {
            write(&file, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        let made = directory.path().join("a/b");
        make_directory(&made).unwrap();
        assert_eq!((mode(&made), mode(&directory.path().join("a"))), (0o700, 0o700));
    }

    #[test]
    fn only_a_regular_file_with_one_name_is_plain() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "1").unwrap();
        assert!(open_plain(&path("file")).unwrap().is_some());
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), fifo, mode, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for other in ["link", "pipe", "socket", "."] {
            assert!(open_plain(&path(other)).unwrap().is_none(), "{other}");
        }
        fs::hard_link(path("file"), path("second")).unwrap();
        assert!(open_plain(&path("file")).unwrap().is_none());
        let missing = open_plain(&path("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
