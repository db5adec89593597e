//! What is known of the API server: what the watches have brought, and what lists beside them have found. No file here
//! asks it anything.
//!
//! [`watch`] turns the events of a watch, or of several, into changes that miss nothing. [`stores`] keeps the resources of ours,
//! [`attempts`] what belongs to each attempt, [`synced`] whether all of it is here.

pub(crate) mod attempts;
pub(crate) mod failed_creates;
pub(crate) mod job;
mod merged_watches;
pub(crate) mod prune;
pub(crate) mod standbys;
pub(crate) mod stores;
pub(crate) mod synced;
pub(crate) mod unreadable;
pub(crate) mod watch;
