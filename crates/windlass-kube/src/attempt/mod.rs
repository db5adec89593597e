//! One attempt of a job as Kubernetes objects. Pure: no file here asks the API server.
//!
//! [`build_batch_job`] makes the batch Job of an attempt. [`observe`] tells from the batch Job and its pods how far the attempt
//! is. What is kept of these objects is in [`objects`], whose they are in [`owner`]. [`managed`] is
//! what the Job controller would do, where we do it: [`managed_step`] says what is next, [`managed_pod`]
//! makes the pod. [`inputs`] says what its worker fetches. [`pod_template`] is what a function says of its pods,
//! [`complete_pod`] adds what is ours. A [`standby`] is made by [`build_standby`] before there is an attempt.

pub(crate) mod build_batch_job;
pub(crate) mod build_standby;
mod complete_pod;
mod inputs;
mod late_pod;
pub(crate) mod managed;
pub(crate) mod managed_pod;
pub(crate) mod managed_step;
pub(crate) mod new_attempt;
pub(crate) mod objects;
pub(crate) mod observe;
pub(crate) mod owner;
mod pod;
mod pod_state;
pub(crate) mod pod_template;
pub(crate) mod report_endpoint;
pub(crate) mod standby;
mod suspension;
pub(crate) mod worker_source;

#[cfg(test)]
mod tests;
