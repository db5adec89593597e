//! API keys of a server on one machine, for callers that are not its admin.
//!
//! In: `DATA/keys.json`, which `windlass keys` replaces whole and which only its user can read. Out:
//! what the holder of a key may do. The file has digests, not keys: who reads it can use none. A
//! running server reads it again when it has changed ([`keyring`](super::keyring)).
//!
//! A file that cannot be read lets nobody in.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use jiff::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use windlass_core::jobs::Verb;
use windlass_core::result::sha256;
use windlass_gateway::random_secret;
use windlass_worker::private_files;

/// The file in the data directory.
pub(super) const FILE: &str = "keys.json";
/// The file that a command locks while it changes the keys.
const LOCK: &str = "keys.lock";
/// What every key begins with, so that people and scanners for secrets see what it is.
const PREFIX: &str = "wl_";
/// Most keys: all are compared with what a caller shows.
const MOST: usize = 1_000;
/// Largest file; a key has about 400 bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a key may be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Right {
    /// Read a job, its result, its logs, or a function
    Get,
    /// List jobs or functions
    List,
    /// Follow a job, and wait for it
    Watch,
    /// Submit a job
    Create,
    /// Cancel a job
    Patch,
    /// Delete a job
    Delete,
    /// Read /metrics
    Metrics,
}

impl Right {
    pub(crate) fn to(verb: Verb) -> Self {
        match verb {
            Verb::Get => Self::Get,
            Verb::List => Self::List,
            Verb::Watch => Self::Watch,
            Verb::Create => Self::Create,
            Verb::Patch => Self::Patch,
            Verb::Delete => Self::Delete,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Metrics => "metrics",
        }
    }
}

/// A key, but for its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: String,
    /// SHA-256 of the whole key, in hex.
    pub(super) sha256: String,
    /// Where it is good.
    pub(crate) namespace: String,
    /// For what.
    pub(crate) verbs: BTreeSet<Right>,
    /// Since when.
    pub(crate) created: Timestamp,
    /// Until when; none until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
}

impl Key {
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What is asked of a new key.
pub(crate) struct NewKey {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) verbs: BTreeSet<Right>,
    pub(crate) expires: Option<Timestamp>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    keys: Vec<Key>,
}

/// Adds a key and gives its secret. `None` when there is one of that name.
pub(crate) fn create(data: &Path, new: NewKey) -> anyhow::Result<Option<String>> {
    let secret = format!("{PREFIX}{}", random_secret()?);
    let NewKey { name, namespace, verbs, expires } = new;
    change(data, |keys| {
        let now = Timestamp::now();
        if keys.iter().any(|key| key.name == name) {
            return Ok(None);
        }
        if keys.len() >= MOST {
            bail!("there are {MOST} keys already; revoke some");
        }
        let sha256 = sha256(secret.as_bytes());
        keys.push(Key { name, sha256, namespace, verbs, created: now, expires });
        Ok(Some(secret))
    })
}

/// Takes a key back. `false` when there is none of that name.
pub(crate) fn revoke(data: &Path, name: &str) -> anyhow::Result<bool> {
    if !data.join(FILE).exists() {
        return Ok(false);
    }
    change(data, |keys| {
        let before = keys.len();
        keys.retain(|key| key.name != name);
        Ok(keys.len() < before)
    })
}

/// All keys, those that are over too.
pub(crate) fn list(data: &Path) -> anyhow::Result<Vec<Key>> {
    read(&data.join(FILE))
}

/// Replaces the file, one command at a time: whoever reads it sees the old or the new one.
fn change<T>(
    data: &Path,
    edit: impl FnOnce(&mut Vec<Key>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let context = || data.display().to_string();
    windlass_local::claim_directory_of_server(data).with_context(context)?;
    let directory = File::open(data).with_context(context)?;
    // A file that nobody else can open: whoever could lock it could keep a key from being revoked.
    let lock = private_files::open_or_create(&data.join(LOCK)).with_context(context)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).with_context(context)?;
    let path = data.join(FILE);
    let mut keys = read(&path)?;
    let done = edit(&mut keys)?;
    // A temporary file has mode 0600 from the start.
    let mut file = NamedTempFile::new_in(data).with_context(context)?;
    serde_json::to_writer_pretty(&mut file, &Kept { keys })?;
    file.write_all(b"\n")?;
    // Root may make keys for a server that runs as somebody else.
    let server = directory.metadata()?;
    for own in [file.as_file(), &lock] {
        if server.uid() != own.metadata()?.uid() {
            std::os::unix::fs::fchown(own, Some(server.uid()), Some(server.gid()))
                .with_context(context)?;
        }
    }
    file.as_file().sync_all()?;
    file.persist(&path).with_context(context)?;
    directory.sync_all()?;
    Ok(done)
}

pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Key>> {
    let context = || path.display().to_string();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(context),
    };
    let found = file.metadata().with_context(context)?;
    if found.permissions().mode() & 0o077 != 0 {
        bail!("{} can be read by others; it needs mode 0600", path.display());
    }
    if found.len() > MAX_FILE_BYTES {
        bail!("{} is too large", path.display());
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).with_context(context)?;
    let kept: Kept = serde_json::from_str(&text).with_context(context)?;
    if kept.keys.len() > MOST {
        bail!("{} has more than {MOST} keys", path.display());
    }
    Ok(kept.keys)
}
