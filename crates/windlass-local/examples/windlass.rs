//! As much of the `windlass` program as an engine starts: `windlass worker -- FUNCTION ARGS...`.
//! The tests of this crate give it to the engine as its program.

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_worker::main(
        std::env::args().skip_while(|argument| argument != "--").skip(1).collect(),
        false,
    )
}
