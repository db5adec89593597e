//! The blobs of an attempt become files of its function: the input, and the job's files in a directory beside it.
//! On one machine they are copied from the server's files. In a pod they are fetched from the gateway.
//!
//! Each is the attempt's own copy. A function of the same user could change the mode of a file that it may only read,
//! and through a second name of the blob's file it would do so to all jobs. Where the file system can, the copy shares
//! its blocks with the blob (a reflink) and takes no time. What is handed over is held against its digest each time.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use windlass_core::assignment::{InputDigest, Inputs, Order, SourceFile};
use windlass_core::blob::file_name_problem;
use windlass_core::result::hex;
use windlass_core::{Assignment, BlobRef, strict_json};

use crate::attempt_paths::files_directory;
use crate::private_files::{self, give, give_open};
use crate::report::Reporter;

/// What is copied at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Puts the blobs of an attempt into their places. Those of inline inputs are there already.
pub(crate) async fn fetch(order: &Order, reporter: &Reporter, deadline: Instant) -> io::Result<()> {
    let Order { assignment, program, .. } = order;
    let input = Path::new(&assignment.input);
    let Some(inputs) = &assignment.inputs else { return check_inline(assignment) };
    fits(inputs, assignment.disk_bytes)?;
    let directory = files_directory(input);
    clear(&directory)?;
    let blobs = Blobs { reporter, deadline };
    match &inputs.input {
        // Over the file that is there: a process that serves may read no other.
        Some(source) => {
            blobs.write(source, private_files::create(input)?, "the input").await?;
            check_json(source, input)?;
        }
        None => check_inline(assignment)?,
    }
    let user = program.run_as.as_ref();
    give(user, &[&directory])?;
    for (name, source) in &inputs.files {
        if let Some(why) = file_name_problem(name) {
            return Err(invalid(format!("{name:?} {why}")));
        }
        let file = private_files::create_new(&directory.join(name))?;
        give_open(user, &file)?;
        blobs.write(source, file, name).await?;
    }
    Ok(())
}

/// Where blobs come from.
struct Blobs<'a> {
    reporter: &'a Reporter,
    deadline: Instant,
}

impl Blobs<'_> {
    /// Writes a blob into a file. What names the blob is for a person.
    async fn write(&self, source: &SourceFile, to: File, what: &str) -> io::Result<()> {
        match &source.path {
            Some(path) => copy(Path::new(path), &source.blob, to, what),
            None => {
                let fetched = self.reporter.fetch(&source.blob, to, self.deadline).await;
                fetched.map_err(|why| io::Error::new(why.kind(), format!("{what}: {why}")))
            }
        }
    }
}

