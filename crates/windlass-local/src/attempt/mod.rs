//! One try at running a job: a worker process with its function, its CPUs and its memory.
//!
//! [`build_order`] makes the order for its worker and [`observe`] makes core's attempt of what is known of
//! it; both are pure. [`start`] starts it, [`running_attempts`] knows what runs and stops it,
//! [`give_order`] gives the order to its worker,
//! [`watch_worker`] attends its [`worker`] until nothing of it is left, [`record`] tells a later server that it was started. Workers that have no order yet wait in
//! [`worker_pool`], functions that serve in [`warm_pool`]; [`keep_warm`] starts those ahead and ends them, and
//! [`replacements`] bounds what is said of that.

pub(crate) mod build_order;
mod give_order;
pub(crate) mod keep_warm;
pub(crate) mod observe;
pub(crate) mod record;
mod replacements;
pub(crate) mod running_attempts;
mod start;
pub(crate) mod warm_pool;
mod watch_worker;
mod worker;
mod worker_pool;
