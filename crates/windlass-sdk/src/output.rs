//! A function's result on its way: kept while it is small and there is an answer to put it into, else a file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The longest result, in bytes, that goes into an answer. A byte takes at most six in a line, and a line has at most
/// 64 KiB.
pub(crate) const MAX_ANSWERED_BYTES: usize = 8 << 10;

/// What is written of a result.
pub(crate) struct OutputWriter<'a> {
    /// Where the result is expected.
    path: &'a Path,
    /// Most bytes that are kept.
    most: usize,
    kept: Vec<u8>,
    /// Beside its place, once it is more than that.
    file: Option<BufWriter<File>>,
}

/// Has a result written: what an answer takes of it, at most `most` bytes of text, or nothing once it is in its file.
///
/// That is written beside the output and renamed, so that half a result is never taken for one. Not synced: after a
/// crash of the machine the attempt is run again anyway.
pub(crate) fn write_output(
    path: &Path,
    most: usize,
    write: impl FnOnce(&mut OutputWriter<'_>) -> io::Result<()>,
) -> Result<Option<String>, Error> {
    let mut output = OutputWriter { path, most, kept: Vec::new(), file: None };
    let written = write(&mut output).and_then(|()| output.finish());
    written.map_err(|error| {
        // The first error is the one to tell.
        fs::remove_file(partial_path(path)).unwrap_or_default();
        Error::failed(format!("cannot write the output {}: {error}", path.display()))
    })
}

impl OutputWriter<'_> {
    fn finish(mut self) -> io::Result<Option<String>> {
        if self.file.is_none() && self.most > 0 {
            match String::from_utf8(std::mem::take(&mut self.kept)) {
                Ok(text) => return Ok(Some(text)),
                Err(error) => self.kept = error.into_bytes(),
            }
        }
        self.spill()?.flush()?;
        fs::rename(partial_path(self.path), self.path)?;
        Ok(None)
    }

    /// The file, with what was kept.
    fn spill(&mut self) -> io::Result<&mut BufWriter<File>> {
        if self.file.is_none() {
            let mut file = BufWriter::new(File::create(partial_path(self.path))?);
            file.write_all(&std::mem::take(&mut self.kept))?;
            self.file = Some(file);
        }
        self.file.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Write for OutputWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_none() && self.kept.len() + bytes.len() <= self.most {
            self.kept.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        self.spill()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

/// In the same directory, hence on the same file system.
fn partial_path(output: &Path) -> PathBuf {
    let mut name = OsString::from(output);
    name.push(".partial");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_no_file_behind() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("output");
        for most in [0, 4] {
            let error = write_output(&output, most, |file| {
                file.write_all(b"12345")?;
                Err(io::Error::other("disk full"))
            });
            let error = error.unwrap_err();
            assert!(error.to_string().ends_with("disk full"), "{error}");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn small_text_is_answered_and_all_else_is_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("output");
        let written = |most: usize, pieces: &[&[u8]]| {
            let told = write_output(&output, most, |file| {
                pieces.iter().try_for_each(|piece| file.write_all(piece))
            });
            let file = fs::read(&output).ok();
            fs::remove_file(&output).unwrap_or_default();
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
            (told.unwrap(), file)
        };
        assert_eq!(written(4, &[b"12", b"34"]), (Some("1234".into()), None));
        assert_eq!(written(4, &[b"12", b"34", b"5"]), (None, Some(b"12345".to_vec())));
        assert_eq!(written(4, &[b"\xff"]), (None, Some(b"\xff".to_vec())));
        assert_eq!(written(0, &[b"1"]), (None, Some(b"1".to_vec())));
        assert_eq!(written(0, &[]), (None, Some(Vec::new())));
        assert_eq!(written(4, &[]), (Some(String::new()), None));
    }
}
