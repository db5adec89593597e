//! `windlass man`: the manual pages, for packages.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

/// Write the manual pages into a directory.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The directory, which is made
    directory: PathBuf,
}

/// A page for the program and one for each command of its command line.
pub(crate) fn man(args: &Man, command_line: clap::Command) -> anyhow::Result<ExitCode> {
    let written = fs::create_dir_all(&args.directory)
        .and_then(|()| clap_mangen::generate_to(command_line, &args.directory));
    written.with_context(|| args.directory.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
