//! The function's output file becomes a result: inline when it is small, a file of the result
//! directory when there is one, and never cut.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use windlass_core::Assignment;
use windlass_core::report::inline_result;
use windlass_core::status::{JobResult, MAX_INLINE_RESULT_BYTES};

use crate::outcome::Output;

/// Takes the output file of an attempt.
pub(crate) fn take(assignment: &Assignment, path: &Path) -> Output {
    // The file itself, not what a link points at: the function must not make us read another's.
    let found = match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => found,
        Ok(_) => return Output::Unusable("wrote an output that is no regular file".into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Output::None,
        Err(error) => return Output::Unusable(format!("left an unreadable output: {error}")),
    };
    let bytes = found.len();
    if bytes > assignment.max_result_bytes {
        let most = assignment.max_result_bytes;
        return Output::TooLarge(format!("wrote {bytes} bytes; it may write {most}"));
    }
    let taken = match &assignment.results {
        _ if bytes <= MAX_INLINE_RESULT_BYTES => inline(assignment, path),
        Some(directory) => store(assignment, path, Path::new(directory), bytes),
        None => {
            let most = MAX_INLINE_RESULT_BYTES;
            let why = format!("wrote {bytes} bytes; without an object store the most is {most}");
            return Output::TooLarge(why);
        }
    };
    taken.unwrap_or_else(|error| Output::Unusable(format!("left an output that is lost: {error}")))
}

fn inline(assignment: &Assignment, path: &Path) -> io::Result<Output> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_INLINE_RESULT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(match inline_result(&bytes, &assignment.content_type) {
        Some(result) => Output::Result(result),
        None => Output::Unusable("still wrote its output when it had ended".into()),
    })
}

/// Moves the file to its place, under the name of its attempt.
fn store(
    assignment: &Assignment,
    path: &Path,
    directory: &Path,
    bytes: u64,
) -> io::Result<Output> {
    let name = format!("{}-{}", assignment.job_uid, assignment.attempt);
    let sha256 = digest(path)?;
    File::open(path)?.sync_all()?;
    fs::rename(path, directory.join(&name))?;
    File::open(directory)?.sync_all()?;
    Ok(Output::Result(JobResult {
        location: Some(name),
        content_type: assignment.content_type.clone(),
        bytes,
        sha256,
        ..JobResult::default()
    }))
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
