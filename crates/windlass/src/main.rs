//! The windlass program: one binary for one machine, for a cluster, and for the worker in between.
//!
//! What each command does is in `commands/`, one file each; this file only picks one.

mod backend;
mod cli;
mod commands;
mod dispatch;
mod flags;
mod output;
mod process;
mod server;
mod top;

use std::process::ExitCode;

use clap::{FromArgMatches as _, Parser as _};

fn main() -> ExitCode {
    let ended = match std::env::args_os().nth(1) {
        Some(word) if word == "worker" || word == "function" || word == "lambda" => {
            Ok(dispatch::start(cli::Started::parse()))
        }
        _ => {
            let command = cli::command(flags::kubectl_plugin::is_kubectl_plugin());
            flags::config_file::matches(command, std::env::args_os().collect()).and_then(
                |matches| {
                    let parsed = cli::Cli::from_arg_matches(&matches);
                    dispatch::run(parsed.unwrap_or_else(|error| error.exit()).command)
                },
            )
        }
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            output::log::tell_error(&error);
            ExitCode::from(dispatch::exit_code(&error))
        }
    }
}
