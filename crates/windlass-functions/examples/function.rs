//! One built-in function as a process of its own, without the `windlass` program: for profiling and for trying one by
//! hand.
//!
//! ```sh
//! WINDLASS_INPUT=examples/longstaff-schwartz.json WINDLASS_OUTPUT=prices.json WINDLASS_PARALLELISM=2 \
//!     cargo run --release -p windlass-functions --example function price
//! ```

use std::process::ExitCode;

fn main() -> ExitCode {
    windlass_functions::run(&std::env::args().nth(1).unwrap_or_default())
}
