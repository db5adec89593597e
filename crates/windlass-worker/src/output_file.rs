//! The function's output file becomes a result: inline when it is small; else a file of the result
//! directory when there is one, or bytes for the gateway to store; and never cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use windlass_core::assignment::{ReportTo, RunAs};
use windlass_core::result::{self, hex, inline_result};
use windlass_core::status::{JobResult, MAX_INLINE_RESULT_BYTES};
use windlass_core::{Assignment, AttemptNumber, media_type};

use crate::attempt_paths::type_path;
use crate::kept_file;
use crate::outcome::FunctionOutput;
use crate::private_files;
use crate::remove_tree::remove_tree;

/// Name of the file in [`Assignment::results`] that holds the stored result of an attempt.
pub fn stored_name(job_uid: &str, attempt: AttemptNumber) -> String {
    format!("{job_uid}-{attempt}")
}

/// Where that file is until it is whole. Of a worker that is killed meanwhile it is left behind.
pub fn unfinished_name(job_uid: &str, attempt: AttemptNumber) -> String {
    format!(".{}.part", stored_name(job_uid, attempt))
}

/// What was made of the output file of an attempt.
pub(crate) enum CollectedOutput {
    /// Nothing is left to do with it.
    Final(FunctionOutput),
    /// The gateway has to store it.
    ToUpload(LargeResult),
}

/// A result that the gateway stores.
pub(crate) struct LargeResult {
    pub(crate) file: File,
    /// Without bytes or location.
    pub(crate) result: JobResult,
}

/// A result that a function that serves has told in its answer: as if it had been written to the output file, which
/// then does not count. `user` is the function's, if that is another.
pub(crate) fn collect_text(
    assignment: &Assignment,
    user: Option<&RunAs>,
    text: &str,
    path: &Path,
) -> CollectedOutput {
    let bytes = text.as_bytes();
    let is_small = bytes.len() as u64 <= MAX_INLINE_RESULT_BYTES.min(assignment.max_result_bytes);
    if !is_small {
        let written = private_files::replace(path).and_then(|mut file| {
            file.write_all(bytes)?;
            private_files::give_open(user, &file)
        });
        return match written {
            Ok(()) => collect_output(assignment, user, path),
            Err(error) => unusable(format!("told an output that cannot be written: {error}")),
        };
    }
    let content_type = match told_type(assignment, user, path) {
        Ok(told) => told,
        Err(why) => return unusable(why),
    };
    match result::type_of_result(&content_type, io::Cursor::new(bytes)) {
        Ok(Ok(told)) => CollectedOutput::Final(
            inline_result(bytes, &told).map_or_else(still_written, FunctionOutput::Result),
        ),
        Ok(Err(why)) => unusable(why),
        Err(error) => unusable(format!("told an output that is lost: {error}")),
    }
}

/// Reads the output file of an attempt, which must be of the function's `user`, if that is another than this process's.
pub(crate) fn collect_output(
    assignment: &Assignment,
    user: Option<&RunAs>,
    path: &Path,
) -> CollectedOutput {
    let (file, bytes) = match open(user, path) {
        Ok(Some(found)) => found,
        Ok(None) => {
            return unusable("wrote an output that is no regular file with one name".into());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return CollectedOutput::Final(FunctionOutput::None);
        }
        Err(error) => return unusable(format!("left an unreadable output: {error}")),
    };
    if bytes > assignment.max_result_bytes {
        let most = assignment.max_result_bytes;
        let why = format!("wrote {bytes} bytes; it may write {most}");
        return CollectedOutput::Final(FunctionOutput::TooLarge(why));
    }
    let content_type = match told_type(assignment, user, path) {
        Ok(told) => told,
        Err(why) => return unusable(why),
    };
    let assignment = &Assignment { content_type, ..assignment.clone() };
    let collected = match (&assignment.results, &assignment.report) {
        _ if bytes <= MAX_INLINE_RESULT_BYTES => inline(assignment, &file),
        (Some(directory), _) => store(assignment, file, path, Path::new(directory), bytes),
        (None, ReportTo::Http { .. }) => describe(assignment, file, bytes),
        (None, ReportTo::Socket) => {
            type_of_output(&file, bytes, &assignment.content_type).map(|told| match told {
                Ok(_) => CollectedOutput::Final(too_large_to_inline(bytes)),
                Err(why) => unusable(why),
            })
        }
    };
    collected.unwrap_or_else(|error| unusable(format!("left an output that is lost: {error}")))
}

/// A result that is too large to be inline, where there is no place for it.
pub(crate) fn too_large_to_inline(bytes: u64) -> FunctionOutput {
    let most = MAX_INLINE_RESULT_BYTES;
    FunctionOutput::TooLarge(format!(
        "wrote {bytes} bytes; without an object store the most is {most}"
    ))
}

