//! `windlass logs`: what a job's function says.

use std::io::{self, Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use crate::cli::Logs;
use crate::commands::{self, INTERRUPTED};
use crate::place::Place;
use crate::terminal::Printable;

/// Most of a log that is shown at once, in bytes: what a server gives.
const MOST_BYTES: u64 = 1 << 20;

/// Between two looks at a log that is followed.
const PACE: Duration = Duration::from_millis(500);

/// By so many bytes of what was shown last, the place is found from which a log went on.
const MARK_BYTES: usize = 4096;

pub(crate) async fn logs(place: &Place, args: &Logs) -> anyhow::Result<ExitCode> {
    let out = stdout().lock();
    let mut out: Box<dyn Write> =
        if args.raw { Box::new(out) } else { Box::new(Printable::new(out)) };
    let key = place.key(&args.job);
    let mut said = Vec::new();
    let mut tail = args.tail;
    loop {
        // Asked before the log is read, so that nothing said at the end is missed.
        let ended = !args.follow || place.jobs.get(&key).await?.status.is_finished();
        let now = place.jobs.logs(&key, tail).await?;
        match out.write_all(after(&said, &now)).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(ExitCode::SUCCESS);
            }
            written => written.context("standard output")?,
        }
        if ended {
            return Ok(ExitCode::SUCCESS);
        }
        if !now.is_empty() {
            (said, tail) = (now, MOST_BYTES);
        }
        tokio::select! {
            () = tokio::time::sleep(PACE) => {}
            () = commands::stopped() => return Ok(ExitCode::from(INTERRUPTED)),
        }
    }
}

/// What `now` has after what was shown of the same log. All of it, when that is not in it any more: the
/// log has gone on by more than is given, or another attempt has begun one.
fn after<'a>(shown: &[u8], now: &'a [u8]) -> &'a [u8] {
    let mark = &shown[shown.len().saturating_sub(MARK_BYTES)..];
    if mark.is_empty() {
        return now;
    }
    // The log only grows at its end: where nothing was cut, its place is known.
    if let Some(rest) = now.strip_prefix(shown) {
        return rest;
    }
    let found = now.windows(mark.len()).rposition(|window| window == mark);
    found.map_or(now, |at| &now[at + mark.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_where_it_was() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (shown, now, expected) in [
            ("", "a\n", "a\n"),
            ("a\n", "a\n", ""),
            ("a\n", "a\na\n", "a\n"),
            ("a\nb\n", "x\n", "x\n"),
            ("a\nb\n", "", ""),
        ] {
            let rest = after(shown.as_bytes(), now.as_bytes());
            assert_eq!(text(rest), expected, "{shown:?} {now:?}");
        }
        let long = "0123456789".repeat(1000);
        let cut = format!("{}new", &long[5000..]);
        assert_eq!(text(after(long.as_bytes(), cut.as_bytes())), "new");
    }
}
