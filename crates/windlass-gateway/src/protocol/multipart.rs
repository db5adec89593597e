//! A body in parts (`multipart/form-data`, RFC 7578), which are read as they come.
//!
//! The parser of parts takes all that is ready. So it is given one piece at a time, and no head of a part is longer than
//! a bound.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use multer::{Field, Multipart};
use windlass_core::media_type;
use windlass_core::result::ByteStream;

/// Most bytes that may come without a part that goes on or begins: the head of one.
const MAX_HEAD_BYTES: usize = 1 << 20;

/// The part that is a job's spec.
pub(crate) const JOB: &str = "job";

/// The parts of a body.
pub(crate) struct Parts {
    parts: Multipart<'static>,
    unused: Arc<AtomicUsize>,
}

/// One part.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) media_type: String,
    pub(crate) content: ByteStream,
}

/// Why a body cannot be read on.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Its bytes do not come.
    Content(io::Error),
    /// It has no such parts.
    Form(String),
    /// A part is wrong: its name, and a phrase without a subject.
    Part { name: String, why: String },
}

impl Parts {
    /// Those of a body of this `Content-Type`; `None` when it names no boundary.
    pub(crate) fn of_body(content_type: &str, content: ByteStream) -> Option<Self> {
        let boundary = multer::parse_boundary(content_type).ok()?;
        let unused = Arc::new(AtomicUsize::new(0));
        let paced = Paced { content, unused: Arc::clone(&unused), rests: false };
        Some(Self { parts: Multipart::new(paced, boundary), unused })
    }

    /// The next part, of which all is skipped that was not read of the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Part>, Unread> {
        self.unused.store(0, Ordering::Relaxed);
        let field = self.parts.next_field().await.map_err(unread)?;
        field.map(|field| Part::from_field(field, &self.unused)).transpose()
    }
}

impl Part {
    fn from_field(field: Field<'static>, unused: &Arc<AtomicUsize>) -> Result<Self, Unread> {
        let Some(name) = field.name().map(str::to_owned) else {
            return Err(Unread::Form("a part of the form has no name".into()));
        };
        let said = field.headers().get("content-type");
        let media_type = match said.map(|said| said.to_str().unwrap_or_default()) {
            Some(said) => said.to_owned(),
            None if field.file_name().is_some() => media_type::BYTES.to_owned(),
            None if name == JOB => media_type::JSON.to_owned(),
            None => "text/plain".to_owned(),
        };
        if let Some(why) = media_type::problem(&media_type) {
            return Err(Unread::Part { name, why: format!("its Content-Type {why}") });
        }
        let unused = Arc::clone(unused);
        let content = field.map_err(|error| match unread(error) {
            Unread::Content(error) => error,
            Unread::Form(why) | Unread::Part { why, .. } => io::Error::other(why),
        });
        let content = content.inspect_ok(move |_| unused.store(0, Ordering::Relaxed));
        Ok(Self { name, media_type, content: Box::pin(content) })
    }
}

fn unread(error: multer::Error) -> Unread {
    match error {
        multer::Error::StreamReadFailed(error) => Unread::Content(match error.downcast() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        }),
        error => Unread::Form(format!("the form cannot be read: {error}")),
    }
}

/// A body in pieces, of which each is taken before the next one is given.
struct Paced {
    content: ByteStream,
    /// Bytes that were given since the last that a part was made of.
    unused: Arc<AtomicUsize>,
    rests: bool,
}

impl Stream for Paced {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rests) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = ready!(self.content.as_mut().poll_next(context));
        if let Some(Ok(piece)) = &piece {
            self.rests = true;
            let before = self.unused.fetch_add(piece.len(), Ordering::Relaxed);
            if before > MAX_HEAD_BYTES {
                return Poll::Ready(Some(Err(io::Error::other("the head of a part is too long"))));
            }
        }
        Poll::Ready(piece)
    }
}
