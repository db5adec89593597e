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

/// Seconds that the samples are about which a gateway has not been told, before it is.
const TELLING_SECONDS: u32 = 5;

/// The longest that a gateway is told nothing, once it was told anything. It takes what is silent for 70 s to have
/// ended.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Samples that are being taken.
pub(crate) struct UsageSamples {
    /// The file, or none where they are told.
    path: Option<PathBuf>,
    usage: UsageOverTime,
    /// When samples were last told, and how many seconds they were about.
    told: Option<(Instant, u64)>,
    /// When the last sample was taken, and the CPU time that had been used by then.
    last: Option<(Instant, Duration)>,
}

impl UsageSamples {
    /// Of an attempt whose log is a file, or that reports to a gateway.
    pub(crate) fn of_attempt(assignment: &Assignment) -> Option<Self> {
        let path = assignment.log.as_ref().map(|log| usage_of(Path::new(log)));
        if path.is_none() && !matches!(assignment.report, ReportTo::Http { .. }) {
            return None;
        }
        let usage = UsageOverTime::begin(assignment.attempt, assignment.parallelism);
        Some(Self { path, usage, told: None, last: None })
    }

    /// Takes a sample when it is time, and tells what there is. What cannot be written is not told: it is no reason to
    /// fail.
    pub(crate) fn report_new(&mut self, reporter: &mut Reporter) {
        let interval = Duration::from_secs(self.usage.interval_seconds.into());
        if self.last.is_none_or(|(at, _)| at.elapsed() >= interval) {
            self.take();
        }
        if self.path.is_none() && self.is_telling_due(Instant::now()) {
            self.told = Some((Instant::now(), self.usage.seconds()));
            reporter.send(self.event(false));
        }
    }

    fn take(&mut self) {
        let (now, processes) = (Instant::now(), descendants());
        let used = usage::used_by(&processes);
        if let Some((at, before)) = self.last.replace((now, used)) {
            let wall = now.duration_since(at).as_secs_f64();
            let cpus = used.saturating_sub(before).as_secs_f64() / wall;
            let memory_bytes = usage::resident(&processes);
            self.usage.add(UsageSample { cpus: (cpus * 1000.0).round() / 1000.0, memory_bytes });
            if let Some(path) = &self.path {
                self.write(path).unwrap_or_default();
            }
        }
    }

    /// Whether there are enough new samples, or none were told for long.
    fn is_telling_due(&self, now: Instant) -> bool {
        let (silence, told_seconds) = self.told.map_or((Duration::ZERO, 0), |(at, seconds)| {
            (now.saturating_duration_since(at), seconds)
        });
        let new_seconds = self.usage.seconds().saturating_sub(told_seconds);
        let enough = u64::from(self.usage.interval_seconds.max(TELLING_SECONDS));
        silence >= LONGEST_SILENCE || (enough < LONGEST_SILENCE.as_secs() && new_seconds >= enough)
    }

    /// All samples, where some were told: with them it is told that the attempt has ended.
    pub(crate) fn last_event(&self) -> Option<Event> {
        self.told.is_some().then(|| self.event(true))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_told_of_new_samples_and_never_left_in_silence_for_long() {
        let begun = Instant::now();
        let usage = UsageOverTime::begin(1, 2);
        let mut samples = UsageSamples { path: None, usage, told: None, last: None };
        let (mut tellings, mut last, mut sampled) = (Vec::new(), 0, 0);
        // Ten hours.
        for second in 1..36_000_u64 {
            if second >= sampled + u64::from(samples.usage.interval_seconds) {
                samples.usage.add(UsageSample { cpus: 1.0, memory_bytes: 1 });
                sampled = second;
            }
            let now = begun + Duration::from_secs(second);
            if samples.is_telling_due(now) {
                samples.told = Some((now, samples.usage.seconds()));
                tellings.push(second - last);
                last = second;
            }
        }
        assert_eq!((tellings[0], tellings[1]), (5, 5));
        assert!(tellings.iter().all(|pause| (4..=32).contains(pause)), "{tellings:?}");
        assert!(tellings.len() > 1200 && tellings.ends_with(&[30, 30]), "{}", tellings.len());
    }
}
