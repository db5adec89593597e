//! The flags of each command that submits a job.

use clap::Args;

use super::output_form::OutputForm;
use super::wait::WaitFlags;

/// How a job is submitted, and what is shown of it.
#[derive(Debug, Args)]
pub(crate) struct SubmitFlags {
    /// The same key gives the same job again, instead of a second one
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) wait: WaitFlags,
    /// Form of the output [default: the name alone; `name` writes it as kubectl does]
    #[arg(short, long)]
    pub(crate) output: Option<OutputForm>,
}
