//! The worker as a process: `worker-under-test -- FUNCTION ARGS...`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = std::env::args().skip_while(|argument| argument != "--");
    windlass_worker::main(arguments.skip(1).collect())
}
