//! What a worker is told: one attempt of one job.
//!
//! In a pod it is JSON in the environment variable [`ASSIGNMENT`] of `windlass worker`, and the
//! function's argv follows `--` on the worker's command line. On one machine both are an [`Order`].
//!
//! In a pod, who assigns and who works may be of two releases. What is read here may have fields that are not known: they
//! are ignored. What an older worker must not ignore raises [`VERSION`].

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::function::{EnvVar, FunctionSpec};
use crate::job::Job;
use crate::report::{Ending, Outcome};
use crate::result::sha256;
use crate::status::FailureReason;
use crate::validate::JobLimits;
use crate::{AttemptNumber, BlobRef, Cpus, media_type};

/// The environment variable that holds the [`Assignment`]. The function does not see it.
pub const ASSIGNMENT: &str = "WINDLASS_ASSIGNMENT";

/// The environment variable that holds the [`StandbyOrder`] of a worker that waits. The function does not see it.
pub const STANDBY: &str = "WINDLASS_STANDBY";

/// Version of what a worker is told. It is raised when a worker that knows less would do something wrong: that worker then
/// says so. A field more does not raise it. Reports have none: a gateway of before refuses fields that it does not know.
pub const VERSION: u32 = 1;

/// Largest termination message that a kubelet keeps, in bytes.
pub const MAX_TERMINATION_MESSAGE_BYTES: usize = 4096;

/// Largest result that travels in a termination message, in bytes.
pub const MAX_TERMINATION_RESULT_BYTES: u64 = 3 * 1024;

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
            confinement: None,
            disk_bytes: None,
            termination_message: None,
            on_standby: false,
        }
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

/// Why a worker cannot read what it is told.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Who assigns is too much newer.
    #[error(
        "it has version {0} of what workers are told, and this worker knows versions up to {VERSION}: \
         give the function's image a newer worker"
    )]
    Newer(u32),
    /// It is no such thing.
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
}

/// Reads what a worker in a pod is told: an [`Assignment`] or a [`StandbyOrder`].
pub fn read_told<T: DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    // First: of a newer one, nothing else need be as it is known here.
    let Versioned { version } = serde_json::from_str(text)?;
    check_version(version)?;
    Ok(serde_json::from_str(text)?)
}

/// Whether a worker can do what it is told in this version.
pub fn check_version(version: u32) -> Result<(), Unreadable> {
    if version > VERSION { Err(Unreadable::Newer(version)) } else { Ok(()) }
}

/// The version of what is told, whatever else that is.
#[derive(Deserialize)]
struct Versioned {
    #[serde(default = "first_version")]
    version: u32,
}

/// That of whoever does not say it.
fn first_version() -> u32 {
    1
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
    pub fn of(bytes: &[u8]) -> Self {
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

/// What a worker does. In a pod the environment and the command line say it; on one machine it
/// comes as one line of JSON, an [`Instruction`], over the worker's standard input, because the worker was
/// started before there was anything to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The attempt.
    pub assignment: Assignment,
    /// The function.
    pub program: Program,
    /// Whether the function serves, by version 2 of the contract: its process stays for the next order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub serves: bool,
}

/// How a function's process is started.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// The function's argv.
    pub command: Vec<String>,
    /// Environment of the function beside the contract's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Working directory of the function; none for the worker's own.
    pub directory: Option<String>,
    /// Directory that the function is kept out of, but for the input and the working directory of the
    /// attempt, which are in it. None in a pod, and where that cannot be done or was switched off.
    pub hidden: Option<String>,
    /// The user that the function runs as; none for the worker's own.
    pub run_as: Option<RunAs>,
}

/// What a worker on one machine is told: one line of JSON for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::large_enum_variant, reason = "few exist at a time, and each is moved once")]
pub enum Instruction {
    /// Start a function that serves, and wait for an order. Answered by an [`Idle`].
    Prepare(Preparation),
    /// Run an attempt. Answered by reports, and then, if its function serves and may be used again, by an [`Idle`].
    Run(Order),
    /// End the attempt, and keep its function, which serves, if it does so in time. Nothing is reported of it any more.
    Cancel,
}

