//! API keys of a server on one machine, for callers that are not its admin.
//!
//! In: `DATA/keys.json`, which `windlass keys` replaces whole and which only its user can read. Out:
//! what the holder of a key may do. The file has digests, not keys: who reads it can use none. A
//! running server looks at it again when it has changed, at most [`LOOK_PAUSE`] later.
//!
//! A file that cannot be read lets nobody in.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use jiff::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tempfile::NamedTempFile;
use windlass_core::jobs::Verb;
use windlass_core::result::sha256;

use crate::server::access;

/// The file in the data directory.
const FILE: &str = "keys.json";
/// What every key begins with, so that people and scanners for secrets see what it is.
const PREFIX: &str = "wl_";
/// Most keys: all are compared with what a caller shows.
const MOST: usize = 1_000;
/// Largest file; a key has about 400 bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Between two looks whether the file has changed: so long a revoked key is good.
const LOOK_PAUSE: Duration = Duration::from_millis(250);

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
    sha256: String,
    /// BackendFlags it is good.
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
pub(crate) struct Wanted {
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
pub(crate) fn create(data: &Path, wanted: Wanted) -> anyhow::Result<Option<String>> {
    fs::create_dir_all(data).with_context(|| data.display().to_string())?;
    let secret = format!("{PREFIX}{}", access::random()?);
    let Wanted { name, namespace, verbs, expires } = wanted;
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
    let directory = File::open(data).with_context(context)?;
    rustix::fs::flock(&directory, FlockOperation::LockExclusive).with_context(context)?;
    let path = data.join(FILE);
    let mut keys = read(&path)?;
    let done = edit(&mut keys)?;
    // A temporary file has mode 0600 from the start.
    let mut file = NamedTempFile::new_in(data).with_context(context)?;
    serde_json::to_writer_pretty(&mut file, &Kept { keys })?;
    file.write_all(b"\n")?;
    // Root may make keys for a server that runs as somebody else.
    let (server, own) = (directory.metadata()?, file.as_file().metadata()?);
    if server.uid() != own.uid() {
        std::os::unix::fs::fchown(file.as_file(), Some(server.uid()), Some(server.gid()))
            .with_context(context)?;
    }
    file.as_file().sync_all()?;
    file.persist(&path).with_context(context)?;
    directory.sync_all()?;
    Ok(done)
}

fn read(path: &Path) -> anyhow::Result<Vec<Key>> {
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

/// The keys as a running server knows them.
pub(crate) struct Keyring {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    looked: Option<Instant>,
    stamp: Option<Stamp>,
    keys: Arc<Vec<Key>>,
}

/// What differs when the file was replaced: inode, size, time of the change.
type Stamp = (u64, u64, i64, i64);

impl Keyring {
    /// Of this data directory.
    pub(crate) fn of(data: &Path) -> Self {
        Self { path: data.join(FILE), seen: Mutex::default() }
    }

    /// The key with this secret, unless it is over or revoked. It takes the same time whichever it
    /// is, and whether there is one.
    pub(crate) fn find(&self, secret: &str) -> Option<Key> {
        let (keys, digest) = (self.current(), sha256(secret.as_bytes()));
        let mut found = None;
        for key in keys.iter() {
            if bool::from(key.sha256.as_bytes().ct_eq(digest.as_bytes())) {
                found = Some(key);
            }
        }
        found.filter(|key| !key.is_over(Timestamp::now())).cloned()
    }

    /// The keys, read again when the file has changed.
    fn current(&self) -> Arc<Vec<Key>> {
        // Whole after any panic: the keys are replaced at once.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.looked.is_some_and(|looked| looked.elapsed() < LOOK_PAUSE) {
            return seen.keys.clone();
        }
        seen.looked = Some(Instant::now());
        let stamp = fs::metadata(&self.path)
            .ok()
            .map(|file| (file.ino(), file.size(), file.ctime(), file.ctime_nsec()));
        if stamp != seen.stamp {
            let read = read(&self.path);
            if let Err(error) = &read {
                tracing::error!("no key is good: {error:#}");
            }
            seen.keys = Arc::new(read.unwrap_or_default());
            seen.stamp = stamp;
        }
        seen.keys.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str) -> Wanted {
        Wanted {
            name: name.into(),
            namespace: "default".into(),
            verbs: BTreeSet::from([Right::Get]),
            expires: None,
        }
    }

    /// What a server that has looked long ago sees now.
    fn find(keyring: &Keyring, secret: &str) -> Option<String> {
        keyring.seen.lock().unwrap().looked = None;
        keyring.find(secret).map(|key| key.name)
    }

    #[test]
    fn a_key_is_good_from_its_making_to_its_revocation() {
        let data = tempfile::tempdir().unwrap();
        let keyring = Keyring::of(data.path());
        assert_eq!(find(&keyring, "wl_x"), None);
        let first = create(data.path(), wanted("first")).unwrap().unwrap();
        let second = create(data.path(), wanted("second")).unwrap().unwrap();
        assert!(first.starts_with("wl_") && first.len() == 67 && first != second, "{first}");
        assert_eq!(find(&keyring, &first).as_deref(), Some("first"));
        assert_eq!(find(&keyring, &second).as_deref(), Some("second"));
        for bad in ["", "wl_", &first[..66], &first[3..], &first.to_uppercase()] {
            assert_eq!(find(&keyring, bad), None, "{bad}");
        }
        assert_eq!(create(data.path(), wanted("first")).unwrap(), None, "the name is taken");
        assert!(revoke(data.path(), "first").unwrap());
        assert!(!revoke(data.path(), "first").unwrap());
        assert_eq!(find(&keyring, &first), None);
        assert_eq!(find(&keyring, &second).as_deref(), Some("second"));
    }

    #[test]
    fn a_key_that_is_over_is_none() {
        let data = tempfile::tempdir().unwrap();
        let expires = Some(Timestamp::now() - Duration::from_secs(1));
        let secret = create(data.path(), Wanted { expires, ..wanted("old") }).unwrap().unwrap();
        assert_eq!(find(&Keyring::of(data.path()), &secret), None);
        assert_eq!(list(data.path()).unwrap().len(), 1);
    }

    #[test]
    fn the_file_has_no_secret_and_only_its_user_reads_it() {
        let data = tempfile::tempdir().unwrap();
        let secret = create(data.path(), wanted("a")).unwrap().unwrap();
        let path = data.path().join(FILE);
        assert!(!fs::read_to_string(&path).unwrap().contains(&secret[3..20]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let left: Vec<_> = fs::read_dir(data.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_file_that_is_damaged_or_open_to_others_lets_nobody_in() {
        let data = tempfile::tempdir().unwrap();
        let keyring = Keyring::of(data.path());
        let secret = create(data.path(), wanted("a")).unwrap().unwrap();
        let path = data.path().join(FILE);
        assert!(find(&keyring, &secret).is_some());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(find(&keyring, &secret), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(find(&keyring, &secret).is_some());
        fs::write(&path, "{\"keys\":[{\"name\":\"a\"}]}").unwrap();
        assert_eq!(find(&keyring, &secret), None);
        assert!(create(data.path(), wanted("b")).is_err(), "nothing is lost by a command");
    }
}
