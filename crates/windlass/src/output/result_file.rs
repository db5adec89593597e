//! Where a result goes: standard output, or a file that is whole or not there.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, IsTerminal as _, stdout};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use tempfile::NamedTempFile;
use windlass_core::result::ByteStream;

use crate::flags::bad_usage::BadUsage;
use crate::output::terminal::Printable;

/// A place for a result, found usable before the work is done.
pub(crate) enum ResultFile {
    /// Standard output.
    Stdout,
    /// A regular file, which is replaced at once when the result is complete.
    File { whole: NamedTempFile, path: PathBuf, mode: u32 },
    /// A device, a pipe or a socket, which is written through.
    Other(PathBuf),
}

impl ResultFile {
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let refused = |why: &dyn std::fmt::Display| BadUsage(format!("{}: {why}", path.display()));
        let found = match fs::metadata(path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(refused(&error).into()),
        };
        let (path, mode) = match &found {
            Some(found) if found.is_dir() => return Err(refused(&"is a directory").into()),
            Some(found) if !found.is_file() => return Ok(Self::Other(path.to_owned())),
            // Through a link to the file itself, with the mode that it has.
            Some(found) => {
                let target = fs::canonicalize(path).map_err(|error| refused(&error))?;
                (target, found.permissions().mode() & 0o777)
            }
            None => (path.to_owned(), 0o644),
        };
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let whole = NamedTempFile::new_in(directory).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                refused(&format!("there is no directory {}", directory.display()))
            }
            kind => refused(&format!("{kind}, for a file in {}", directory.display())),
        })?;
        Ok(Self::File { whole, path, mode })
    }

    /// Writes the result as it comes. What is damaged on the way is an error, and no file then.
    pub(crate) async fn write(self, content: ByteStream) -> anyhow::Result<()> {
        match self {
            Self::Stdout => {
                let out = stdout().lock();
                // The bytes as they are, but on a terminal without what could steer it.
                let copied = match out.is_terminal() {
                    true => copy(content, Printable::new(out)).await,
                    false => copy(content, out).await,
                };
                copied.context("the result cannot be written to standard output")
            }
            Self::File { mut whole, path, mode } => {
                let failed = || format!("the result cannot be written to {}", path.display());
                copy(content, &mut whole).await.with_context(failed)?;
                let file: File = whole.persist(&path).with_context(failed)?;
                file.set_permissions(Permissions::from_mode(mode)).with_context(failed)
            }
            Self::Other(path) => {
                let failed = || format!("the result cannot be written to {}", path.display());
                let file = OpenOptions::new().write(true).open(&path).with_context(failed)?;
                let copied = match file.is_terminal() {
                    true => copy(content, Printable::new(file)).await,
                    false => copy(content, file).await,
                };
                copied.with_context(failed)
            }
        }
    }
}

async fn copy(mut content: ByteStream, mut to: impl io::Write) -> io::Result<()> {
    while let Some(piece) = content.try_next().await? {
        if !is_read_on(to.write_all(&piece))? {
            return Ok(());
        }
    }
    is_read_on(to.flush()).map(drop)
}

/// Whether the reader of what is written wants more: `head` has read enough at some point.
fn is_read_on(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> ByteStream {
        Box::pin(futures::stream::iter([Ok(text.into())]))
    }

    #[tokio::test]
    async fn a_link_is_followed_and_a_mode_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        ResultFile::open(Some(&link)).unwrap().write(bytes("new")).await.unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[tokio::test]
    async fn a_file_is_whole_or_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let torn = [Ok("some".into()), Err(io::ErrorKind::InvalidData.into())];
        let torn = Box::pin(futures::stream::iter(torn));
        assert!(ResultFile::open(Some(&file)).unwrap().write(torn).await.is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "something is left");
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = ResultFile::open(Some(Path::new("/nonexistent/x.jpg"))).err().unwrap();
        assert_eq!(error.to_string(), "/nonexistent/x.jpg: there is no directory /nonexistent");
    }

    #[tokio::test]
    async fn a_pipe_is_written_through_and_stays_a_pipe() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        ResultFile::open(Some(&pipe)).unwrap().write(bytes("through")).await.unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        use std::os::unix::fs::FileTypeExt as _;
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    }

    #[test]
    fn what_cannot_be_written_is_refused_before_the_work() {
        let directory = tempfile::tempdir().unwrap();
        for bad in [directory.path().to_owned(), directory.path().join("missing/file")] {
            assert!(ResultFile::open(Some(&bad)).is_err_and(|error| error.is::<BadUsage>()));
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "something is left");
    }
}
