//! What a worker is told: one attempt of one job.
//!
//! In a pod it is JSON in the environment variable [`ASSIGNMENT`] of `windlass worker`, and the
//! function's argv follows `--` on the worker's command line. On one machine both are an [`Order`].
//!
//! In a pod, who assigns and who works may be of two releases. What is read here may have fields that are not known: they
//! are ignored. What an older worker must not ignore raises [`VERSION`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

mod order;
mod termination_message;
mod version;

pub use order::{Idle, Instruction, NeverReady, Order, Preparation, Program, Replaced, RunAs};
pub use termination_message::{
    MAX_TERMINATION_MESSAGE_BYTES, MAX_TERMINATION_RESULT_BYTES, read_termination_message,
    termination_message,
};
use version::first_version;
pub use version::{Unreadable, VERSION, check_version, read_told};

use crate::function::FunctionSpec;
use crate::job::Job;
use crate::result::sha256;
use crate::validate::JobLimits;
use crate::{AttemptNumber, BlobRef, Cpus, media_type};

/// The environment variable that holds the [`Assignment`]. The function does not see it.
pub const ASSIGNMENT: &str = "WINDLASS_ASSIGNMENT";

/// The environment variable that holds the [`StandbyOrder`] of a worker that waits. The function does not see it.
pub const STANDBY: &str = "WINDLASS_STANDBY";

/// Most that an attempt is told of certificate authorities, in bytes of PEM: some ten of them.
pub const MAX_AUTHORITIES_BYTES: usize = 16 * 1024;

/// One attempt, as its worker needs to know it. A worker may be older than who assigns: it reads what it knows.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// Version of what is told here: [`VERSION`]. An older controller does not say it.
    #[serde(default = "first_version")]
    pub version: u32,
    /// Name of the job.
    pub job: String,
    /// UID of the job.
    pub job_uid: String,
    /// Number of the attempt.
    pub attempt: AttemptNumber,
    /// CPUs granted.
    pub parallelism: Cpus,
    /// Longest run of the function's process, in seconds.
    pub timeout_seconds: u32,
    /// Largest result, in bytes.
    pub max_result_bytes: u64,
    /// Media type of the result.
    pub content_type: String,
    /// Path of the file with the input's bytes.
    pub input: String,
    /// What that file must hold. An older controller does not say so.
    pub input_digest: Option<InputDigest>,
    /// What is put into that file, and what beside it, before the function starts. Nothing where the
    /// input is inline and there are no files.
    pub inputs: Option<Inputs>,
    /// Directory in which the worker may write; it is the attempt's own.
    pub work: String,
    /// Where to report.
    pub report: ReportTo,
    /// Directory that takes results above 32 KiB, where there is one. Without it such a result is
    /// `ResultTooLarge`.
    pub results: Option<String>,
    /// File that takes what the function says on stdout and stderr, bounded. Without it they are the
    /// worker's own.
    pub log: Option<String>,
    /// Most bytes of the [end of what the function says](crate::kept_log) that the worker sends before it reports the
    /// end. Without it none are.
    pub keep_log_bytes: Option<u64>,
    /// What holds its CPUs and memory. A pod is held by its container.
    pub confinement: Option<Confinement>,
    /// Most that its directory may take of the disk, in bytes. A pod is held by the limits of its node.
    pub disk_bytes: Option<u64>,
    /// File that takes the outcome as the fallback of a report that reached nobody.
    pub termination_message: Option<String>,
    /// Whether the worker has waited for it, so that nobody knows by the pod when the function runs. The worker tells.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_standby: bool,
}

