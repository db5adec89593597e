//! Who may do what in the tests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::jobs::{Access, Caller, Checked, Denied, Permission, Resource, Verb};

/// May do everything in `default`.
pub(crate) const GOOD: &str = "good";
/// May do everything, but in another namespace.
pub(crate) const STRANGER: &str = "stranger";
/// May only read in `default`.
pub(crate) const READER: &str = "reader";
/// May only read in `default`, and jobs alone.
pub(crate) const JOB_READER: &str = "job-reader";
/// May only submit in `default`.
pub(crate) const SUBMITTER: &str = "submitter";
/// A token that cannot be judged now.
pub(crate) const UNDECIDED: &str = "undecided";
/// A worker's.
pub(crate) const WORKER: &str = "worker";
/// Another replica.
pub(crate) const PEER: &str = "peer";

/// The same as [`Tokens`], until all tokens are taken back, or all rights of theirs.
#[derive(Default)]
pub(crate) struct Revocable {
    pub(crate) is_revoked: AtomicBool,
    pub(crate) keeps_tokens: bool,
}

#[async_trait]
impl Access for Revocable {
    async fn check(&self, token: Option<&str>, to: Permission, namespace: &str) -> Checked {
        if self.is_revoked.load(Ordering::SeqCst) {
            return Err(match self.keeps_tokens {
                true => Denied::Forbidden(to),
                false => Denied::Unauthenticated,
            });
        }
        Tokens.check(token, to, namespace).await
    }

    async fn check_metrics(&self, token: Option<&str>) -> Result<(), Denied> {
        Tokens.check_metrics(token).await
    }

    async fn caller(&self, token: Option<&str>) -> Result<Caller, Denied> {
        Tokens.caller(token).await
    }

    async fn may_write_functions(
        &self,
        token: Option<&str>,
        namespace: &str,
    ) -> Result<bool, Denied> {
        Tokens.may_write_functions(token, namespace).await
    }

    async fn may_use_function(
        &self,
        token: Option<&str>,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Denied> {
        Tokens.may_use_function(token, namespace, name).await
    }
}

/// Who may do what in the tests.
pub(crate) struct Tokens;

#[async_trait]
impl Access for Tokens {
    async fn check(&self, token: Option<&str>, to: Permission, namespace: &str) -> Checked {
        let reads = matches!(to.verb, Verb::Get | Verb::List | Verb::Watch);
        let may = match token {
            Some(GOOD) => namespace == "default",
            Some(JOB_READER) if to.resource != Resource::Jobs => false,
            Some(READER | JOB_READER) => namespace == "default" && reads,
            Some(SUBMITTER) => namespace == "default" && to.verb == Verb::Create,
            Some(STRANGER) => namespace == "elsewhere",
            Some(UNDECIDED) => {
                return Err(Denied::Unavailable {
                    message: "nobody can say".into(),
                    retry_after: Duration::from_millis(2_500),
                });
            }
            _ => return Err(Denied::Unauthenticated),
        };
        if may { Ok(()) } else { Err(Denied::Forbidden(to)) }
    }

    async fn check_peer(&self, token: Option<&str>) -> Result<(), Denied> {
        match token {
            Some(PEER) => Ok(()),
            Some(UNDECIDED) => self.check(token, Permission::jobs(Verb::Get), "").await,
            _ => Err(Denied::Unauthenticated),
        }
    }

    async fn check_metrics(&self, token: Option<&str>) -> Result<(), Denied> {
        match self.check(token, Permission::jobs(Verb::Get), "default").await {
            Ok(()) if token == Some(GOOD) => Ok(()),
            Ok(()) | Err(Denied::Forbidden(_)) => Err(Denied::NoMetrics),
            other => other,
        }
    }

    async fn check_admin(&self, token: Option<&str>) -> Result<(), Denied> {
        self.check_metrics(token).await.map_err(|denied| match denied {
            Denied::NoMetrics => Denied::NotAdmin,
            other => other,
        })
    }

    async fn caller(&self, token: Option<&str>) -> Result<Caller, Denied> {
        match self.check(token, Permission::jobs(Verb::Get), "default").await {
            Ok(()) | Err(Denied::Forbidden(_)) => {
                let name = token.unwrap_or_default().to_owned();
                Ok(Caller { name, is_admin: token == Some(GOOD) })
            }
            Err(other) => Err(other),
        }
    }

    async fn may_write_functions(
        &self,
        token: Option<&str>,
        namespace: &str,
    ) -> Result<bool, Denied> {
        Ok(token == Some(GOOD) && namespace == "default")
    }

    async fn may_use_function(
        &self,
        token: Option<&str>,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Denied> {
        Ok(token == Some(GOOD) && (namespace, name) == ("default", "shared"))
    }
}
