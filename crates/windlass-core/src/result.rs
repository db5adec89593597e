//! The bytes of a result: inline in the status, or stored elsewhere under a name that is computed.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_core::Stream;
use sha2::{Digest as _, Sha256};

use crate::status::{JobResult, MAX_INLINE_RESULT_BYTES};
use crate::{AttemptNumber, Error, JobKey, strict_json};

/// The result of these bytes: inline when they are at most 32 KiB, as text when they are UTF-8.
/// `None` when they are too large to be inline.
pub fn inline_result(bytes: &[u8], content_type: &str) -> Option<JobResult> {
    if bytes.len() as u64 > MAX_INLINE_RESULT_BYTES {
        return None;
    }
    let (text, base64) = match std::str::from_utf8(bytes) {
        // A NUL cannot be stored in every place a status goes through.
        Ok(text) if !text.contains('\0') => (Some(text.to_owned()), None),
        _ => (None, Some(BASE64.encode(bytes))),
    };
    Some(JobResult { text, base64, ..described(bytes, content_type) })
}

/// The type of a function that does not say what its results are: each is told by what it is found to be.
pub const ANY_TYPE: &str = "*/*";

/// The type by which a result is told, or why it is none. The error is that of the reader.
pub fn type_of_result(
    content_type: &str,
    mut bytes: impl io::Read + io::Seek,
) -> io::Result<Result<String, String>> {
    if content_type != ANY_TYPE {
        let problem = json_problem(content_type, bytes)?;
        return Ok(problem.map_or_else(|| Ok(content_type.to_owned()), Err));
    }
    if strict_json::problem(&mut bytes)?.is_none() {
        return Ok(Ok("application/json".into()));
    }
    bytes.rewind()?;
    let told =
        if is_text(bytes)? { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    Ok(Ok(told.into()))
}

/// Whether all of it is UTF-8.
fn is_text(mut bytes: impl io::Read) -> io::Result<bool> {
    let mut buffer = vec![0; 64 * 1024];
    let mut filled = 0;
    loop {
        let read = bytes.read(buffer.get_mut(filled..).unwrap_or_default())?;
        filled += read;
        let whole = match std::str::from_utf8(buffer.get(..filled).unwrap_or_default()) {
            Ok(text) => text.len(),
            // The begin of a letter, of which the rest comes.
            Err(error) if error.error_len().is_none() && read > 0 => error.valid_up_to(),
            Err(_) => return Ok(false),
        };
        if read == 0 {
            return Ok(true);
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// Why a result that its media type calls JSON is none; `None` when it keeps the [rule](strict_json), or is
/// called something else. The error is that of the reader.
pub fn json_problem(content_type: &str, bytes: impl io::Read) -> io::Result<Option<String>> {
    if !strict_json::is_json(content_type) {
        return Ok(None);
    }
    let problem = strict_json::problem(bytes)?;
    Ok(problem
        .map(|why| format!("wrote a result of the type {content_type} that is not JSON: {why}")))
}

/// Length, digest and type of these bytes, without the bytes or their location.
pub fn described(bytes: &[u8], content_type: &str) -> JobResult {
    JobResult {
        content_type: content_type.to_owned(),
        bytes: bytes.len() as u64,
        sha256: sha256(bytes),
        ..JobResult::default()
    }
}

/// SHA-256 of these bytes in 64 lower-case hex digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// These bytes in lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of an inline result, or `None` when the result is elsewhere or is not what its length
/// and digest say.
pub fn inline_bytes(result: &JobResult) -> Option<Vec<u8>> {
    let bytes = match (&result.text, &result.base64) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(base64)) => BASE64.decode(base64).ok()?,
        _ => return None,
    };
    (bytes.len() as u64 == result.bytes && sha256(&bytes) == result.sha256).then_some(bytes)
}

/// Where the object store of a cluster keeps a result: `NAMESPACE/JOB-UID/ATTEMPT-SHA256`. Computed
/// by whoever reads or writes it, and never taken from a resource: a status that somebody wrote must
/// not lead to another tenant's bytes.
pub fn location(namespace: &str, job_uid: &str, attempt: AttemptNumber, sha256: &str) -> String {
    format!("{namespace}/{job_uid}/{attempt}-{sha256}")
}

/// A finished job's result and how to read its bytes.
pub struct StoredResult {
    /// Length in bytes.
    pub bytes: u64,
    /// Media type.
    pub content_type: String,
    /// SHA-256 of the bytes in lower-case hex.
    pub sha256: String,
    /// The bytes.
    pub content: Content,
}

/// Where bytes come from.
pub enum Content {
    /// They are here, and are what their digest says.
    Inline(Bytes),
    /// They are read when they are asked for.
    Stored(Box<dyn Stored>),
}

/// Bytes that are kept elsewhere.
#[async_trait]
pub trait Stored: Send {
    /// Reads a part of them, in pieces of bounded size. The range is not empty and within the length.
    async fn read(self: Box<Self>, range: Range<u64>) -> Result<ByteStream, Error>;
}

/// Bytes on their way, in pieces.
pub type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

impl StoredResult {
    /// What a status says of a result, with its bytes.
    pub fn new(result: &JobResult, content: Content) -> Self {
        Self {
            bytes: result.bytes,
            content_type: result.content_type.clone(),
            sha256: result.sha256.clone(),
            content,
        }
    }

    /// The result that the status of a job tells of: its own bytes, or what `stored` finds at the location that it names.
    pub fn of_status(
        key: &JobKey,
        result: &JobResult,
        stored: impl FnOnce(&str) -> Result<Box<dyn Stored>, Error>,
    ) -> Result<Self, Error> {
        let content = match &result.location {
            None => {
                let bytes = inline_bytes(result).ok_or_else(|| Error::damaged(key))?;
                Content::Inline(bytes.into())
            }
            Some(location) => Content::Stored(stored(location)?),
        };
        Ok(Self::new(result, content))
    }

    /// Reads a part of the bytes. All of them are held against length and digest: the last piece is
    /// only given when they are right.
    pub async fn read(self, range: Range<u64>) -> Result<ByteStream, Error> {
        let whole = range == (0..self.bytes);
        match self.content {
            Content::Inline(bytes) => {
                let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let part = bytes.slice(index(range.start)..index(range.end));
                Ok(Box::pin(Once(Some(part).filter(|part| !part.is_empty()))))
            }
            Content::Stored(stored) => {
                let stream = stored.read(range).await?;
                Ok(if whole { checked(stream, self.bytes, self.sha256) } else { stream })
            }
        }
    }
}

/// The same bytes; the last piece only when length and digest are right, else an error
/// (`InvalidData`, or `UnexpectedEof` when there are too few).
pub fn checked(stream: ByteStream, bytes: u64, sha256: String) -> ByteStream {
    Box::pin(Checked { stream, left: bytes, sha256, hash: Some(Sha256::new()) })
}

struct Checked {
    stream: ByteStream,
    left: u64,
    sha256: String,
    /// None once they were found to be right or wrong.
    hash: Option<Sha256>,
}

impl Checked {
    fn take(&mut self, mut hash: Sha256, piece: Option<Bytes>) -> io::Result<Option<Bytes>> {
        let Some(piece) = piece else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let wrong = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        let longer = || wrong("there are more bytes than there should be");
        self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(longer)?;
        hash.update(&piece);
        if self.left > 0 {
            self.hash = Some(hash);
        } else if hex(&hash.finalize()) != self.sha256 {
            return Err(wrong("the bytes are not what their digest says"));
        }
        Ok(Some(piece))
    }
}

impl Stream for Checked {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.hash.is_none() {
            return Poll::Ready(None);
        }
        let next = ready!(self.stream.as_mut().poll_next(cx)).transpose();
        let hash = self.hash.take();
        let piece = next.and_then(|piece| match hash {
            Some(hash) => self.take(hash, piece),
            None => Ok(None),
        });
        Poll::Ready(piece.transpose())
    }
}

/// One piece, or none.
struct Once(Option<Bytes>);

impl Stream for Once {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Cursor;

    use super::*;

    struct Pieces(VecDeque<Bytes>);

    impl Stream for Pieces {
        type Item = io::Result<Bytes>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }
    }

    /// What comes through of these pieces, and how it ends.
    fn through(
        pieces: &[&'static str],
        bytes: u64,
        digest_of: &str,
    ) -> (String, Option<io::ErrorKind>) {
        let pieces = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
        let digest = sha256(digest_of.as_bytes());
        let mut stream = checked(Box::pin(Pieces(pieces)), bytes, digest);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut text = String::new();
        loop {
            match stream.as_mut().poll_next(&mut cx) {
                Poll::Ready(Some(Ok(piece))) => text.push_str(std::str::from_utf8(&piece).unwrap()),
                Poll::Ready(Some(Err(error))) => return (text, Some(error.kind())),
                Poll::Ready(None) => return (text, None),
                Poll::Pending => panic!("nothing to wait for"),
            }
        }
    }

    #[test]
    fn the_last_piece_is_given_only_when_all_were_right() {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        assert_eq!(through(&["ab", "", "c"], 3, "abc"), ("abc".into(), None));
        assert_eq!(through(&["ab", "x"], 3, "abc"), ("ab".into(), Some(InvalidData)));
        assert_eq!(through(&["ab"], 3, "abc"), ("ab".into(), Some(UnexpectedEof)));
        assert_eq!(through(&["ab", "cd"], 3, "abc"), ("ab".into(), Some(InvalidData)));
    }

    #[test]
    fn a_result_of_any_type_is_told_by_what_it_is() {
        let told = |bytes: &[u8]| type_of_result(ANY_TYPE, Cursor::new(bytes)).unwrap().unwrap();
        assert_eq!(told(b" [1, 2]\n"), "application/json");
        // Its letters lie across the pieces in which it is read.
        let long = "\u{20ac}".repeat(100_000);
        for text in ["", "hello", "{\"a\":1,\"a\":2}", &long] {
            assert_eq!(told(text.as_bytes()), "text/plain; charset=utf-8");
        }
        for bytes in [&b"\xff"[..], &long.as_bytes()[..100_000], b"a\xe2\x82"] {
            assert_eq!(told(bytes), "application/octet-stream");
        }
        let declared = |kind: &str| type_of_result(kind, Cursor::new(b"hello")).unwrap();
        assert_eq!(declared("image/png"), Ok("image/png".to_owned()));
        assert!(declared("application/json").is_err());
    }
}
