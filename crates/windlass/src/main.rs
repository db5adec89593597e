//! The windlass program: one binary for one machine, for a cluster, and for the worker in between.
//!
//! What each command does is in `commands/`, one file each; this file only picks one.

mod cli;
mod client;
mod commands;
mod functions;
mod hosts;
mod keys;
mod log;
mod machine;
mod output;
mod terminal;
mod token;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            log::tell_error(&error);
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
