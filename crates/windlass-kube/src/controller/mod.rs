//! The controller: one reconcile per ComputeJob that has changed, and what runs beside it.

pub(crate) mod apply;
pub(crate) mod claims;
pub(crate) mod context;
pub(crate) mod events;
pub(crate) mod failed_creates;
pub(crate) mod fetch;
pub(crate) mod lease;
pub(crate) mod malformed;
pub(crate) mod orphans;
pub(crate) mod reconcile;
pub(crate) mod resync;
pub(crate) mod run;
