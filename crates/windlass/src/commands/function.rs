//! `windlass function NAME`: is a built-in function. A worker starts it.

use std::process::ExitCode;

use clap::Args;

/// Be a built-in function.
#[derive(Debug, Args)]
pub(crate) struct Function {
    /// Its name
    name: String,
}

/// Runs the function for the attempt that its environment describes.
pub(crate) fn function(args: &Function) -> ExitCode {
    windlass_functions::run(&args.name)
}
