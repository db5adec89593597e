//! Makes a data directory of a backup, or leaves none.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use tar::{Archive, Entry};
use windlass_worker::{adopt_log_times, private_files, remove_tree};

use super::archive::{END, End, FORM, HEAD, Head, MAX_JSON_BYTES, Sum};
use super::{BackupError, Contents, UNFINISHED, check_whole};
use crate::ownership::{self, SECRETS};
use crate::store::{self, StoreError, check_restored, database_path};

/// The directories that are in an archive.
const DIRECTORIES: [&str; 3] = ["blobs", "results", "logs"];

/// Makes what `backup` has written the data directory `data`, which is empty or not there. No server uses it
/// before all is there and on the disk.
pub fn restore(from: impl Read, data: &Path) -> Result<Contents, BackupError> {
    let io = |error| StoreError::io(data, error);
    let not_empty = || BackupError::NotEmpty { path: data.to_owned() };
    private_files::make_directory(data).map_err(io)?;
    check_whole(data)?;
    if !ownership::has_nothing_but(data, &[ownership::NEW, store::LOCK]).map_err(io)? {
        return Err(not_empty());
    }
    ownership::claim_directory(data).map_err(io)?;
    let _lock = store::lock_directory(data)?;
    // A server may have come before.
    if database_path(data).try_exists().map_err(io)? {
        return Err(not_empty());
    }
    let mark = data.join(UNFINISHED);
    private_files::create(&mark).and_then(|mark| mark.sync_all()).map_err(io)?;
    sync(data).map_err(io)?;
    let unpacked = unpack(from, data).and_then(|contents| {
        let logs = data.join("logs");
        adopt_log_times(&logs).map_err(|error| StoreError::io(&logs, error))?;
        check_restored(data)?;
        Ok(contents)
    });
    let contents = match unpacked {
        Ok(contents) => contents,
        Err(error) => {
            empty(data).map_err(io)?;
            return Err(error);
        }
    };
    // All files at once: there may be many small ones.
    let whole = File::open(data).and_then(|directory| Ok(rustix::fs::syncfs(directory)?));
    whole.map_err(io)?;
    fs::remove_file(&mark).and_then(|()| sync(data)).map_err(io)?;
    Ok(contents)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Deletes what was unpacked, the mark last. The lock stays: a server may wait for it, and the next one has to find it.
fn empty(data: &Path) -> io::Result<()> {
    let database = database_path(Path::new(""));
    let names = DIRECTORIES.map(Path::new).into_iter().chain(SECRETS.map(Path::new));
    for name in names.chain([database.as_path(), Path::new(UNFINISHED)]) {
        let path = data.join(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => remove_tree(&path)?,
            Ok(_) => fs::remove_file(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes the files of an archive, and checks that they are all.
fn unpack(from: impl Read, data: &Path) -> Result<Contents, BackupError> {
    for directory in DIRECTORIES {
        let path = data.join(directory);
        private_files::make_directory(&path).map_err(|error| StoreError::io(&path, error))?;
    }
    let mut archive = Archive::new(BufReader::new(from));
    let mut entries = archive.entries().map_err(unreadable)?;
    let mut sum = Sum::default();
    let mut is_first = true;
    for entry in &mut entries {
        let mut entry = entry.map_err(unreadable)?;
        let name = name(&entry)?;
        if std::mem::take(&mut is_first) {
            check_head(&name, &mut entry)?;
        } else if name == END {
            let end: End = json(&mut entry)?;
            let contents = sum.contents;
            if end != sum.end() {
                return Err(not_whole("its files are not those that were written"));
            }
            return Ok(contents);
        } else {
            unpack_file(&name, &mut entry, data, &mut sum)?;
        }
    }
    Err(not_whole("it was cut off"))
}

/// The name of an entry. Nothing but a regular file is one.
fn name<R: Read>(entry: &Entry<'_, R>) -> Result<String, BackupError> {
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    if !entry.header().entry_type().is_file() {
        return Err(not_whole(&format!("{name} is no file")));
    }
    Ok(name)
}

fn check_head(name: &str, entry: &mut impl Read) -> Result<(), BackupError> {
    if name != HEAD {
        return Err(not_whole(&format!("it begins with {name}")));
    }
    let head: Head = json(entry)?;
    if head.form > FORM {
        let why = format!("windlass {} wrote it; use that version or a newer one", head.windlass);
        return Err(not_whole(&why));
    }
    Ok(())
}

fn unpack_file<R: Read>(
    name: &str,
    entry: &mut Entry<'_, R>,
    data: &Path,
    sum: &mut Sum,
) -> Result<(), BackupError> {
    if !is_expected(name) {
        return Err(not_whole(&format!("it has a file {name}")));
    }
    let path = data.join(name);
    let io = |error| StoreError::io(&path, error);
    if path.try_exists().map_err(io)? {
        return Err(not_whole(&format!("it has {name} twice")));
    }
    let bytes = entry.size();
    sum.begin(name, bytes);
    let mut file = private_files::create(&path).map_err(io)?;
    let mut from = sum.through(entry);
    let copied = io::copy(&mut from, &mut file).map_err(io)?;
    if copied < bytes { Err(not_whole("it was cut off")) } else { Ok(()) }
}

/// Whether a backup has files of this name: no path leads out of the directory, and none to what was not meant.
fn is_expected(name: &str) -> bool {
    if SECRETS.contains(&name) || Path::new(name) == database_path(Path::new("")) {
        return true;
    }
    let Some((directory, file)) = name.split_once('/') else { return false };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    DIRECTORIES.contains(&directory)
        && !file.is_empty()
        && !file.starts_with('.')
        && file.bytes().all(is_plain)
}

fn json<T: serde::de::DeserializeOwned>(entry: &mut impl Read) -> Result<T, BackupError> {
    let mut text = String::new();
    entry.take(MAX_JSON_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    serde_json::from_str(&text).map_err(|error| not_whole(&error.to_string()))
}

/// What a damaged archive answers, or the disk that it is on.
fn unreadable(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            not_whole(&error.to_string())
        }
        _ => BackupError::Archive(error),
    }
}

fn not_whole(why: &str) -> BackupError {
    BackupError::NotWhole(why.to_owned())
}
