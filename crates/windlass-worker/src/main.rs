//! `windlass-worker`: the worker as a small program of its own, which is brought to pods whose images have nothing of
//! Windlass. `windlass worker` is the same.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it answers whoever starts it")]

use std::ffi::OsString;
use std::fs;
use std::process::ExitCode;

const USAGE: &str = "\
windlass-worker [--standby] -- FUNCTION [ARGUMENT]...  supervises one attempt (started by Windlass itself)
windlass-worker --install FILE                         copies itself to this file, for an init container
windlass-worker --version";

/// Exit code for a command line that means nothing.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Result<Vec<_>, _> =
        std::env::args_os().skip(1).map(OsString::into_string).collect();
    let Ok(arguments) = arguments else {
        eprintln!("windlass-worker: an argument is not UTF-8");
        return ExitCode::from(BAD_USAGE);
    };
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        // Without a function the server tells over the standard input.
        [] => windlass_worker::main(Vec::new(), false),
        ["--", ..] => windlass_worker::main(arguments[1..].to_vec(), false),
        ["--standby", "--", _, ..] => windlass_worker::main(arguments[2..].to_vec(), true),
        ["--install", file] => install(file),
        ["--version"] => {
            println!("windlass-worker {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(BAD_USAGE)
        }
    }
}

/// Copies this program, with the right to run it.
fn install(file: &str) -> ExitCode {
    match std::env::current_exe().and_then(|program| fs::copy(program, file)) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("windlass-worker: it cannot be copied to {file}: {error}");
            ExitCode::FAILURE
        }
    }
}
