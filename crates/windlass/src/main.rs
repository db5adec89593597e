//! The windlass program: one binary for one machine, for a cluster, and for the worker in between.
//!
//! What each command does is in `commands/`, one file each; this file only picks one.

mod authorities;
mod cli;
mod client;
mod commands;
mod definition;
mod descriptors;
mod follow;
mod functions;
mod hosts;
mod keys;
mod log;
mod machine;
mod output;
mod place;
mod remote;
mod request;
mod show;
mod terminal;
mod token;

use std::process::ExitCode;

use clap::{FromArgMatches as _, Parser as _};

fn main() -> ExitCode {
    let ended = match std::env::args_os().nth(1) {
        Some(word) if word == "worker" || word == "function" => {
            Ok(commands::start(cli::Started::parse()))
        }
        _ => {
            let matches = cli::command(cli::is_kubectl_plugin()).get_matches();
            let parsed = cli::Cli::from_arg_matches(&matches);
            commands::run(parsed.unwrap_or_else(|error| error.exit()).command)
        }
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            log::tell_error(&error);
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
