//! The flags of each command that shows functions or queues.

use clap::Args;

use super::names::name;
use super::output_form::OutputForm;

/// What is shown, and how.
#[derive(Debug, Args)]
pub(crate) struct ObjectsFlags {
    /// Only these [default: all]
    #[arg(value_name = "NAME", value_parser = name)]
    pub(crate) names: Vec<String>,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: OutputForm,
}
