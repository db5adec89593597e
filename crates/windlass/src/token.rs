//! The token of a server on one machine: 256 random bits in a file that only its user can read.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use subtle::ConstantTimeEq as _;
use windlass_core::jobs::{Access, Denied, Verb};

/// Hex digits of a token.
const DIGITS: usize = 64;

/// Lets through whoever holds the token, in the one namespace of a machine.
pub(crate) struct TokenAccess(String);

impl TokenAccess {
    /// With the token in this directory, which is made when there is none.
    pub(crate) fn in_directory(data: &Path) -> anyhow::Result<Self> {
        let path = data.join("token");
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
        if token.len() != DIGITS || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!("{} does not hold a token of {DIGITS} hex digits", path.display());
        }
        Ok(Self(token))
    }
}

#[async_trait]
impl Access for TokenAccess {
    async fn check(&self, token: Option<&str>, verb: Verb, namespace: &str) -> Result<(), Denied> {
        let token = token.unwrap_or_default();
        if !bool::from(token.as_bytes().ct_eq(self.0.as_bytes())) {
            Err(Denied::Unauthenticated)
        } else if namespace != "default" {
            Err(Denied::Forbidden(verb))
        } else {
            Ok(())
        }
    }

    async fn check_metrics(&self, token: Option<&str>) -> Result<(), Denied> {
        self.check(token, Verb::Get, "default").await
    }
}

fn create(path: &Path) -> anyhow::Result<String> {
    let mut random = [0_u8; DIGITS / 2];
    fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
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
    use super::*;

    #[tokio::test]
    async fn only_the_token_in_the_file_opens_the_one_namespace() {
        let data = tempfile::tempdir().unwrap();
        let first = TokenAccess::in_directory(data.path()).unwrap();
        let again = TokenAccess::in_directory(data.path()).unwrap();
        assert_eq!(first.0, again.0);
        let mode = fs::metadata(data.path().join("token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let good = Some(first.0.as_str());
        assert!(first.check(good, Verb::Get, "default").await.is_ok());
        let elsewhere = first.check(good, Verb::Get, "kube-system").await;
        assert!(matches!(elsewhere, Err(Denied::Forbidden(Verb::Get))));
        for bad in [None, Some(""), Some("nothing"), Some(&first.0[1..])] {
            let denied = first.check(bad, Verb::Get, "default").await;
            assert!(matches!(denied, Err(Denied::Unauthenticated)), "{bad:?}");
        }
    }

    #[test]
    fn a_token_that_others_can_read_is_refused() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("token");
        fs::write(&path, "0".repeat(DIGITS)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(TokenAccess::in_directory(data.path()).is_err());
    }
}
