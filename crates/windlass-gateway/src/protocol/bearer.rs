//! The token of `Authorization: Bearer`.

use http::{HeaderMap, header};
use windlass_core::jobs::Denied;

use super::error::ApiError;

/// The caller's bearer token. Has no `Debug`: it must reach no log.
#[derive(Clone)]
pub(crate) struct BearerToken(String);

impl BearerToken {
    /// The token of the one `Authorization: Bearer` header.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let token = match (lines.next(), lines.next()) {
            (Some(line), None) => line.to_str().ok().and_then(|line| line.split_once(' ')),
            _ => None,
        };
        token
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .filter(|token| !token.is_empty())
            .map(|token| Self(token.to_owned()))
            .ok_or_else(|| Denied::Unauthenticated.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