/// The media type of an output: what the function itself tells, else what its manifest says. The error is a sentence
/// about the function.
fn told_type(
    assignment: &Assignment,
    user: Option<&RunAs>,
    output: &Path,
) -> Result<String, String> {
    let unreadable = |error: io::Error| format!("left an unreadable type of its output: {error}");
    let file = match open_for_reading(user, &type_path(output)) {
        Ok(Some(file)) => file,
        Ok(None) => return Err("told the type of its output by no regular file".into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(assignment.content_type.clone());
        }
        Err(error) => return Err(unreadable(error)),
    };
    let mut text = Vec::new();
    file.take(2 * media_type::MAX_BYTES as u64).read_to_end(&mut text).map_err(unreadable)?;
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    match media_type::problem(&text) {
        None => Ok(text),
        Some(why) => Err(format!("told a type of its output that {why}: {text:?}")),
    }
}

/// The type by which the output is told, or why it is none. The file is then at its begin again.
fn type_of_output(
    mut file: &File,
    bytes: u64,
    content_type: &str,
) -> io::Result<Result<String, String>> {
    // No more than there were: something may still write.
    let told = result::type_of_result(content_type, file.take(bytes))?;
    file.rewind()?;
    Ok(told)
}

fn unusable(why: String) -> CollectedOutput {
    CollectedOutput::Final(FunctionOutput::Unusable(why))
}

fn describe(assignment: &Assignment, mut file: File, bytes: u64) -> io::Result<CollectedOutput> {
    let content_type = match type_of_output(&file, bytes, &assignment.content_type)? {
        Ok(told) => told,
        Err(why) => return Ok(unusable(why)),
    };
    Ok(match digest(&mut file, bytes)? {
        Some(sha256) => {
            let result = JobResult { content_type, bytes, sha256, ..JobResult::default() };
            CollectedOutput::ToUpload(LargeResult { file, result })
        }
        None => CollectedOutput::Final(still_written()),
    })
}

/// SHA-256 of so many bytes; `None` when there are more or fewer.
fn digest(file: &mut File, bytes: u64) -> io::Result<Option<String>> {
    let mut hash = Sha256::new();
    Ok((io::copy(file, &mut hash)? == bytes).then(|| hex(&hash.finalize())))
}

/// The file and its length; `None` when it is not plain: the function must make us neither read
/// another's file nor hang.
fn open(user: Option<&RunAs>, path: &Path) -> io::Result<Option<(File, u64)>> {
    let Some(file) = open_for_reading(user, path)? else { return Ok(None) };
    let bytes = file.metadata()?.len();
    Ok(Some((file, bytes)))
}

fn open_for_reading(user: Option<&RunAs>, path: &Path) -> io::Result<Option<File>> {
    private_files::open_of(user, OpenOptions::new().read(true), path)
}

