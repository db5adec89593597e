//! The form of an archive. Its entries are regular files:
//!
//! 1. `windlass-backup.json`: the form's version, which windlass wrote it, and when;
//! 2. the files of a data directory under their names in it, the database last;
//! 3. `end.json`: how many files those are, and the SHA-256 of them all.

use std::io::{self, Read, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use windlass_core::result::hex;

use super::Contents;

/// The first entry.
pub(super) const HEAD: &str = "windlass-backup.json";

/// The last one.
pub(super) const END: &str = "end.json";

/// The version of this form.
pub(super) const FORM: u32 = 1;

/// Most bytes of the first and of the last entry.
pub(super) const MAX_JSON_BYTES: u64 = 64 * 1024;

/// What the first entry says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) form: u32,
    pub(super) windlass: String,
    pub(super) created: Timestamp,
}

/// What the last entry says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) files: u64,
    pub(super) sha256: String,
}

/// The digest of the files so far, their names and their lengths.
#[derive(Default)]
pub(super) struct Sum {
    digest: Sha256,
    pub(super) contents: Contents,
}

impl Sum {
    /// A file begins.
    pub(super) fn begin(&mut self, name: &str, bytes: u64) {
        self.digest.update(name.as_bytes());
        self.digest.update([0]);
        self.digest.update(bytes.to_le_bytes());
        self.contents.files += 1;
        self.contents.bytes += bytes;
    }

    pub(super) fn end(self) -> End {
        End { files: self.contents.files, sha256: hex(&self.digest.finalize()) }
    }

    /// What is read passes through the digest.
    pub(super) fn through<R: Read>(&mut self, from: R) -> Summed<'_, R> {
        Summed { from, digest: &mut self.digest, bytes: 0 }
    }
}

/// A reader whose bytes are counted and digested.
pub(super) struct Summed<'a, R> {
    from: R,
    digest: &'a mut Sha256,
    pub(super) bytes: u64,
}

impl<R: Read> Read for Summed<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.digest.update(into.get(..read).unwrap_or_default());
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Writes an archive.
pub(super) struct Writer<W: Write> {
    tar: Builder<W>,
    sum: Sum,
    created: Timestamp,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(to: W) -> io::Result<Self> {
        let mut writer =
            Self { tar: Builder::new(to), sum: Sum::default(), created: Timestamp::now() };
        let windlass = env!("CARGO_PKG_VERSION").to_owned();
        writer.json(HEAD, &Head { form: FORM, windlass, created: writer.created })?;
        Ok(writer)
    }

    /// Adds a file of so many bytes. It is an error when there are fewer.
    pub(super) fn add(&mut self, name: &str, bytes: u64, from: impl Read) -> io::Result<()> {
        self.sum.begin(name, bytes);
        let mut header = header(bytes, self.created);
        let mut from = self.sum.through(from.take(bytes));
        self.tar.append_data(&mut header, name, &mut from)?;
        if from.bytes < bytes {
            let why = format!("{name} became shorter while it was read");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        Ok(())
    }

    /// Writes the end. What was written may still be on its way to the disk.
    pub(super) fn end(mut self) -> io::Result<Contents> {
        let contents = self.sum.contents;
        let end = std::mem::take(&mut self.sum).end();
        self.json(END, &end)?;
        self.tar.into_inner()?.flush()?;
        Ok(contents)
    }

    fn json(&mut self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)? + "\n";
        let mut header = header(text.len() as u64, self.created);
        self.tar.append_data(&mut header, name, text.as_bytes())
    }
}

/// A regular file that its owner alone may read.
fn header(bytes: u64, created: Timestamp) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(bytes);
    header.set_mtime(u64::try_from(created.as_second()).unwrap_or(0));
    header
}
