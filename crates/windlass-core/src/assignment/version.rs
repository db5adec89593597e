//! Reads what a worker in a pod is told, whose controller may be of another release.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Version of what a worker is told. It is raised when a worker that knows less would do something wrong: that worker then
/// says so. A field more does not raise it. Reports have none: a gateway of before refuses fields that it does not know.
pub const VERSION: u32 = 1;

/// Why a worker cannot read what it is told.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Who assigns is too much newer.
    #[error(
        "it has version {0} of what workers are told, and this worker knows versions up to {VERSION}: \
         give the function's image a newer worker"
    )]
    Newer(u32),
    /// It is no such thing.
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
}

/// Reads what a worker in a pod is told: an [`Assignment`](super::Assignment) or a [`StandbyOrder`](super::StandbyOrder).
pub fn read_told<T: DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    // First: of a newer one, nothing else need be as it is known here.
    let Versioned { version } = serde_json::from_str(text)?;
    check_version(version)?;
    Ok(serde_json::from_str(text)?)
}

/// Whether a worker can do what it is told in this version.
pub fn check_version(version: u32) -> Result<(), Unreadable> {
    if version > VERSION { Err(Unreadable::Newer(version)) } else { Ok(()) }
}

/// The version of what is told, whatever else that is.
#[derive(Deserialize)]
struct Versioned {
    #[serde(default = "first_version")]
    version: u32,
}

/// That of whoever does not say it.
pub(super) fn first_version() -> u32 {
    1
}
