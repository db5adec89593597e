//! The controller. One job goes through [`guard`] -> [`reconcile`]: [`fetch`] -> [`validate`] -> [`admit`] -> [`plan`] ->
//! [`apply`] -> [`update_status`]. [`remove_attempt`] deletes pods and batch Jobs. For batch Jobs that no other controller manages [`managed`] does the rest. What each reaches is in [`context`].
//!
//! [`run`] wires the watches: [`on_watch`] say what follows from a change. Beside the reconciles run [`claims`],
//! [`resync`], [`orphans`], [`keep_standbys`], [`leadership`] with its [`lease`], and [`unreadable_events`].

pub(crate) mod admit;
mod admitted;
pub(crate) mod apply;
mod by_job;
mod claim_standby;
pub(crate) mod claims;
mod cluster_version;
mod confirm;
pub(crate) mod context;
mod delete;
pub(crate) mod events;
mod expectations;
mod failure_events;
pub(crate) mod fetch;
mod fetch_attempts;
mod fetch_failed_create;
mod fetch_function;
mod function_readiness;
mod function_rights;
pub(crate) mod guard;
pub(crate) mod keep_standbys;
mod kept_names;
pub(crate) mod leadership;
pub(crate) mod lease;
mod limits;
mod list_live;
mod lost_attempt;
pub(crate) mod manage_jobs;
mod managed;
mod managed_memory;
mod missing;
pub(crate) mod on_watch;
pub(crate) mod orphans;
pub(crate) mod plan;
mod quarantine;
pub(crate) mod reconcile;
mod refusals;
mod refused_status;
mod remove_attempt;
pub(crate) mod resync;
pub(crate) mod run;
pub(crate) mod settings;
mod silent_node;
mod slow_starts;
mod start_rate;
mod suspend_first;
mod suspended_too_long;
mod unfinished_jobs;
pub(crate) mod unreadable_events;
mod unschedulable;
mod untold_ends;
mod update_status;
pub(crate) mod validate;
mod wanted_standbys;
pub(crate) mod worker_injection;
