//! `windlass worker -- FUNCTION ARGS...` alone: what the tests of this crate start.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_worker::main(
        std::env::args().skip_while(|argument| argument != "--").skip(1).collect(),
        false,
    )
}
