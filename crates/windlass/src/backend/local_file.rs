//! Files of this machine that are sent beside a job.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;
use windlass_core::blobs::{BlobSink, NewBlob, NotStored};
use windlass_core::result::hex;
use windlass_core::{BlobRef, blob, media_type};

use crate::flags::bad_usage::BadUsage;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Media types by the endings of files. The Python client knows the same.
const ENDINGS: [(&str, &str); 22] = [
    ("json", media_type::JSON),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("png", "image/png"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("csv", "text/csv"),
    ("txt", "text/plain"),
    ("html", "text/html"),
    ("xml", "application/xml"),
    ("pdf", "application/pdf"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("npy", "application/x-npy"),
    ("npz", "application/x-npz"),
    ("arrow", "application/vnd.apache.arrow.file"),
    ("parquet", "application/vnd.apache.parquet"),
    ("mp4", "video/mp4"),
    ("wav", "audio/wav"),
    ("bin", media_type::BYTES),
];

/// The media type that the ending of a file tells, if it tells any.
pub(crate) fn type_of(path: &Path) -> Option<&'static str> {
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    ENDINGS.iter().find(|(known, _)| *known == ending).map(|(_, media_type)| *media_type)
}

/// A file that a job names by its digest.
pub(crate) struct LocalFile {
    file: File,
    pub(crate) blob: BlobRef,
}

impl LocalFile {
    /// Reads the file once, for its digest.
    pub(crate) fn from_file(mut file: File, media_type: &str) -> io::Result<Self> {
        let (mut hash, mut piece, mut bytes) = (Sha256::new(), vec![0; PIECE_BYTES], 0);
        file.rewind()?;
        while let read @ 1.. = file.read(&mut piece)? {
            hash.update(&piece[..read]);
            bytes += read as u64;
        }
        let sha256 = hex(&hash.finalize());
        Ok(Self { file, blob: BlobRef { sha256, bytes, media_type: media_type.to_owned() } })
    }

    /// The file at a path, of this media type or of what its ending tells.
    pub(crate) fn open(path: &Path, media_type: Option<&str>) -> anyhow::Result<Self> {
        let media_type = media_type.or_else(|| type_of(path)).unwrap_or(media_type::BYTES);
        let read = File::open(path).and_then(|file| Self::from_file(file, media_type));
        Ok(read.map_err(|error| BadUsage(format!("{}: {error}", path.display())))?)
    }

    /// Sends it, unless it is there already.
    pub(crate) async fn send(&self, to: &dyn BlobSink, namespace: &str) -> anyhow::Result<()> {
        let mut file = self.file.try_clone().context("a file cannot be opened again")?;
        file.rewind().context("a file cannot be read again")?;
        let content = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE_BYTES);
        let (sha256, max_bytes) = (Some(self.blob.sha256.clone()), Some(self.blob.bytes));
        let new = NewBlob { sha256, max_bytes, ..NewBlob::default() };
        to.store(namespace, &new, Box::pin(content)).await.map(drop).map_err(|why| match why {
            // As of any other request: it says what to do, and which exit code it has.
            NotStored::Failed(error) => error.into(),
            other => other.into(),
        })
    }
}

/// A file of a job as the command line names it: `NAME=PATH`.
pub(crate) fn named(text: &str) -> anyhow::Result<(String, LocalFile)> {
    let wrong = |why: &str| BadUsage(format!("--file {text:?} {why}"));
    let (name, path) = text.split_once('=').ok_or_else(|| wrong("is not NAME=PATH"))?;
    if let Some(why) = blob::file_name_problem(name) {
        return Err(wrong(&format!(": {name:?} {why}")).into());
    }
    Ok((name.to_owned(), LocalFile::open(Path::new(path), None)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_tells_the_type() {
        for (path, expected) in [
            ("a/photo.JPG", Some("image/jpeg")),
            ("x.json", Some("application/json")),
            ("table.csv", Some("text/csv")),
            ("jpg", None),
            ("x.unknown", None),
        ] {
            assert_eq!(type_of(Path::new(path)), expected, "{path}");
        }
        assert!(ENDINGS.iter().all(|(_, known)| media_type::problem(known).is_none()));
    }
}
