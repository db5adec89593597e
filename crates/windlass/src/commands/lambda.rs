//! `windlass lambda`: a program for the AWS Lambda runtime API as a function.

use std::process::ExitCode;

use clap::Args;

/// Run a program for the AWS Lambda runtime API as a function (started by a worker).
#[derive(Debug, Args)]
pub(crate) struct Lambda {
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs it.
pub(crate) fn lambda(args: &Lambda) -> ExitCode {
    windlass_lambda::run(&args.command)
}
