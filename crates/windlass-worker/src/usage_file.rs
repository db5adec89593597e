//! What the function uses over time, in a small file beside its log. A server on one machine reads it.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::assignment::Assignment;
use windlass_core::usage_over_time::{UsageOverTime, UsageSample};

use crate::confine::descendants;
use crate::private_files;
use crate::usage;

/// More than a file with all its samples has.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Samples that are being written.
pub(crate) struct UsageFile {
    path: PathBuf,
    usage: UsageOverTime,
    /// When the last sample was taken, and the CPU time that had been used by then.
    last: Option<(Instant, Duration)>,
}

impl UsageFile {
    /// Of an attempt whose log is a file.
    pub(crate) fn of(assignment: &Assignment) -> Option<Self> {
        let path = usage_of(Path::new(assignment.log.as_ref()?));
        let granted = Some(assignment.parallelism);
        let usage = UsageOverTime {
            attempt: Some(assignment.attempt),
            granted,
            interval_seconds: 1,
            samples: Vec::new(),
        };
        Some(Self { path, usage, last: None })
    }

    /// Takes a sample when it is time. What cannot be written is not told: it is no reason to fail.
    pub(crate) fn look(&mut self) {
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
            self.write().unwrap_or_default();
        }
    }

    /// Whoever reads it meanwhile has the one before.
    fn write(&self) -> io::Result<()> {
        let new = being_written(&self.path);
        private_files::write(&new, &serde_json::to_vec(&self.usage)?)?;
        fs::rename(new, &self.path)
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
    file.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
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
