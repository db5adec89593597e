//! What the watches of the API server have brought.

pub(crate) mod attempts;
pub(crate) mod job;
pub(crate) mod watch;
