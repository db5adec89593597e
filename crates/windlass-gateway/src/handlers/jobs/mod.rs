//! `/v1/namespaces/{namespace}/jobs`: one file for each thing that can be done with jobs, and what
//! they share: [`job_request`], [`validate`], [`wait`], [`response`], [`stream_end`].

pub(crate) mod cancel;
pub(crate) mod changes;
pub(crate) mod delete;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod job_request;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod response;
pub(crate) mod result;
pub(crate) mod retry;
pub(crate) mod stream_end;
pub(crate) mod submit;
pub(crate) mod usage;
pub(crate) mod validate_and_submit;
pub(crate) mod wait;
