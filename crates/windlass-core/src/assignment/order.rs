//! What a worker on one machine is told to do, one instruction after another.

use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use super::{Assignment, Confinement};
use crate::function::EnvVar;

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
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Idle {
    /// Resident memory of the function's processes, in bytes.
    pub idle_memory_bytes: u64,
    /// Which of its processes the function itself has replaced since its last order, and why.
    pub replaced: Option<String>,
}

/// What a worker on one machine says when its function gets no further order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replaced {
    /// Why not.
    pub replaced: String,
}

/// What a worker on one machine says when its function has ended before it was ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NeverReady {
    /// How it has ended, and the end of what it has said.
    pub why: String,
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
