//! One try at running a job: a worker process with its function, its CPUs and its memory.
//!
//! [`build`] makes the order for its worker and [`observe`] makes core's attempt of what is known of
//! it; both are pure. [`live`] starts and stops it, [`supervise`] attends its [`worker`] until nothing of
//! it is left, [`record`] tells a later server that it was started. Workers that have no order yet wait in
//! [`worker_pool`], functions that serve in [`warm_pool`]; [`warm`] starts those ahead and ends them.

pub(crate) mod build;
pub(crate) mod live;
pub(crate) mod observe;
pub(crate) mod record;
mod supervise;
pub(crate) mod warm;
pub(crate) mod warm_pool;
mod worker;
mod worker_pool;
