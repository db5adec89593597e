//! The flags that say what is shown of a job that was just submitted.

use clap::Args;

use super::output_form::OutputForm;
use super::wait::WaitFlags;

/// What is shown of a new job.
#[derive(Debug, Args)]
pub(crate) struct ShowNewFlags {
    #[command(flatten)]
    pub(crate) wait: WaitFlags,
    /// Form of the output [default: the name alone; `name` writes it as kubectl does]
    #[arg(short, long)]
    pub(crate) output: Option<OutputForm>,
}