/// Reads it first, as something may still write.
fn inline(assignment: &Assignment, file: &File) -> io::Result<CollectedOutput> {
    let mut bytes = Vec::new();
    file.take(MAX_INLINE_RESULT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(match result::type_of_result(&assignment.content_type, io::Cursor::new(&bytes))? {
        Ok(content_type) => CollectedOutput::Final(
            inline_result(&bytes, &content_type).map_or_else(still_written, FunctionOutput::Result),
        ),
        Err(why) => unusable(why),
    })
}

/// Moves the file to its place, under the name of its attempt. It is there whole or not at all.
fn store(
    assignment: &Assignment,
    file: File,
    path: &Path,
    directory: &Path,
    bytes: u64,
) -> io::Result<CollectedOutput> {
    let name = stored_name(&assignment.job_uid, assignment.attempt);
    let part = directory.join(unfinished_name(&assignment.job_uid, assignment.attempt));
    let taken = kept_file::take(file, path, &part, bytes);
    let stored = taken.and_then(|taken| match taken {
        Some(file) => name_result(assignment, file, &part, &directory.join(&name), bytes),
        None => Ok(CollectedOutput::Final(still_written())),
    });
    if !matches!(&stored, Ok(CollectedOutput::Final(FunctionOutput::Result(_)))) {
        // It may be anything by now, or nothing.
        fs::remove_file(&part).or_else(|_| remove_tree(&part)).unwrap_or_default();
    }
    stored
}

/// Gives a file that nobody else can change its name among the results.
fn name_result(
    assignment: &Assignment,
    mut file: File,
    part: &Path,
    place: &Path,
    bytes: u64,
) -> io::Result<CollectedOutput> {
    let content_type = match type_of_output(&file, bytes, &assignment.content_type)? {
        Ok(told) => told,
        Err(why) => return Ok(unusable(why)),
    };
    let Some(sha256) = digest(&mut file, bytes)? else {
        return Ok(CollectedOutput::Final(still_written()));
    };
    file.sync_all()?;
    fs::rename(part, place)?;
    if let Some(directory) = place.parent() {
        File::open(directory)?.sync_all()?;
    }
    let location = Some(stored_name(&assignment.job_uid, assignment.attempt));
    let result = JobResult { location, content_type, bytes, sha256, ..JobResult::default() };
    Ok(CollectedOutput::Final(FunctionOutput::Result(result)))
}

fn still_written() -> FunctionOutput {
    FunctionOutput::Unusable("still wrote its output when it had ended".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windlass_core::result::sha256;
    use windlass_core::{Job, JobLimits, JobSpec, Metadata};

    use super::*;

    fn assignment(results: Option<&Path>) -> Assignment {
        let function = json!({ "command": ["unused"], "contentType": "text/plain" });
        let function = serde_json::from_value(function).unwrap();
        let metadata = Metadata { uid: "uid".into(), ..Metadata::default() };
        let job = Job::new(metadata, JobSpec::default());
        let bounds = JobLimits::without_function(&job.spec);
        let bounds = JobLimits { max_result_bytes: 1 << 20, ..bounds };
        Assignment {
            results: results.map(|path| path.to_string_lossy().into_owned()),
            ..Assignment::new(&job, &bounds, &function, 3, 1, ReportTo::Socket)
        }
    }

    #[test]
    fn a_large_output_moves_to_its_place_with_its_digest() {
        let (work, results) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = work.path().join("output");
        let bytes = vec![7; MAX_INLINE_RESULT_BYTES as usize + 1];
        fs::write(&path, &bytes).unwrap();
        let CollectedOutput::Final(FunctionOutput::Result(result)) =
            collect_output(&assignment(Some(results.path())), None, &path)
        else {
            panic!()
        };
        assert_eq!((result.bytes, result.sha256), (bytes.len() as u64, sha256(&bytes)));
        assert_eq!(result.location.as_deref(), Some("uid-3"));
        assert_eq!(fs::read(results.path().join("uid-3")).unwrap(), bytes);
        assert!(!path.exists());
    }

    #[test]
    fn a_function_may_tell_the_type_of_its_output() {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("output");
        fs::write(&path, "not JSON").unwrap();
        let assignment = Assignment { content_type: "application/json".into(), ..assignment(None) };
        let told = |text: &str| {
            fs::write(type_path(&path), text).unwrap();
            match collect_output(&assignment, None, &path) {
                CollectedOutput::Final(FunctionOutput::Result(result)) => Ok(result.content_type),
                CollectedOutput::Final(FunctionOutput::Unusable(why)) => Err(why),
                _ => panic!("{text}"),
            }
        };
        assert_eq!(told("text/csv; charset=utf-8\n"), Ok("text/csv; charset=utf-8".into()));
        assert!(told("application/ld+json").unwrap_err().contains("is not JSON"));
        for bad in ["", "png", "*/*", "a/b\nX-Header: 1", &"a/".repeat(200)] {
            assert!(told(bad).unwrap_err().contains("media type") || bad.len() > 128, "{bad}");
        }
        fs::remove_file(type_path(&path)).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", type_path(&path)).unwrap();
        assert!(is_unusable(&path));
    }

    fn is_unusable(path: &Path) -> bool {
        matches!(
            collect_output(&assignment(None), None, path),
            CollectedOutput::Final(FunctionOutput::Unusable(_))
        )
    }

    #[test]
    fn what_is_no_plain_file_is_no_output() {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("output");
        assert!(matches!(
            collect_output(&assignment(None), None, &path),
            CollectedOutput::Final(FunctionOutput::None)
        ));
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(is_unusable(&path));
        fs::remove_file(&path).unwrap();
        fs::write(work.path().join("token"), "secret").unwrap();
        fs::hard_link(work.path().join("token"), &path).unwrap();
        assert!(is_unusable(&path));
        fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(is_unusable(&path));
    }

    #[test]
    fn a_file_of_another_user_than_the_functions_is_no_output() {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("output");
        fs::write(&path, "secret").unwrap();
        let user = |user| RunAs { user, group: user, name: None, home: None };
        let own = rustix::process::geteuid().as_raw();
        let collected = |user: &RunAs| collect_output(&assignment(None), Some(user), &path);
        let CollectedOutput::Final(FunctionOutput::Result(_)) = collected(&user(own)) else {
            panic!()
        };
        let CollectedOutput::Final(FunctionOutput::Unusable(why)) = collected(&user(own + 1))
        else {
            panic!()
        };
        assert!(why.contains("belongs to another user"), "{why}");
        let told = |user: &RunAs| told_type(&assignment(None), Some(user), &path);
        fs::write(type_path(&path), "secret").unwrap();
        let why = told(&user(own + 1)).unwrap_err();
        assert!(why.contains("belongs to another user") && !why.contains("secret"), "{why}");
    }
}
