//! What the function uses over time: in a small file beside its log, which a server on one machine reads, or told to a
//! gateway now and then.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::assignment::{Assignment, ReportTo};
use windlass_core::report::Event;
use windlass_core::usage_over_time::{MAX_USAGE_BYTES, UsageOverTime, UsageSample};

use crate::confine::descendants;
use crate::private_files;
use crate::report::Reporter;
use crate::usage;

/// Samples that are being taken.
pub(crate) struct UsageSamples {
    /// The file, or none where they are told.
    path: Option<PathBuf>,
    /// Whether the last are kept where they are told.
    are_kept: bool,
    usage: UsageOverTime,
    /// How many seconds the samples were about that were told.
    told_seconds: u64,
    /// When the last sample was taken, and the CPU time that had been used by then.
    last: Option<(Instant, Duration)>,
}

impl UsageSamples {
    /// Of an attempt whose log is a file, or that reports to a gateway.
    pub(crate) fn of(assignment: &Assignment) -> Option<Self> {
        let path = assignment.log.as_ref().map(|log| usage_of(Path::new(log)));
        if path.is_none() && !matches!(assignment.report, ReportTo::Http { .. }) {
            return None;
        }
        let usage = UsageOverTime::begin(assignment.attempt, assignment.parallelism);
        let are_kept = assignment.keep_log_bytes.is_some();
        Some(Self { path, are_kept, usage, told_seconds: 0, last: None })
    }

    /// Takes a sample when it is time. What cannot be written is not told: it is no reason to fail.
    pub(crate) fn look(&mut self, reporter: &mut Reporter) {
        let interval = Duration::from_secs(self.usage.interval_seconds.into());
        if self.last.is_some_and(|(at, _)| at.elapsed() < interval) {
            return;
        }
        let (now, processes) = (Instant::now(), descendants());
        let used = usage::used_by(&processes);
        if let Some((at, before)) = self.last.replace((now, used)) {
            let wall = now.duration_since(at).as_secs_f64();
            let cpus = used.saturating_sub(before).as_secs_f64() / wall;
            let memory_bytes = usage::resident(&processes);
            self.usage.add(UsageSample { cpus: (cpus * 1000.0).round() / 1000.0, memory_bytes });
            match &self.path {
                Some(path) => self.write(path).unwrap_or_default(),
                None => self.tell(reporter),
            }
        }
    }

    /// Tells the samples where there are enough new ones.
    fn tell(&mut self, reporter: &mut Reporter) {
        let seconds = self.usage.seconds();
        if seconds.saturating_sub(self.told_seconds) >= self.usage.telling_seconds().into() {
            self.told_seconds = seconds;
            reporter.send(self.event(false));
        }
    }

    /// All samples, where somebody keeps them and has been told some.
    pub(crate) fn to_keep(&self) -> Option<Event> {
        (self.told_seconds > 0 && self.are_kept).then(|| self.event(true))
    }

    fn event(&self, is_last: bool) -> Event {
        Event::Usage { over_time: self.usage.clone(), is_last, namespace: None }
    }

    /// Whoever reads it meanwhile has the one before.
    fn write(&self, path: &Path) -> io::Result<()> {
        let new = being_written(path);
        private_files::write(&new, &serde_json::to_vec(&self.usage)?)?;
        fs::rename(new, path)
    }
}

/// The samples beside this log. There are none where nothing was written, or something else is there.
pub fn read_usage(log: &Path) -> io::Result<UsageOverTime> {
    let file = match private_files::open_plain(&usage_of(log)) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(UsageOverTime::default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(UsageOverTime::default());
        }
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(MAX_USAGE_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).unwrap_or_default())
}

/// All files of the samples beside a log.
pub fn usage_files(log: &Path) -> [PathBuf; 2] {
    let usage = usage_of(log);
    [being_written(&usage), usage]
}

fn usage_of(log: &Path) -> PathBuf {
    with_ending(log, ".usage")
}

fn being_written(usage: &Path) -> PathBuf {
    with_ending(usage, ".new")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
