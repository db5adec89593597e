//! Runs a program that was written for the AWS Lambda runtime API as a function, unchanged.
//!
//! To the worker this is a function like any other ([`contract`]): it serves, or does one job. To the program it is the
//! runtime API ([`api`]) on a port of loopback, which only the program itself may use ([`peer`]). [`runtime`] starts and
//! ends the program. Deliberately absent: all of Lambda that is not the runtime API, such as extensions and layers.

mod api;
mod contract;
mod environment;
mod invocation;
mod peer;
mod runtime;

use std::io::{self, Write as _};
use std::process::ExitCode;

/// Runs this command as a function: the whole `main` of `windlass lambda`.
#[must_use]
pub fn run(command: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.and_then(|runtime| runtime.block_on(contract::follow(command)));
    match ended {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            print_line(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// One line on stderr, whose end the worker puts into the failure message.
fn print_line(text: &str) {
    // Nobody left to tell if stderr is closed.
    writeln!(io::stderr(), "{text}").unwrap_or_default();
}
