//! The bytes of a blob on their way: they are counted and digested, and the last of them come to an end only when
//! they are what they should be.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use windlass_core::blob::Blob;
use windlass_core::blobs::{NewBlob, NotStored, another_digest};
use windlass_core::result::{ByteStream, hex};

use super::room::refusal;

/// What has become of the bytes, once their stream has ended.
#[derive(Clone, Default)]
pub(super) struct Received(Arc<Mutex<Option<Result<Blob, NotStored>>>>);

impl Received {
    /// The blob, or why there is none. `None` when the stream has not come to its end.
    pub(super) fn take(&self) -> Option<Result<Blob, NotStored>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, end: Result<Blob, NotStored>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }
}

struct Receiving {
    content: ByteStream,
    hash: Sha256,
    bytes: u64,
}

/// The same bytes. An error ends them when there are more than `most`, or when they have another digest than they should.
pub(super) fn received(content: ByteStream, new: &NewBlob, most: u64) -> (ByteStream, Received) {
    let ended = Received::default();
    let (told, expected) = (ended.clone(), new.sha256.clone());
    let begin = Some(Receiving { content, hash: Sha256::new(), bytes: 0 });
    let pieces = stream::unfold(begin, move |receiving| {
        let (told, expected) = (told.clone(), expected.clone());
        async move {
            let mut receiving = receiving?;
            let refuse = |why: NotStored| {
                let error = io::Error::new(io::ErrorKind::InvalidData, why.to_string());
                told.set(Err(why));
                Some((Err(error), None))
            };
            match receiving.content.next().await {
                Some(Ok(piece)) => {
                    receiving.bytes += piece.len() as u64;
                    if receiving.bytes > most {
                        return refuse(NotStored::TooLarge(most));
                    }
                    receiving.hash.update(&piece);
                    Some((Ok(piece), Some(receiving)))
                }
                Some(Err(error)) => refuse(refusal(error)),
                None => {
                    let sha256 = hex(&receiving.hash.finalize());
                    if expected.is_some_and(|expected| expected != sha256) {
                        return refuse(another_digest(&sha256).into());
                    }
                    told.set(Ok(Blob { sha256, bytes: receiving.bytes }));
                    None
                }
            }
        }
    });
    (Box::pin(pieces), ended)
}