/// Whether an input that is called JSON keeps its rule. Who submits through a server has been told before.
fn check_json(source: &SourceFile, input: &Path) -> io::Result<()> {
    if source.path.is_some() || !strict_json::is_json(&source.blob.media_type) {
        return Ok(());
    }
    match strict_json::problem(io::BufReader::new(File::open(input)?))? {
        Some(why) => Err(invalid(format!("the input is no JSON that all read alike: {why}"))),
        None => Ok(()),
    }
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Leaves nothing of the blobs of an attempt that is over.
pub(crate) fn remove(assignment: &Assignment) -> io::Result<()> {
    if assignment.inputs.is_none() {
        return Ok(());
    }
    let input = Path::new(&assignment.input);
    clear(&files_directory(input))?;
    private_files::create(input).map(drop)
}

/// Whether the file that the function will read holds the job's input. Whoever may change pods may have removed it.
fn check_inline(assignment: &Assignment) -> io::Result<()> {
    let Some(expected) = &assignment.input_digest else { return Ok(()) };
    let found = InputDigest::of_bytes(&fs::read(&assignment.input)?);
    if found == *expected {
        return Ok(());
    }
    let (found, expected) = (found.bytes, expected.bytes);
    let why = format!(
        "{:?} does not hold the job's input ({found} bytes instead of {expected}, or others): \
         something has changed or removed it, such as a policy that changes annotations of pods",
        assignment.input
    );
    Err(invalid(why))
}

/// Whether the copies have room in what an attempt may take of the disk: one blob may have many names.
fn fits(inputs: &Inputs, most: Option<u64>) -> io::Result<()> {
    let bytes = inputs.blobs().map(|blob| blob.bytes).fold(0, u64::saturating_add);
    match most {
        Some(most) if bytes > most => {
            let why =
                format!("its files take {bytes} bytes of the disk; an attempt may take {most}");
            Err(io::Error::new(io::ErrorKind::QuotaExceeded, why))
        }
        _ => Ok(()),
    }
}

/// Copies a blob, which must be what its digest says. One that is gone or another stays so.
fn copy(path: &Path, blob: &BlobRef, mut to: File, what: &str) -> io::Result<()> {
    let lost = |kind: io::ErrorKind, why: String| {
        io::Error::new(kind, format!("{what}: its blob is lost: {why}"))
    };
    // A pod's inline input is a link: its node can then change all files of a volume at once.
    let opened = fs::canonicalize(path)
        .and_then(|path| private_files::open_plain(&path))
        .map_err(|error| lost(error.kind(), error.to_string()))?;
    let mut from = opened
        .ok_or_else(|| lost(io::ErrorKind::InvalidInput, "it is no plain file".to_owned()))?;
    let is_shared = rustix::fs::ioctl_ficlone(&to, &from).is_ok();
    let (mut hash, mut piece, mut bytes) = (Sha256::new(), vec![0; PIECE_BYTES], 0);
    loop {
        let read = from.read(&mut piece)?;
        let Some(read) = piece.get(..read).filter(|read| !read.is_empty()) else { break };
        hash.update(read);
        bytes += read.len() as u64;
        if !is_shared {
            to.write_all(read)?;
        }
    }
    to.rewind()?;
    if (bytes, hex(&hash.finalize())) == (blob.bytes, blob.sha256.clone()) {
        return Ok(());
    }
    Err(invalid(format!("{what}: its blob is not what its digest says")))
}

/// Empties a directory that has only files. It is made when it is not there.
fn clear(directory: &Path) -> io::Result<()> {
    private_files::make_directory(directory)?;
    for entry in fs::read_dir(directory)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use windlass_core::result::sha256;

    use super::*;

    #[test]
    fn a_copy_is_the_blob_or_an_error_and_never_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let bytes = vec![7; PIECE_BYTES * 2 + 3];
        fs::write(path("blob"), &bytes).unwrap();
        let blob = |sha256: String| BlobRef {
            sha256,
            bytes: bytes.len() as u64,
            media_type: "a/b".into(),
        };
        let copy = |blob: &BlobRef, to, what| copy(&path("blob"), blob, to, what);
        let made = || private_files::create(&path("copy")).unwrap();
        copy(&blob(sha256(&bytes)), made(), "x").unwrap();
        assert!(fs::read(path("copy")).unwrap() == bytes);
        fs::write(path("copy"), "changed").unwrap();
        assert!(fs::read(path("blob")).unwrap() == bytes);
        let wrong = copy(&blob(sha256(b"other")), made(), "big.csv").unwrap_err();
        assert!(wrong.to_string().contains("big.csv"), "{wrong}");
        fs::remove_file(path("blob")).unwrap();
        let lost = copy(&blob(sha256(&bytes)), made(), "big.csv").unwrap_err();
        assert!(lost.to_string().contains("lost"), "{lost}");
        // Neither would be better the next time.
        let kinds = [wrong.kind(), lost.kind()];
        assert_eq!(kinds, [io::ErrorKind::InvalidInput, io::ErrorKind::NotFound]);
    }

    #[test]
    fn a_blob_of_many_names_counts_as_often() {
        let blob = BlobRef { sha256: sha256(b""), bytes: 10, media_type: "a/b".into() };
        let source = SourceFile { path: None, blob };
        let files = (0..4).map(|number| (format!("f{number}"), source.clone())).collect();
        let inputs = Inputs { input: Some(source), files };
        assert!(fits(&inputs, None).is_ok() && fits(&inputs, Some(50)).is_ok());
        let error = fits(&inputs, Some(49)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    }
}
