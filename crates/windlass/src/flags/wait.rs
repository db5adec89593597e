//! The flag that waits for a job's end.

use clap::Args;

/// Whether to wait for a job's end.
#[derive(Debug, Args)]
pub(crate) struct WaitFlags {
    /// Wait for the end, at most so many seconds [default: as long as it takes]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "clap's way to say that the value may be left out")]
    pub(crate) wait: Option<Option<u32>>,
}
