//! The keys as a running server knows them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use subtle::ConstantTimeEq as _;
use windlass_core::result::sha256;

use super::keys::{FILE, Key, read};

/// Between two checks whether the file has changed: so long a revoked key is good.
const RECHECK: Duration = Duration::from_millis(250);

/// The keys as a running server knows them.
pub(crate) struct Keyring {
    path: PathBuf,
    known: Mutex<KnownKeys>,
}

#[derive(Default)]
struct KnownKeys {
    checked: Option<Instant>,
    stamp: Option<Stamp>,
    keys: Arc<Vec<Key>>,
}

/// What differs when the file was replaced: inode, size, time of the change.
type Stamp = (u64, u64, i64, i64);

impl Keyring {
    /// Of this data directory.
    pub(crate) fn in_directory(data: &Path) -> Self {
        Self { path: data.join(FILE), known: Mutex::default() }
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
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.checked.is_some_and(|checked| checked.elapsed() < RECHECK) {
            return known.keys.clone();
        }
        known.checked = Some(Instant::now());
        let stamp = fs::metadata(&self.path)
            .ok()
            .map(|file| (file.ino(), file.size(), file.ctime(), file.ctime_nsec()));
        if stamp != known.stamp {
            let read = read(&self.path);
            if let Err(error) = &read {
                tracing::error!("no key is good: {error:#}");
            }
            known.keys = Arc::new(read.unwrap_or_default());
            known.stamp = stamp;
        }
        known.keys.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::server::keys::{NewKey, Right, create, list, revoke};

    fn new_key(name: &str) -> NewKey {
        NewKey {
            name: name.into(),
            namespace: "default".into(),
            verbs: BTreeSet::from([Right::Get]),
            expires: None,
        }
    }

    /// What a server that has looked long ago sees now.
    fn find(keyring: &Keyring, secret: &str) -> Option<String> {
        keyring.known.lock().unwrap().checked = None;
        keyring.find(secret).map(|key| key.name)
    }

    #[test]
    fn a_key_is_good_from_its_making_to_its_revocation() {
        let data = tempfile::tempdir().unwrap();
        let keyring = Keyring::in_directory(data.path());
        assert_eq!(find(&keyring, "wl_x"), None);
        let first = create(data.path(), new_key("first")).unwrap().unwrap();
        let second = create(data.path(), new_key("second")).unwrap().unwrap();
        assert!(first.starts_with("wl_") && first.len() == 67 && first != second, "{first}");
        assert_eq!(find(&keyring, &first).as_deref(), Some("first"));
        assert_eq!(find(&keyring, &second).as_deref(), Some("second"));
        for bad in ["", "wl_", &first[..66], &first[3..], &first.to_uppercase()] {
            assert_eq!(find(&keyring, bad), None, "{bad}");
        }
        assert_eq!(create(data.path(), new_key("first")).unwrap(), None, "the name is taken");
        assert!(revoke(data.path(), "first").unwrap());
        assert!(!revoke(data.path(), "first").unwrap());
        assert_eq!(find(&keyring, &first), None);
        assert_eq!(find(&keyring, &second).as_deref(), Some("second"));
    }

    #[test]
    fn a_key_that_is_over_is_none() {
        let data = tempfile::tempdir().unwrap();
        let expires = Some(Timestamp::now() - Duration::from_secs(1));
        let secret = create(data.path(), NewKey { expires, ..new_key("old") }).unwrap().unwrap();
        assert_eq!(find(&Keyring::in_directory(data.path()), &secret), None);
        assert_eq!(list(data.path()).unwrap().len(), 1);
    }

    #[test]
    fn the_file_has_no_secret_and_only_its_user_reads_it() {
        let data = tempfile::tempdir().unwrap();
        let secret = create(data.path(), new_key("a")).unwrap().unwrap();
        let path = data.path().join(FILE);
        assert!(!fs::read_to_string(&path).unwrap().contains(&secret[3..20]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let left = fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["keys.json", "keys.lock"]);
    }

    #[test]
    fn a_file_that_is_damaged_or_open_to_others_lets_nobody_in() {
        let data = tempfile::tempdir().unwrap();
        let keyring = Keyring::in_directory(data.path());
        let secret = create(data.path(), new_key("a")).unwrap().unwrap();
        let path = data.path().join(FILE);
        assert!(find(&keyring, &secret).is_some());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(find(&keyring, &secret), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(find(&keyring, &secret).is_some());
        fs::write(&path, "{\"keys\":[{\"name\":\"a\"}]}").unwrap();
        assert_eq!(find(&keyring, &secret), None);
        assert!(create(data.path(), new_key("b")).is_err(), "nothing is lost by a command");
    }
}
