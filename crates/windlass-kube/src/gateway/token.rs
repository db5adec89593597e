//! Bearer tokens: who holds one, as the API server's TokenReview says.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest as _, Sha256};
use windlass_core::Error;
use windlass_core::jobs::Denied;

use crate::error::call;

/// Longest bearer token, in bytes; a service account's has about 1,200.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A token is kept by its digest, so that no secret stays in memory.
pub(super) type TokenDigest = [u8; 32];

/// A token that may be reviewed, and its digest.
pub(super) fn with_digest(token: Option<&str>) -> Result<(&str, TokenDigest), Denied> {
    let token = token.filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN_BYTES);
    let token = token.ok_or(Denied::Unauthenticated)?;
    Ok((token, digest(token)))
}

pub(super) fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token).into()
}

/// Who holds this token, for this audience or for the API server itself. `None` for a bad token.
pub(super) async fn review_token(
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
    // A review is a POST that creates nothing.
    let reviews: Api<TokenReview> = Api::all(client.clone());
    let answer =
        call(reviews.create(&PostParams::default(), &review)).await.map_err(unavailable)?;
    let status = answer.status.unwrap_or_default();
    let is_for_us = audience
        .is_none_or(|audience| status.audiences.iter().flatten().any(|known| known == audience));
    Ok(status.user.filter(|_| status.authenticated == Some(true) && is_for_us))
}

/// Why nobody can say now who somebody is, or what they may do.
pub(super) fn unavailable(error: Error) -> Denied {
    Denied::Unavailable { message: error.to_string(), retry_after: Duration::from_secs(1) }
}
