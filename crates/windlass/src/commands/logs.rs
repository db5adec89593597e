//! `windlass logs`: what a job's function says.

use crate::flags::names::job_name;
use clap::Args;
use std::io::{self, IsTerminal as _, Write, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::TryStreamExt as _;
use hyper::body::Bytes;
use windlass_core::log_tail::{LogRange, WantedLog};
use windlass_core::result::ByteStream;
use windlass_core::{AttemptNumber, Error, Job, JobKey, Phase};

use crate::backend::resolve::Backend;
use crate::flags::bad_usage::BadUsage;
use crate::output::log;
use crate::output::terminal::Printable;
use crate::process::{self, INTERRUPTED};

/// Print what a job's function says on stdout and stderr, without what could steer a terminal.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Name of the job
    #[arg(value_parser = job_name)]
    pub(crate) job: String,
    /// Go on until the job has ended; when it is deleted instead, that is an error. After a restart of its server the
    /// log of the next attempt follows
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// What this attempt has said, 1 for the first [default: the latest]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "follow")]
    pub(crate) attempt: Option<AttemptNumber>,
    /// What the attempt before the latest has said
    #[arg(short, long, conflicts_with_all = ["attempt", "follow"])]
    pub(crate) previous: bool,
    /// Only the end of it, in bytes [default: 1 MiB, the most]
    #[arg(long, value_name = "BYTES", default_value_t = LONGEST_TAIL, hide_default_value = true, value_parser = clap::value_parser!(u64).range(..=LONGEST_TAIL))]
    pub(crate) tail: u64,
    /// Begin each line with the time at which it came
    #[arg(long)]
    pub(crate) timestamps: bool,
    /// The bytes as they are, but on a terminal
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Most of what was said already that can be shown, in bytes.
const LONGEST_TAIL: u64 = 1 << 20;

/// Between two looks at a job whose log has ended before it.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long a server that has started anew may take to say that the attempt before is lost.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// How long a log says nothing before its server is asked whether it is still there: one that has stopped closes no
/// connection, and a log has nothing in it by which it would be known.
const SILENCE: Duration = Duration::from_secs(15);

/// How long a server that was there may be gone.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn logs(backend: &Backend, args: &Logs) -> anyhow::Result<ExitCode> {
    let key = backend.key(&args.job);
    let out = stdout().lock();
    // Not even raw bytes may steer a terminal; whoever wants that sends them through a pipe.
    let raw = args.raw && !out.is_terminal();
    let mut out: Box<dyn Write> = if raw { Box::new(out) } else { Box::new(Printable::new(out)) };
    let range = LogRange { tail: args.tail, timestamps: args.timestamps };
    let shown = async {
        if args.follow {
            return follow(backend, &key, range, &mut out).await;
        }
        let attempt =
            if args.previous { Some(previous(backend, &key).await?) } else { args.attempt };
        let said = backend.jobs.logs(&key, WantedLog { attempt, range }).await?;
        let said = Box::pin(futures::stream::iter([Ok(said.into())]));
        show(said, async || Ok(true), &mut out).await.map(drop)
    };
    tokio::select! {
        shown = shown => shown.map(|()| ExitCode::SUCCESS),
        () = process::stopped() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// The attempt before the latest.
async fn previous(backend: &Backend, key: &JobKey) -> anyhow::Result<AttemptNumber> {
    let job = backend.jobs.get(key).await?;
    match job.status.attempt {
        Some(latest @ 2..) => Ok(latest - 1),
        _ => {
            Err(BadUsage(format!("--previous: {:?} has no attempt before its latest", key.name))
                .into())
        }
    }
}

/// How showing a log ended.
enum Shown {
    /// All of it was shown.
    All,
    /// Whoever reads has read enough.
    Enough,
    /// The log broke off.
    Lost(io::Error),
}

/// Shows what comes. `may_go_on` is asked when nothing comes for a while.
async fn show(
    mut said: ByteStream,
    may_go_on: impl AsyncFn() -> Result<bool, Error>,
    out: &mut dyn Write,
) -> anyhow::Result<Shown> {
    loop {
        let piece = match next_piece(&mut said, &may_go_on).await? {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(Shown::All),
            Err(error) => return Ok(Shown::Lost(error)),
        };
        match out.write_all(&piece).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Shown::Enough),
            written => written.context("standard output")?,
        }
    }
}

/// The next of what comes. While nothing does, the server is asked now and then whether the log may go on: an error when it
/// does not answer, or has said twice that it may not.
async fn next_piece(
    said: &mut ByteStream,
    may_go_on: &impl AsyncFn() -> Result<bool, Error>,
) -> anyhow::Result<io::Result<Option<Bytes>>> {
    let mut has_ended = false;
    loop {
        if let Ok(next) = tokio::time::timeout(SILENCE, said.try_next()).await {
            return Ok(next);
        }
        // What comes meanwhile shows that its server is there.
        let goes_on = tokio::select! {
            biased;
            next = said.try_next() => return Ok(next),
            goes_on = may_go_on() => goes_on.context("the log says nothing any more")?,
        };
        if !goes_on && has_ended {
            bail!("the log did not end with its job: what it said last may be missing");
        }
        has_ended = !goes_on;
    }
}

