//! A stored file that is sent piece by piece.

use std::io::{self, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;
use windlass_core::Error;
use windlass_core::result::{ByteStream, Stored};
use windlass_worker::private_files;

/// Bytes of a large result that are read at a time.
const CHUNK_BYTES: usize = 128 * 1024;

/// The file of a large result, or of a blob.
pub(super) struct StoredFile(pub(super) PathBuf);

#[async_trait]
impl Stored for StoredFile {
    async fn read(self: Box<Self>, range: Range<u64>) -> Result<ByteStream, Error> {
        let lost = |error: io::Error| Error::Bug(format!("{}: {error}", self.0.display()));
        let path = self.0.clone();
        let open = tokio::task::spawn_blocking(move || private_files::open_plain(&path));
        let file = open.await.map_err(io::Error::other).and_then(|opened| opened).map_err(lost)?;
        let file = file.ok_or_else(|| lost(io::Error::other("it is no plain file")))?;
        let mut file = tokio::fs::File::from_std(file);
        file.seek(SeekFrom::Start(range.start)).await.map_err(lost)?;
        let part = file.take(range.end - range.start);
        Ok(Box::pin(ReaderStream::with_capacity(part, CHUNK_BYTES)))
    }
}
