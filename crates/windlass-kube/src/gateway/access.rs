//! What a caller may do: the caller's own rights, as the API server knows them.
//!
//! TokenReview says who the caller is, SubjectAccessReview what they may do; both answers are kept for a few seconds.
//! The gateway uses its own rights for a caller only after both reviews.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::UserInfo;
use kube::Client;
use moka::future::Cache;
use windlass_core::jobs::{Access, Caller, Checked, Denied, Permission, Resource};

use super::token::{TokenDigest, digest, review_token, unavailable, with_digest};
use crate::access_review::{Deed, is_allowed};

/// How long an answer is kept: the longest that a revoked right still works.
const KEPT: Duration = Duration::from_secs(10);
/// How long it is known who holds a token of replicas. Such a token only forwards progress.
const PEER_KEPT: Duration = Duration::from_secs(60);
/// Most answers kept of each kind.
const MOST_KEPT: u64 = 10_000;

/// Audience of the tokens by which the replicas of a gateway know each other.
pub(crate) const PEER_AUDIENCE: &str = "windlass-gateway";

/// Asks the API server what callers may do.
pub struct ClusterAccess {
    client: Client,
    /// Callers by their token. `None` for a bad token.
    callers: Cache<TokenDigest, Option<UserInfo>>,
    /// Whether a token's holder has a permission, by the names of the permission.
    rights: Cache<(TokenDigest, &'static str, &'static str, String), bool>,
    /// File with this gateway's own token for its other replicas, if it has any.
    own_token: Option<PathBuf>,
    /// Who holds a token of replicas. `None` for a bad one.
    peers: Cache<TokenDigest, Option<String>>,
}

impl ClusterAccess {
    /// With this client, which needs the right to create TokenReviews and SubjectAccessReviews.
    pub fn new(client: Client) -> Self {
        let kept = || Cache::builder().max_capacity(MOST_KEPT).time_to_live(KEPT);
        Self {
            client,
            callers: kept().build(),
            rights: Cache::builder().max_capacity(MOST_KEPT).time_to_live(KEPT).build(),
            own_token: None,
            peers: Cache::builder().max_capacity(MOST_KEPT).time_to_live(PEER_KEPT).build(),
        }
    }

    /// The same for a gateway that has other replicas: they hold tokens of the same service account as
    /// the one in this file.
    pub fn with_peers(self, own_token: PathBuf) -> Self {
        Self { own_token: Some(own_token), ..self }
    }

    /// Name of the service account that holds this token of replicas.
    async fn peer_account(&self, token: &str) -> Result<String, Denied> {
        let review = async {
            let user = review_token(&self.client, token, Some(PEER_AUDIENCE)).await?;
            Ok::<_, Denied>(user.and_then(|user| user.username))
        };
        let known =
            self.peers.try_get_with(digest(token), review).await.map_err(|e| (*e).clone())?;
        known.ok_or(Denied::Unauthenticated)
    }

    /// Who holds this token, and the token's digest.
    async fn authenticate(&self, token: Option<&str>) -> Result<(TokenDigest, UserInfo), Denied> {
        let (token, digest) = with_digest(token)?;
        let review = review_token(&self.client, token, None);
        let known = self.callers.try_get_with(digest, review).await.map_err(|e| (*e).clone())?;
        Ok((digest, known.ok_or(Denied::Unauthenticated)?))
    }

    /// Whether the holder of this token has this permission.
    async fn is_allowed(&self, token: Option<&str>, wanted: Wanted<'_>) -> Result<bool, Denied> {
        let (digest, caller) = self.authenticate(token).await?;
        let (resource, verb, place) = wanted.names();
        let key = (digest, resource, verb, place);
        let review =
            async { is_allowed(&self.client, caller, wanted.deed()).await.map_err(unavailable) };
        self.rights.try_get_with(key, review).await.map_err(|e| (*e).clone())
    }
}

#[async_trait]
impl Access for ClusterAccess {
    async fn check(&self, token: Option<&str>, to: Permission, namespace: &str) -> Checked {
        let allowed = self.is_allowed(token, Wanted::On(to, namespace)).await?;
        if allowed { Ok(()) } else { Err(Denied::Forbidden(to)) }
    }

    async fn check_metrics(&self, token: Option<&str>) -> Result<(), Denied> {
        let allowed = self.is_allowed(token, Wanted::ReadMetrics).await?;
        if allowed { Ok(()) } else { Err(Denied::NoMetrics) }
    }

    async fn caller(&self, token: Option<&str>) -> Result<Caller, Denied> {
        let (_, caller) = self.authenticate(token).await?;
        Ok(Caller { name: caller.username.unwrap_or_default(), is_admin: false })
    }

    async fn may_write_functions(
        &self,
        token: Option<&str>,
        namespace: &str,
    ) -> Result<bool, Denied> {
        self.is_allowed(token, Wanted::WriteFunctions(namespace)).await
    }

    async fn may_use_function(
        &self,
        token: Option<&str>,
        namespace: &str,
        name: &str,
    ) -> Result<bool, Denied> {
        self.is_allowed(token, Wanted::UseFunction { namespace, name }).await
    }

    async fn check_peer(&self, token: Option<&str>) -> Result<(), Denied> {
        let (token, _) = with_digest(token)?;
        let path = self.own_token.as_ref().ok_or(Denied::Unauthenticated)?;
        let caller = self.peer_account(token).await?;
        // The file is read each time: its token is renewed.
        let own = tokio::fs::read_to_string(path).await.map_err(|error| Denied::Unavailable {
            message: format!("this gateway's own token cannot be read: {error}"),
            retry_after: Duration::from_secs(1),
        })?;
        if caller == self.peer_account(own.trim()).await? {
            Ok(())
        } else {
            Err(Denied::Unauthenticated)
        }
    }
}

/// What a caller may or may not do.
enum Wanted<'a> {
    /// This in a namespace.
    On(Permission, &'a str),
    /// Changing the ComputeFunctions of a namespace.
    WriteFunctions(&'a str),
    /// Using a ClusterComputeFunction in a namespace.
    UseFunction { namespace: &'a str, name: &'a str },
    /// Reading `/metrics`, as of every component of a cluster.
    ReadMetrics,
}

impl Wanted<'_> {
    /// What tells it from every other permission.
    fn names(&self) -> (&'static str, &'static str, String) {
        match self {
            Self::On(Permission { resource, verb }, namespace) => {
                (resource.as_str(), verb.as_str(), (*namespace).to_owned())
            }
            Self::WriteFunctions(namespace) => {
                (Resource::Functions.as_str(), "update", (*namespace).to_owned())
            }
            Self::UseFunction { namespace, name } => {
                ("clustercomputefunctions", "use", format!("{namespace}/{name}"))
            }
            Self::ReadMetrics => ("metrics", "get", String::new()),
        }
    }

    /// What the API server is asked.
    fn deed(&self) -> Deed {
        match *self {
            Self::On(Permission { resource, verb }, namespace) => {
                Deed::on(resource.as_str(), verb.as_str(), namespace)
            }
            Self::WriteFunctions(namespace) => {
                Deed::on(Resource::Functions.as_str(), "update", namespace)
            }
            Self::UseFunction { namespace, name } => Deed::use_of(name, namespace),
            Self::ReadMetrics => Deed::Get("/metrics"),
        }
    }
}
