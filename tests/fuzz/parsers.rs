//! Each parser of the core, and that of forms, as a caller uses it: bytes in, whether they were taken out. None may panic
//! on any bytes, and what is taken must be within its bounds.
//!
//! libFuzzer finds the bytes in `tests/run fuzz`, chance finds them in `tests/rings/hostile.rs`; both begin with the
//! good documents in `seeds`. Deliberately absent: whether the right documents are taken, which the core's own tests
//! say.

use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use windlass_core::assignment::read_termination_message;
use windlass_core::blob::{MAX_FILE_NAME_BYTES, file_name_problem, is_sha256};
use windlass_core::contract::{MAX_PROGRESS_MESSAGE_BYTES, parse_progress_line};
use windlass_core::idempotency::Key;
use windlass_core::{JobSpec, Report, media_type, name, parse, quantity};

#[path = "../../crates/windlass-gateway/src/protocol/multipart.rs"]
mod multipart;

use multipart::{Parts, Unread};

/// The body of a submission.
pub fn submission(bytes: &[u8]) -> bool {
    parse::submitted(bytes).and_then(parse::value_of::<JobSpec>).is_ok()
}

/// An amount of memory in a function's or queue's resources.
pub fn quantity(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let amount = quantity::bytes(&text);
    assert!(amount.is_none_or(|amount| i64::try_from(amount).is_ok()), "{text:?}");
    amount.is_some()
}

/// The value of an `Idempotency-Key`, which makes a job's name.
pub fn idempotency_key(bytes: &[u8]) -> bool {
    let key = Key::parse(bytes);
    if let Ok(key) = &key {
        assert!(name::problem(&key.job_name()).is_none(), "{bytes:?}");
    }
    key.is_ok()
}

/// One line of a function's progress file.
pub fn progress_line(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let line = parse_progress_line(&text);
    if let Some(line) = &line {
        assert!(line.done <= line.total, "{text:?}");
        assert!(line.message.len() <= MAX_PROGRESS_MESSAGE_BYTES, "{text:?}");
        assert!(!line.message.contains(char::is_control), "{text:?}");
    }
    line.is_some()
}

/// The body of a worker's report.
pub fn report(bytes: &[u8]) -> bool {
    parse::json::<Report>(bytes).is_ok()
}

/// The termination message of a pod.
pub fn termination_message(bytes: &[u8]) -> bool {
    read_termination_message(&String::from_utf8_lossy(bytes)).is_some()
}

/// What names a blob: the name of a file of a job, or the digest in a path.
pub fn blob_name(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let is_file_name = file_name_problem(&text).is_none();
    if is_file_name {
        // It is one step of a path, whoever joins it, and leads to what is named so.
        let mut steps = Path::new(&*text).components();
        let step = steps.next().map(|step| step.as_os_str().to_owned());
        assert!(
            step.as_deref() == Some(text.as_ref().as_ref()) && steps.next().is_none(),
            "{text:?}"
        );
        assert!(!text.starts_with('/') && text.len() <= MAX_FILE_NAME_BYTES, "{text:?}");
    }
    let digest = text.strip_prefix("sha256:").filter(|hex| is_sha256(hex));
    if let Some(digest) = digest {
        assert!(file_name_problem(digest).is_none(), "{text:?}");
    }
    is_file_name || digest.is_some()
}

/// A form with an input and files, of the boundary `edge`. What it is does not depend on how its bytes are cut.
pub fn form(bytes: &[u8]) -> bool {
    let whole = form_in_pieces(bytes, bytes.len());
    for size in [1, 7, 64] {
        assert_eq!(whole, form_in_pieces(bytes, size), "in pieces of {size}: {bytes:?}");
    }
    whole.is_some()
}

/// Name, type and bytes of each part of a form that comes in pieces of this size; `None` when it is none.
fn form_in_pieces(bytes: &[u8], size: usize) -> Option<Vec<(String, String, Vec<u8>)>> {
    let pieces = bytes.chunks(size.max(1)).map(|piece| Ok(Bytes::copy_from_slice(piece)));
    let pieces = stream::iter(pieces.collect::<Vec<_>>());
    let mut parts =
        Parts::of_body("multipart/form-data; boundary=edge", Box::pin(pieces)).expect("a boundary");
    let mut read = Vec::new();
    let read_all = async {
        while let Some(part) = parts.next().await? {
            assert!(media_type::problem(&part.media_type).is_none(), "{:?}", part.media_type);
            let content: Vec<Bytes> = part.content.try_collect().await.map_err(Unread::Content)?;
            read.push((part.name, part.media_type, content.concat()));
        }
        Ok::<(), Unread>(())
    };
    let is_form = match result_of(read_all) {
        Ok(()) => true,
        Err(Unread::Part { name, why }) => {
            assert!(!why.is_empty(), "{name:?}");
            false
        }
        Err(Unread::Content(_) | Unread::Form(_)) => false,
    };
    let length: usize = read.iter().map(|(_, _, content)| content.len()).sum();
    assert!(length <= bytes.len(), "{bytes:?}");
    is_form.then_some(read)
}

/// What comes of a future that never has to wait.
fn result_of<T>(future: impl Future<Output = T>) -> T {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
    }
}
