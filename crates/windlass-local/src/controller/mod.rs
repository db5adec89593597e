//! The one task that owns the jobs that have not ended.
//!
//! [`run`] takes events and hands them to [`on_event`], which change what is known of a job and have
//! it [`reconcile`]d. Events that arrived together are one turn. Jobs that need CPUs wait for the end
//! of the turn, when [`grants`] starts those that admission chooses from all of them. A job that waits
//! is kept by the store alone; here is only what admission needs of it.

mod active_jobs;
mod admit;
mod apply;
mod check;
mod context;
mod delay_queue;
mod ends;
mod expiry;
mod fetch;
mod grants;
mod on_event;
mod program;
mod reconcile;
mod recover;
mod run;
mod situation;
mod state;
mod update_status;
mod validate;
mod warm_functions;

pub use check::{is_python_worker, wrong_function};
pub(crate) use context::Context;
pub(crate) use recover::end_leftovers;
pub(crate) use run::Controller;
pub(crate) use validate::job_limits;
