//! What goes to standard error.

use std::io::{IsTerminal as _, Write as _, stderr};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::output::terminal;

/// By default a line that cannot be written, for a full disk or a reader that has gone, is told by a panic.
const TELL_LOST_LINES: bool = false;

/// Logs to standard error: for people on a terminal, JSON lines otherwise. `WINDLASS_LOG` sets the
/// filter, in the syntax of `tracing`.
pub(crate) fn start(default: &str) {
    let filter =
        EnvFilter::try_from_env("WINDLASS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    if stderr().is_terminal() {
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
        log.log_internal_errors(TELL_LOST_LINES).with_target(false).init();
    } else {
        json_lines(filter, stderr).init();
    }
}

fn json_lines<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // The list of spans has the current one, too.
    log.log_internal_errors(TELL_LOST_LINES)
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .finish()
}

/// Writes one line to standard error, without what could steer a terminal: it may have words of a job or a server. When
/// nobody can read it any more, that is no reason to stop.
pub(crate) fn print_line(line: &str) {
    writeln!(stderr(), "{}", terminal::printable(line)).unwrap_or_default();
}

/// Tells an error and its causes, once.
pub(crate) fn tell_error(error: &anyhow::Error) {
    print_line(&format!("windlass: {error:#}"));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use serde_json::Value;
    use tracing::{info, info_span, subscriber};

    use super::*;

    #[test]
    fn a_line_names_each_span_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Arc::new(file.reopen().unwrap());
        subscriber::with_default(json_lines(EnvFilter::new("info"), writer), || {
            let _outer = info_span!("reconciles", object = "job-a").entered();
            let _inner = info_span!("writes").entered();
            info!(attempt = 1, "attempt started");
        });
        let said = fs::read_to_string(file.path()).unwrap();
        let line: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&line["message"], &line["attempt"]), (&"attempt started".into(), &1.into()));
        for once in ["reconciles", "job-a", "writes"] {
            assert_eq!(said.matches(once).count(), 1, "{said}");
        }
    }
}
