//! `windlass worker [--standby] -- FUNCTION ARGS...` alone: what the tests of this crate start.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let own: Vec<_> = arguments.by_ref().take_while(|argument| argument != "--").collect();
    windlass_worker::main(arguments.collect(), own.iter().any(|argument| argument == "--standby"))
}
