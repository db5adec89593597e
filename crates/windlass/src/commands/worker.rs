//! `windlass worker`: supervises one attempt. Windlass starts it itself, in a pod as on one machine.

use std::process::ExitCode;

use clap::Args;

/// Supervise one attempt.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// Wait in a pod for an attempt, with the function started
    #[arg(long)]
    standby: bool,
    /// The function's program and arguments; without any, the server tells over standard input
    #[arg(last = true)]
    command: Vec<String>,
}

/// Does what a worker does, to its end.
pub(crate) fn worker(args: Worker) -> ExitCode {
    windlass_worker::main(args.command, args.standby)
}
