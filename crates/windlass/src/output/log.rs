//! What goes to standard error.

use std::io::{IsTerminal as _, Write as _, stderr};

use tracing_subscriber::EnvFilter;

/// Logs to standard error: for people on a terminal, JSON lines otherwise. `WINDLASS_LOG` sets the
/// filter, in the syntax of `tracing`.
pub(crate) fn start(default: &str) {
    let filter =
        EnvFilter::try_from_env("WINDLASS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // By default a line that cannot be written, for a full disk or a reader that has gone, is told by a panic.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .log_internal_errors(false);
    if stderr().is_terminal() {
        log.with_target(false).init();
    } else {
        // The list of spans has the current one, too.
        log.json().flatten_event(true).with_current_span(false).init();
    }
}

/// Writes one line to standard error. When nobody can read it any more, that is no reason to stop.
pub(crate) fn print_line(line: &str) {
    writeln!(stderr(), "{line}").unwrap_or_default();
}

/// Tells an error and its causes, once.
pub(crate) fn tell_error(error: &anyhow::Error) {
    print_line(&format!("windlass: {error:#}"));
}
