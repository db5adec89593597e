//! What Windlass decides, as plain values and functions.
//!
//! In: the resources a person writes ([`FunctionSpec`], [`QueueSpec`], [`JobSpec`]), what a driver
//! has [`Observed`], what a worker [`Report`]s, and the time as an argument. Out: the list of
//! problems ([`validate`]), who may start with how many CPUs ([`Admission`]), what to do for one job
//! ([`plan`]) and the next [`JobStatus`].
//!
//! Deliberately absent: files, sockets, processes, clocks, randomness, environment variables and
//! any async runtime. The crate's `clippy.toml` refuses them, so that the same decision can be
//! replayed in a test, on one machine and in a cluster.
//!
//! Four words are used everywhere, in code, documents and logs: **spec** is what is wanted,
//! **Observed** what was seen of it, **Plan** what is decided, **status** what is told.

pub mod admit;
pub mod advice;
pub mod assignment;
pub mod blob;
pub mod blobs;
pub mod changes;
pub mod clock;
pub mod cluster_queue;
pub mod error;
pub mod estimate;
pub mod explain;
pub mod fields;
pub mod function;
pub mod history;
pub mod idempotency;
pub mod job;
pub mod jobs;
pub mod kept_log;
pub mod labels;
pub mod live;
pub mod log_tail;
pub mod manifest;
pub mod media_type;
mod metadata;
pub mod name;
pub mod outcome;
pub mod parse;
pub mod plan;
pub mod quantity;
pub mod queue;
pub mod report;
pub mod result;
mod schema;
pub mod status;
pub mod strict_json;
pub mod trace;
mod transition;
pub mod usage_over_time;
pub mod validate;
pub mod warm;

pub use windlass_contract as contract;

pub use admit::{Admission, Capacity, Grant, Preemption, Share, Standing, Waiting};
pub use assignment::Assignment;
pub use blob::BlobRef;
pub use blobs::Blobs;
pub use cluster_queue::{ClusterQueueSpec, NamespaceSelector, SharedCpus};
pub use error::{Error, Problem};
pub use function::{Function, FunctionSpec};
pub use job::{Job, JobKey, JobSpec};
pub use jobs::Jobs;
pub use metadata::Metadata;
pub use plan::{Action, Attempt, AttemptState, Observed, Plan, plan};
pub use queue::{Queue, QueueSpec, QueueStatus};
pub use report::{Outcome, Report};
pub use status::{JobStatus, Phase};
pub use validate::{JobLimits, validate};

/// API group of the three resources.
pub const GROUP: &str = "windlass.dev";
/// API version of the three resources.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of the three resources, as written in manifests.
pub const API_VERSION: &str = "windlass.dev/v1alpha1";

/// Whole CPUs: threads of a pool, CPU request and CPU limit of a pod.
pub type Cpus = u32;
/// Number of an attempt: 1 for the first.
pub type AttemptNumber = u32;