/// Shows the log until the job has ended. A log has no positions by which it could go on where it broke off. So it goes
/// on with another attempt only, as there is one after a restart of a server on one machine.
async fn follow(
    backend: &Backend,
    key: &JobKey,
    mut range: LogRange,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut attempt = attempt_of(&backend.jobs.get(key).await?);
    loop {
        let said = backend.jobs.follow_logs(key, range).await?;
        let may_go_on = async || match get_patiently(backend, key).await {
            Ok(job) => Ok(!job.status.is_finished()),
            Err(Error::Busy { .. }) => Ok(true),
            Err(error) => Err(error),
        };
        let lost = match show(said, may_go_on, out).await? {
            Shown::Enough => return Ok(()),
            Shown::All => None,
            Shown::Lost(error) => Some(error),
        };
        let Some(next) = next_attempt(backend, key, attempt, lost).await? else { return Ok(()) };
        log::print_line(&format!(
            "windlass: the log broke off; attempt {next} follows from its begin"
        ));
        (attempt, range.tail) = (next, LONGEST_TAIL);
    }
}

/// The attempt that has begun since the log of an earlier one was opened; `None` when that was the last. An error, when
/// what was said may be missing.
async fn next_attempt(
    backend: &Backend,
    key: &JobKey,
    attempt: AttemptNumber,
    lost: Option<io::Error>,
) -> anyhow::Result<Option<AttemptNumber>> {
    let mut since = Instant::now();
    loop {
        let job = get_patiently(backend, key).await.context("the log ended before its job")?;
        let is_over = job.status.is_finished();
        // One log tells all attempts, as long as it does not break off.
        if is_over && lost.is_none() {
            return Ok(None);
        }
        if attempt_of(&job) != attempt {
            return Ok(Some(attempt_of(&job)));
        }
        if is_over && let Some(error) = lost {
            return Err(error).context("the log broke off");
        }
        // The next attempt may come at any time.
        if job.status.phase == Some(Phase::Queued) {
            since = Instant::now();
        } else if since.elapsed() > SETTLE_TIME {
            let (program, name) = (backend.program(), &key.name);
            bail!("the log ended before its job: `{program} logs -f {name}` goes on");
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The first attempt is told with what comes.
fn attempt_of(job: &Job) -> AttemptNumber {
    job.status.attempt.unwrap_or(1)
}

/// The job, also when its server starts anew meanwhile.
async fn get_patiently(backend: &Backend, key: &JobKey) -> Result<Job, Error> {
    let since = Instant::now();
    loop {
        match backend.jobs.get(key).await {
            Err(Error::Unavailable { .. } | Error::Busy { .. }) if since.elapsed() < PATIENCE => {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            got => return got,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::StreamExt as _;

    use super::*;

    /// What a log ends with that says one word and then nothing, by what its server answers when it is asked.
    async fn silent(answer: impl AsyncFn() -> Result<bool, Error>) -> (String, String) {
        let said = futures::stream::iter([Ok("word".into())]).chain(futures::stream::pending());
        let mut out = Vec::new();
        let shown = show(Box::pin(said), answer, &mut out).await;
        let error = shown.err().map(|error| format!("{error:#}")).unwrap_or_default();
        (String::from_utf8(out).unwrap(), error)
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_whose_server_does_not_answer_any_more_ends() {
        let began = tokio::time::Instant::now();
        let (said, error) = silent(async || Err(Error::unavailable("no answer"))).await;
        assert_eq!(said, "word");
        assert!(error.contains("says nothing any more") && error.contains("no answer"), "{error}");
        assert_eq!(began.elapsed(), SILENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_while_its_server_is_asked_is_shown() {
        let late = async {
            tokio::time::sleep(SILENCE + Duration::from_secs(1)).await;
            Ok("late".into())
        };
        let mut out = Vec::new();
        let asked = async || {
            tokio::time::sleep(PATIENCE).await;
            Err(Error::unavailable("no answer"))
        };
        let shown = show(Box::pin(futures::stream::once(late)), asked, &mut out).await.unwrap();
        assert!(matches!(shown, Shown::All));
        assert_eq!(out, b"late");
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_does_not_end_with_its_job_is_told_as_broken() {
        let asked = Cell::new(0);
        // A function that says nothing for two minutes, and ends then.
        let (_, error) = silent(async || Ok(asked.replace(asked.get() + 1) < 8)).await;
        assert!(error.contains("did not end with its job"), "{error}");
        assert_eq!(asked.get(), 10, "asked once more, for what is still on its way");
    }
}
