//! What the caller gave is wrong.

/// An error that the caller can mend: what they gave is wrong. Exit code 2, as for what clap refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadUsage(pub(crate) String);
