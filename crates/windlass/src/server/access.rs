//! Who may call a server on one machine: its admin, by 256 random bits in a file that only its user
//! can read, and the holders of [keys](super::keys), each for what its key is good for.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use subtle::ConstantTimeEq as _;
use windlass_core::jobs::{Access, Caller, Checked, Denied, Permission, Resource, Verb};
use windlass_gateway::{SECRET_DIGITS, random_secret};

use super::keyring::Keyring;
use super::keys::{Key, Right};

/// The file in the data directory.
const FILE: &str = "token";

/// The one namespace of a machine.
const NAMESPACE: &str = "default";

/// Lets through whoever holds the token, and the holders of keys for what they are good for.
pub(crate) struct TokenAccess {
    token: String,
    keys: Keyring,
}

/// Who shows a token.
enum Holder {
    Admin,
    Key(Key),
}

impl TokenAccess {
    /// With the token in this directory, which is made when there is none.
    pub(crate) fn in_directory(data: &Path) -> anyhow::Result<Self> {
        let path = data.join(FILE);
        let token = match fs::read_to_string(&path) {
            Ok(token) => {
                let mode = fs::metadata(&path)?.permissions().mode();
                if mode & 0o077 != 0 {
                    bail!("{} can be read by others; it needs mode 0600", path.display());
                }
                token.trim().to_owned()
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(&path)?,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        if token.len() != SECRET_DIGITS || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!("{} does not hold a token of {SECRET_DIGITS} hex digits", path.display());
        }
        Ok(Self { token, keys: Keyring::in_directory(data) })
    }

    fn holder(&self, token: Option<&str>) -> Result<Holder, Denied> {
        let token = token.unwrap_or_default();
        if bool::from(token.as_bytes().ct_eq(self.token.as_bytes())) {
            return Ok(Holder::Admin);
        }
        self.keys.find(token).map(Holder::Key).ok_or(Denied::Unauthenticated)
    }
}

#[async_trait]
impl Access for TokenAccess {
    async fn check(&self, token: Option<&str>, to: Permission, namespace: &str) -> Checked {
        let may = match self.holder(token)? {
            Holder::Admin => true,
            // Queues are files of the admin.
            Holder::Key(_) if to.resource == Resource::Queues && to.verb == Verb::Patch => false,
            Holder::Key(key) => {
                key.namespace == namespace && key.verbs.contains(&Right::to(to.verb))
            }
        };
        if may && namespace == NAMESPACE { Ok(()) } else { Err(Denied::Forbidden(to)) }
    }

    async fn check_metrics(&self, token: Option<&str>) -> Result<(), Denied> {
        match self.holder(token)? {
            Holder::Admin => Ok(()),
            Holder::Key(key) if key.verbs.contains(&Right::Metrics) => Ok(()),
            Holder::Key(_) => Err(Denied::NoMetrics),
        }
    }

    async fn check_admin(&self, token: Option<&str>) -> Result<(), Denied> {
        match self.holder(token)? {
            Holder::Admin => Ok(()),
            Holder::Key(_) => Err(Denied::NotAdmin),
        }
    }

    async fn caller(&self, token: Option<&str>) -> Result<Caller, Denied> {
        Ok(match self.holder(token)? {
            Holder::Admin => Caller { name: "admin".to_owned(), is_admin: true },
            Holder::Key(key) => Caller { name: format!("key {}", key.name), is_admin: false },
        })
    }

    /// The one namespace has all functions.
    async fn may_use_function(
        &self,
        token: Option<&str>,
        namespace: &str,
        _: &str,
    ) -> Result<bool, Denied> {
        self.holder(token)?;
        Ok(namespace == NAMESPACE)
    }

    /// Functions are files of the admin.
    async fn may_write_functions(&self, token: Option<&str>, _: &str) -> Result<bool, Denied> {
        Ok(matches!(self.holder(token)?, Holder::Admin))
    }
}

/// Whether a server has made its token in this directory.
pub(crate) fn is_in(data: &Path) -> bool {
    data.join(FILE).exists()
}

fn create(path: &Path) -> anyhow::Result<String> {
    let token = random_secret()?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| path.display().to_string())?;
    file.write_all(token.as_bytes())?;
    file.sync_all()?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::server::keys::{self, NewKey};

    #[tokio::test]
    async fn only_the_token_in_the_file_opens_the_one_namespace() {
        let data = tempfile::tempdir().unwrap();
        let first = TokenAccess::in_directory(data.path()).unwrap();
        let again = TokenAccess::in_directory(data.path()).unwrap();
        assert_eq!(first.token, again.token);
        let mode = fs::metadata(data.path().join("token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let good = Some(first.token.as_str());
        assert!(first.check(good, Permission::jobs(Verb::Get), "default").await.is_ok());
        let elsewhere = first.check(good, Permission::jobs(Verb::Get), "kube-system").await;
        assert!(matches!(elsewhere, Err(Denied::Forbidden(_))));
        for bad in [None, Some(""), Some("nothing"), Some(&first.token[1..])] {
            let denied = first.check(bad, Permission::jobs(Verb::Get), "default").await;
            assert!(matches!(denied, Err(Denied::Unauthenticated)), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_key_is_good_for_its_verbs_in_its_namespace_and_no_more() {
        let data = tempfile::tempdir().unwrap();
        let key = |name: &str, namespace: &str, verbs: &[Right]| {
            let verbs: BTreeSet<_> = verbs.iter().copied().collect();
            let (name, namespace) = (name.to_owned(), namespace.to_owned());
            let wanted = NewKey { name, namespace, verbs, expires: None };
            keys::create(data.path(), wanted).unwrap().unwrap()
        };
        let reader = key("reader", "default", &[Right::Get, Right::List]);
        let stranger = key("stranger", "elsewhere", &[Right::Get, Right::Metrics]);
        let access = TokenAccess::in_directory(data.path()).unwrap();
        let check = async |token: &str, verb, namespace: &str| {
            access.check(Some(token), Permission::jobs(verb), namespace).await
        };
        assert!(check(&reader, Verb::Get, "default").await.is_ok());
        assert!(check(&reader, Verb::List, "default").await.is_ok());
        for (token, verb, namespace) in [
            (&reader, Verb::Create, "default"),
            (&reader, Verb::Get, "elsewhere"),
            (&stranger, Verb::Get, "default"),
            (&stranger, Verb::Get, "elsewhere"),
        ] {
            let denied = check(token, verb, namespace).await;
            assert!(matches!(denied, Err(Denied::Forbidden(_))), "{verb:?} {namespace}");
        }
        assert!(matches!(access.check_metrics(Some(&reader)).await, Err(Denied::NoMetrics)));
        assert!(access.check_metrics(Some(&stranger)).await.is_ok());
        let caller = access.caller(Some(&reader)).await.unwrap();
        assert_eq!((caller.name.as_str(), caller.is_admin), ("key reader", false));
        assert!(!access.may_write_functions(Some(&reader), "default").await.unwrap());
        let admin = Some(access.token.as_str());
        assert!(access.may_write_functions(admin, "default").await.unwrap());
        assert!(access.caller(admin).await.unwrap().is_admin);
    }

    #[test]
    fn a_token_that_others_can_read_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("token");
        fs::write(&path, "0".repeat(SECRET_DIGITS)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(TokenAccess::in_directory(data.path()).is_err());
    }
}
