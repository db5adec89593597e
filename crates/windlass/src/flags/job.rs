//! Flags of a new job.

use std::path::PathBuf;

use clap::Args;
use windlass_core::labels::{self, Labels};

use super::media_type::media_type;
use super::names::{job_name, name};

/// A new job.
#[derive(Debug, Args)]
pub(crate) struct NewJobFlags {
    /// Name of a function
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub(crate) function: Option<String>,
    /// A ComputeJob manifest, the same that `kubectl apply` takes; `-` for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with_all = [
        "input", "input_type", "files", "name", "labels", "parallelism", "min_parallelism", "queue", "priority", "timeout", "retries", "ttl", "retry_of",
    ])]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) spec: JobSpecFlags,
}

/// What is wanted of a function.
#[derive(Debug, Args)]
pub(crate) struct JobSpecFlags {
    /// The input: JSON, @FILE of any type and size, or - for standard input [default: {}]
    #[arg(short, long, value_name = "JSON|@FILE|-")]
    pub(crate) input: Option<String>,
    /// Media type of the input [default: what the ending of @FILE tells, else application/json]
    #[arg(long, value_name = "TYPE", value_parser = media_type, requires = "input")]
    pub(crate) input_type: Option<String>,
    /// A file beside the input, under a name; may be repeated
    #[arg(long = "file", value_name = "NAME=PATH")]
    pub(crate) files: Vec<String>,
    /// Name of the job [default: one that is made up]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) name: Option<String>,
    /// A label, by which the job is found again; may be repeated
    #[arg(short = 'l', long = "label", value_name = "KEY=VALUE", value_parser = one_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// CPUs [default: the function's, at most the machine's]
    #[arg(short, long, value_name = "N")]
    pub(crate) parallelism: Option<u32>,
    /// Fewest CPUs to start with, when not all are free [default: --parallelism]
    #[arg(long, value_name = "N")]
    pub(crate) min_parallelism: Option<u32>,
    /// Queue [default: default]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) queue: Option<String>,
    /// Higher starts first, from -1000 to 1000 [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// Longest run of one attempt, in seconds [default: the function's]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u32>,
    /// Further attempts after the first failed, also with an error of the function [default: the
    /// function's, and none after such an error]
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
    /// How long the job and its result are kept after its end, in seconds [default: 86400, a day]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ttl: Option<u32>,
    /// The job that this one repeats with changes, as its annotation `windlass.dev/retry-of` says
    #[arg(long, value_name = "JOB", value_parser = job_name)]
    pub(crate) retry_of: Option<String>,
}

/// Reads one label.
fn one_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    let label = (key.to_owned(), value.to_owned());
    match labels::problems(&Labels::from([label.clone()])).into_iter().next() {
        None => Ok(label),
        Some(problem) => Err(problem.message),
    }
}
