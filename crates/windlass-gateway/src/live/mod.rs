//! Progress on its way from workers to streams, without the store in between.
//!
//! In: progress that workers report, here or to another replica, and the changes of the jobs that
//! somebody follows. Out: [`job_event`]s for the streams, and batches for the other replicas.
//! The latest progress of each job is in the [`progress_cache`], what it uses in the [`usage_cache`]. A [`shared_watch`] for each job that
//! is followed puts it together with the job. [`outbox`] and [`peers`] send on what was reported here.
//!
//! Deliberately absent: any promise. A report that is lost on its way is in the status within seconds.

pub(crate) mod job_event;
pub(crate) mod live_progress;
pub(crate) mod namespace_watch;
pub(crate) mod outbox;
pub(crate) mod peers;
pub(crate) mod progress_cache;
mod shared_task;
pub(crate) mod shared_watch;
pub(crate) mod usage_cache;