/// A function that is started before there is a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preparation {
    /// The function.
    pub program: Program,
    /// What holds it until there is a job.
    pub confinement: Option<Confinement>,
    /// Path of the file that will hold each job's input. It is there.
    pub input: String,
    /// Its working directory.
    pub work: String,
    /// Whether what it says goes into the logs of its jobs.
    pub has_logs: bool,
}

/// What a worker on one machine says when its function waits for the next order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Idle {
    /// Resident memory of the function's processes, in bytes.
    pub idle_memory_bytes: u64,
}

/// A user of the machine.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunAs {
    /// Its number.
    pub user: u32,
    /// The number of its group. It is in no other.
    pub group: u32,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its home directory. Default: the attempt's working directory.
    pub home: Option<String>,
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

/// The text that a worker leaves in its termination message: the ending as JSON, at most
/// [`MAX_TERMINATION_MESSAGE_BYTES`]. A result above [`MAX_TERMINATION_RESULT_BYTES`] leaves only its
/// length and digest.
pub fn termination_message(ending: &Ending) -> String {
    let mut ending = ending.clone();
    let write = |ending: &Ending| serde_json::to_string(ending).unwrap_or_default();
    if let Outcome::Succeeded(result) = &mut ending.outcome
        && result.bytes > MAX_TERMINATION_RESULT_BYTES
    {
        result.text = None;
        result.base64 = None;
    }
    ending.progress = None;
    let mut text = write(&ending);
    // JSON escapes can make a short text long: halve until it fits.
    while text.len() > MAX_TERMINATION_MESSAGE_BYTES {
        match &mut ending.outcome {
            Outcome::Succeeded(result) => (result.text, result.base64) = (None, None),
            Outcome::Failed { message, .. } => {
                // The end of stderr says most.
                let start = message.ceil_char_boundary(message.len() / 2);
                *message = message.split_off(start);
            }
        }
        text = write(&ending);
    }
    text
}

/// Reads a termination message. A result that was too large for it is `ResultLost`. `None` for
/// what no worker wrote.
pub fn read_termination_message(text: &str) -> Option<Ending> {
    let mut ending: Ending = serde_json::from_str(text).ok()?;
    if let Outcome::Succeeded(result) = &ending.outcome
        && result.text.is_none()
        && result.base64.is_none()
        && result.location.is_none()
    {
        let why = format!("a result of {} bytes could not be delivered", result.bytes);
        ending.outcome = Outcome::failed(FailureReason::ResultLost, why);
    }
    Some(ending)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::result::inline_result;

    fn ending(outcome: Outcome) -> Ending {
        Ending {
            outcome,
            started: Timestamp::UNIX_EPOCH,
            running: None,
            finished: Timestamp::UNIX_EPOCH,
            parallelism: 2,
            usage: None,
            progress: None,
        }
    }

    #[test]
    fn a_small_result_survives_in_the_termination_message() {
        for bytes in [&b""[..], b"{}", &[0, 255, 7], "ä".repeat(1500).as_bytes()] {
            let told = ending(Outcome::Succeeded(inline_result(bytes, "a/b").unwrap()));
            let text = termination_message(&told);
            assert!(text.len() <= MAX_TERMINATION_MESSAGE_BYTES);
            assert_eq!(read_termination_message(&text), Some(told));
        }
    }

    #[test]
    fn a_large_result_is_lost_and_says_so() {
        let told = ending(Outcome::Succeeded(inline_result(&[b'x'; 3073], "a/b").unwrap()));
        let read = read_termination_message(&termination_message(&told)).unwrap();
        let Outcome::Failed { reason, message, .. } = read.outcome else { panic!() };
        assert_eq!(reason, FailureReason::ResultLost);
        assert!(message.contains("3073"), "{message}");
    }

    #[test]
    fn a_long_failure_keeps_its_end_and_fits() {
        let told =
            ending(Outcome::failed(FailureReason::Crashed, "\u{1}".repeat(4096) + "the end"));
        let text = termination_message(&told);
        assert!(text.len() <= MAX_TERMINATION_MESSAGE_BYTES);
        let Outcome::Failed { message, .. } = read_termination_message(&text).unwrap().outcome
        else {
            panic!()
        };
        assert!(message.ends_with("the end"));
    }

    #[test]
    fn what_no_worker_wrote_is_no_ending() {
        for text in ["", "{}", "null", "{\"outcome\":{}}", "OOM"] {
            assert_eq!(read_termination_message(text), None);
        }
    }
}
