//! Where the workers of attempts report to.

use std::sync::Arc;

use windlass_core::assignment::ReportTo;

/// Directory of the pod in which the token with which a worker reports is mounted.
pub(super) const TOKEN_DIRECTORY: &str = "/windlass/token";

/// Gives certificate authorities (PEM) as they are now, at most
/// [`MAX_AUTHORITIES_BYTES`](windlass_core::assignment::MAX_AUTHORITIES_BYTES). Must return at once.
pub type Authorities = Arc<dyn Fn() -> Arc<str> + Send + Sync>;

/// Where workers report to.
#[derive(Clone)]
pub struct ReportEndpoint {
    /// The gateway's report route, as pods reach it.
    pub url: String,
    /// Who is trusted with an `https` URL; nobody is without.
    pub authorities: Option<Authorities>,
    /// Most bytes of an attempt's log that they send there to be kept. Without it they send none.
    pub keep_log_bytes: Option<u64>,
}

impl ReportEndpoint {
    pub(super) fn current(&self) -> ReportTo {
        ReportTo::Http {
            url: self.url.clone(),
            token: format!("{TOKEN_DIRECTORY}/token"),
            authorities: self.authorities.as_ref().map(|authorities| authorities().to_string()),
        }
    }
}
