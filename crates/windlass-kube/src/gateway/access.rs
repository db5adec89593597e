//! Who may do what: the caller's own rights, as the API server knows them.
//!
//! TokenReview says who the caller is, SubjectAccessReview whether they may; both answers are kept
//! for a few seconds. Nothing is done with rights of ours on behalf of a caller who was not asked
//! for first.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use moka::future::Cache;
use sha2::{Digest as _, Sha256};
use windlass_core::jobs::{Access, Denied, Verb};

use crate::error::{from_kube, within_deadline};

/// How long an answer is kept: the longest that a revoked right still works.
const KEPT: Duration = Duration::from_secs(10);
/// How long it is known who holds a token for replicas: it tells progress and is good for nothing else.
const PEER_KEPT: Duration = Duration::from_secs(60);
/// Most answers kept of each kind.
const MOST_KEPT: u64 = 10_000;
/// Longest bearer token, in bytes; a service account's has about 1,200.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Audience of the tokens by which the replicas of a gateway know each other.
pub(crate) const PEER_AUDIENCE: &str = "windlass-gateway";

/// Asks the API server.
pub struct ClusterAccess {
    client: Client,
    /// By digest of the token, so that no secret lies around in a map. `None` for a bad token.
    callers: Cache<[u8; 32], Option<UserInfo>>,
    /// By digest of the token, verb and namespace.
    rights: Cache<([u8; 32], &'static str, String), bool>,
    /// File with this gateway's own token for its other replicas, if it has any.
    own_token: Option<PathBuf>,
    /// Who holds a token for replicas, by its digest. `None` for a bad one.
    peers: Cache<[u8; 32], Option<String>>,
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

    /// Whose token for replicas this is.
    async fn replica(&self, token: &str) -> Result<String, Denied> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let review = async {
            let user = review_token(&self.client, token, Some(PEER_AUDIENCE)).await?;
            Ok::<_, Denied>(user.and_then(|user| user.username))
        };
        let known = self.peers.try_get_with(digest, review).await.map_err(|e| (*e).clone())?;
        known.ok_or(Denied::Unauthenticated)
    }

    /// Who holds this token, and the token's digest.
    async fn holder(&self, token: Option<&str>) -> Result<([u8; 32], UserInfo), Denied> {
        let token = token.filter(|t| !t.is_empty() && t.len() <= MAX_TOKEN_BYTES);
        let token = token.ok_or(Denied::Unauthenticated)?;
        let digest: [u8; 32] = Sha256::digest(token).into();
        let review = review_token(&self.client, token, None);
        let known = self.callers.try_get_with(digest, review).await.map_err(|e| (*e).clone())?;
        Ok((digest, known.ok_or(Denied::Unauthenticated)?))
    }
}

#[async_trait]
impl Access for ClusterAccess {
    async fn check(&self, token: Option<&str>, verb: Verb, namespace: &str) -> Result<(), Denied> {
        let (digest, caller) = self.holder(token).await?;
        let key = (digest, verb.as_str(), namespace.to_owned());
        let review = may(&self.client, caller, Asked::Jobs(verb, namespace));
        let allowed = self.rights.try_get_with(key, review).await.map_err(|e| (*e).clone())?;
        if allowed { Ok(()) } else { Err(Denied::Forbidden(verb)) }
    }

    async fn check_metrics(&self, token: Option<&str>) -> Result<(), Denied> {
        let (digest, caller) = self.holder(token).await?;
        let metrics = Asked::Metrics;
        let key = (digest, "metrics", String::new());
        let review = may(&self.client, caller, metrics);
        let allowed = self.rights.try_get_with(key, review).await.map_err(|e| (*e).clone())?;
        if allowed { Ok(()) } else { Err(Denied::NoMetrics) }
    }

    async fn caller(&self, token: Option<&str>) -> Result<String, Denied> {
        let (_, caller) = self.holder(token).await?;
        Ok(caller.username.unwrap_or_default())
    }

    async fn check_peer(&self, token: Option<&str>) -> Result<(), Denied> {
        let token = token.filter(|t| !t.is_empty() && t.len() <= MAX_TOKEN_BYTES);
        let token = token.ok_or(Denied::Unauthenticated)?;
        let path = self.own_token.as_ref().ok_or(Denied::Unauthenticated)?;
        let caller = self.replica(token).await?;
        // It is read each time: it is renewed.
        let own = tokio::fs::read_to_string(path).await.map_err(|error| Denied::Unavailable {
            message: format!("this gateway's own token cannot be read: {error}"),
            retry_after: Duration::from_secs(1),
        })?;
        if caller == self.replica(own.trim()).await? {
            Ok(())
        } else {
            Err(Denied::Unauthenticated)
        }
    }
}

/// What somebody may or may not.
enum Asked<'a> {
    /// This with the ComputeJobs of a namespace.
    Jobs(Verb, &'a str),
    /// Read `/metrics`, as of every component of a cluster.
    Metrics,
}

/// Who holds this token, for this audience or for the API server itself. `None` for a bad token.
pub(crate) async fn review_token(
    client: &Client,
    token: &str,
    audience: Option<&str>,
) -> Result<Option<UserInfo>, Denied> {
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: audience.map(|audience| vec![audience.to_owned()]),
        },
        ..TokenReview::default()
    };
    let api: Api<TokenReview> = Api::all(client.clone());
    let answer = within_deadline(api.create(&PostParams::default(), &review))
        .await
        .and_then(|answer| answer.map_err(from_kube))
        .map_err(unavailable)?;
    let status = answer.status.unwrap_or_default();
    let meant = audience
        .is_none_or(|audience| status.audiences.iter().flatten().any(|known| known == audience));
    Ok(status.user.filter(|_| status.authenticated == Some(true) && meant))
}

async fn may(client: &Client, caller: UserInfo, asked: Asked<'_>) -> Result<bool, Denied> {
    let (resource_attributes, non_resource_attributes) = match asked {
        Asked::Jobs(verb, namespace) => {
            let attributes = ResourceAttributes {
                group: Some(windlass_core::GROUP.into()),
                resource: Some("computejobs".into()),
                namespace: Some(namespace.to_owned()),
                verb: Some(verb.as_str().into()),
                ..ResourceAttributes::default()
            };
            (Some(attributes), None)
        }
        Asked::Metrics => {
            let (path, verb) = (Some("/metrics".into()), Some("get".into()));
            (None, Some(NonResourceAttributes { path, verb }))
        }
    };
    let extra: BTreeMap<_, _> = caller.extra.unwrap_or_default().into_iter().collect();
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: caller.username,
            uid: caller.uid,
            groups: caller.groups,
            extra: Some(extra),
            resource_attributes,
            non_resource_attributes,
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = within_deadline(api.create(&PostParams::default(), &review))
        .await
        .and_then(|answer| answer.map_err(from_kube))
        .map_err(unavailable)?;
    Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
}

fn unavailable(error: windlass_core::Error) -> Denied {
    Denied::Unavailable { message: error.to_string(), retry_after: Duration::from_secs(1) }
}
