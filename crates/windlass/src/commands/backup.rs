//! `windlass backup` and `windlass restore`: the data directory of a server on one machine as one file. They work on
//! the directory itself; the server may run during a backup.

use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Read, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use tempfile::{NamedTempFile, TempDir};
use windlass_local::backup::{self, BackupError, Contents};

use crate::commands::keys::Data;
use crate::flags::bad_usage::BadUsage;
use crate::output::log;

/// How the directory begins in which a backup is made. One that is killed leaves it.
const SCRATCH: &str = ".windlass-backup-";

/// The file that means standard output or standard input.
const STANDARD: &str = "-";

/// Write the jobs, results, logs and keys of the server on this machine into one file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windlass backup /backups/windlass.tar
  windlass backup - | zstd | ssh other 'cat > windlass.tar.zst'")]
pub(crate) struct Backup {
    /// The file, a tar archive; it takes the place of one that is there. `-` for standard output
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) data: Data,
}

/// Make a data directory of a backup, for a server that is started on it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windlass restore /backups/windlass.tar --data /var/lib/windlass
  zstd -dc windlass.tar.zst | windlass restore - --data /var/lib/windlass")]
pub(crate) struct Restore {
    /// The file that `windlass backup` has written; `-` for standard input
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) data: Data,
}

pub(crate) fn backup(args: Backup) -> anyhow::Result<ExitCode> {
    log::start("warn");
    let data = args.data.directory()?;
    let contents = if args.file == Path::new(STANDARD) {
        to_standard_output(&data)?
    } else {
        to_file(&data, &args.file).with_context(|| args.file.display().to_string())?
    };
    print_contents("backed up", &contents);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn restore(args: Restore) -> anyhow::Result<ExitCode> {
    log::start("warn");
    let data = args.data.directory()?;
    let from: Box<dyn Read> = if args.file == Path::new(STANDARD) {
        Box::new(stdin().lock())
    } else {
        Box::new(File::open(&args.file).with_context(|| args.file.display().to_string())?)
    };
    let contents = backup::restore(from, &data).map_err(refusal)?;
    print_contents("restored", &contents);
    Ok(ExitCode::SUCCESS)
}

fn to_standard_output(data: &Path) -> anyhow::Result<Contents> {
    let out = stdout().lock();
    if out.is_terminal() {
        return Err(BadUsage("a backup is nothing for a terminal: name a file".into()).into());
    }
    let scratch = scratch(&std::env::temp_dir())?;
    // Rust writes its standard output line by line.
    let out = File::from(rustix::io::dup(&out)?);
    backup::backup(data, scratch.path(), out).map_err(refusal)
}

/// The file has its name once it is whole and on the disk.
fn to_file(data: &Path, file: &Path) -> anyhow::Result<Contents> {
    match fs::symlink_metadata(file) {
        Ok(found) if !found.is_file() => {
            let why = "is no regular file: a backup takes the place of nothing else";
            return Err(BadUsage(format!("{} {why}", file.display())).into());
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let parent = file.parent().filter(|parent| *parent != Path::new(""));
    let directory = parent.unwrap_or(Path::new("."));
    let scratch = scratch(directory)?;
    let archive = NamedTempFile::new_in(scratch.path())?;
    let contents = backup::backup(data, scratch.path(), archive.as_file()).map_err(refusal)?;
    archive.as_file().sync_all()?;
    archive.persist(file)?;
    File::open(directory)?.sync_all()?;
    Ok(contents)
}

fn scratch(directory: &Path) -> anyhow::Result<TempDir> {
    let made = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(directory);
    made.with_context(|| format!("no directory can be made in {}", directory.display()))
}

/// What the caller can mend is told as such.
fn refusal(error: BackupError) -> anyhow::Error {
    match error {
        BackupError::NotEmpty { .. } => BadUsage(error.to_string()).into(),
        BackupError::Archive(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            anyhow::Error::new(error).context("nobody reads the backup to its end")
        }
        error => error.into(),
    }
}

fn print_contents(what: &str, contents: &Contents) {
    let Contents { files, bytes } = contents;
    log::print_line(&format!("windlass: {what} {files} files, {bytes} bytes"));
}