impl Assignment {
    /// What job, function and grant say of an attempt, on every back end alike. Where its files are, what its
    /// input's file must hold and what holds it is the back end's to add.
    pub fn new(
        job: &Job,
        limits: &JobLimits,
        function: &FunctionSpec,
        attempt: AttemptNumber,
        cpus: Cpus,
        report: ReportTo,
    ) -> Self {
        Self {
            version: VERSION,
            job: job.metadata.name.clone(),
            job_uid: job.metadata.uid.clone(),
            attempt,
            parallelism: cpus,
            timeout_seconds: limits.timeout_seconds,
            max_result_bytes: limits.max_result_bytes,
            content_type: function.content_type.clone(),
            input: String::new(),
            input_digest: None,
            inputs: None,
            work: String::new(),
            report,
            results: None,
            log: None,
            keep_log_bytes: None,
            confinement: None,
            disk_bytes: None,
            termination_message: None,
            on_standby: false,
        }
    }

    /// Whether the worker hears what its function says on stdout, and passes it on. Else that goes its own way.
    pub fn takes_stdout(&self) -> bool {
        self.log.is_some() || self.keep_log_bytes.is_some()
    }

    /// The media type of the input.
    pub fn input_type(&self) -> &str {
        let input = self.inputs.as_ref().and_then(|inputs| inputs.input.as_ref());
        input.map_or(media_type::JSON, |input| &input.blob.media_type)
    }
}

/// Blobs that an attempt reads.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inputs {
    /// The input, unless it is inline.
    pub input: Option<SourceFile>,
    /// Files beside it, by name.
    #[serde(default)]
    pub files: BTreeMap<String, SourceFile>,
}

impl Inputs {
    /// All blobs of which files are made, as often as they are needed.
    pub fn blobs(&self) -> impl Iterator<Item = &BlobRef> {
        self.input.iter().chain(self.files.values()).map(|source| &source.blob)
    }
}

/// What a worker makes a file of for its function.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceFile {
    /// The file of this machine that it copies. Without one it fetches the blob from where it reports.
    pub path: Option<String>,
    /// What must be in it.
    pub blob: BlobRef,
}

/// What a worker knows that waits in a pod until that becomes an attempt.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StandbyOrder {
    /// Version of what is told here: [`VERSION`]. An older controller does not say it.
    #[serde(default = "first_version")]
    pub version: u32,
    /// Where it asks, and reports later.
    pub report: ReportTo,
    /// Path of the file that it writes the input to.
    pub input: String,
    /// Directory in which it may write.
    pub work: String,
    /// As that of its attempt will be.
    pub keep_log_bytes: Option<u64>,
}

/// What a worker that waits in a pod is given when its pod becomes an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StandbyAssignment {
    /// The attempt.
    pub assignment: Assignment,
    /// The input, which the worker writes to its file.
    pub input: String,
}

/// Length and digest of an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputDigest {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

impl InputDigest {
    /// Of these bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: sha256(bytes) }
    }
}

/// What holds an attempt on one machine. A pod is held by its container.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confinement {
    /// Files that take a `0` from the worker's main thread, before there is another: so it joins its
    /// control groups, and what it starts is in them.
    pub join: Vec<String>,
    /// File in which the kernel counts what it killed for want of memory (`memory.events`,
    /// `memory.oom_control`). Without it the worker itself looks at the memory of its processes.
    pub memory_events: Option<String>,
    /// CPUs to run on, by the kernel's numbers; empty for any.
    pub cpus: Vec<u32>,
    /// Most resident memory of all processes of the attempt together, in bytes.
    pub memory_bytes: u64,
}

/// Where a worker reports to.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReportTo {
    /// POST each report to this URL with the bearer token in this file, which is read each time
    /// because it is rotated.
    #[serde(rename_all = "camelCase")]
    Http {
        /// Such as `http://windlass-gateway.windlass.svc/v1/reports`.
        url: String,
        /// Path of the token.
        token: String,
        /// Certificate authorities (PEM) that are trusted with an `https` URL, and no others are; at
        /// most [`MAX_AUTHORITIES_BYTES`].
        authorities: Option<String>,
    },
    /// One JSON report a line over the socket that is the worker's standard input. Its end is the
    /// end of the server, which ends the attempt.
    Socket,
}
