//! How many CPUs and how much memory an attempt used, over its time and in bounded space.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use crate::{AttemptNumber, Cpus};

/// Most samples of an attempt.
pub const MAX_SAMPLES: usize = 120;

/// More than all samples of an attempt are as JSON, in bytes.
pub const MAX_USAGE_BYTES: u64 = 64 * 1024;

/// More CPUs than any machine has.
const MAX_CPUS: f64 = 1e6;

/// Longest time between two samples, in seconds: that of an attempt of two years.
const MAX_INTERVAL_SECONDS: u32 = 1 << 20;

/// Most jobs of which it is told at once what they use.
pub const MAX_USED_BY: usize = 100;

/// CPUs that each of these running jobs uses, by its UID. Of too many those count that were granted the most, and of equals
/// those that have begun last.
pub fn used_by<'a>(
    all: impl Iterator<Item = (&'a str, &'a UsageOverTime)>,
) -> BTreeMap<String, f64> {
    let sampled = all.filter_map(|(uid, usage)| {
        Some((Reverse(usage.granted), usage.seconds(), uid, usage.cpus_now()?))
    });
    let mut sampled: Vec<_> = sampled.collect();
    sampled.sort_unstable_by_key(|(granted, seconds, uid, _)| (*granted, *seconds, *uid));
    sampled.truncate(MAX_USED_BY);
    sampled.into_iter().map(|(_, _, uid, cpus)| (uid.to_owned(), cpus)).collect()
}

/// Where the object store of a cluster keeps the samples of an attempt: `NAMESPACE/JOB-UID/ATTEMPT-usage`, beside the
/// results of the job, with which they are deleted.
pub fn usage_location(namespace: &str, job_uid: &str, attempt: AttemptNumber) -> String {
    format!("{namespace}/{job_uid}/{attempt}-usage")
}

/// What an attempt used, over its time.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageOverTime {
    /// The latest attempt; absent before the first.
    pub attempt: Option<AttemptNumber>,
    /// CPUs that it was granted.
    pub granted: Option<Cpus>,
    /// Seconds between two samples: 1 at first, and twice as many each time that there are 120 samples.
    pub interval_seconds: u32,
    /// The samples in their order, at most 120. There are none of an attempt that was over within a second. On a cluster
    /// the first are told after 5 s, and those of an attempt that has ended are kept where there is an object store.
    #[schemars(length(max = 120))]
    pub samples: Vec<UsageSample>,
}

/// What an attempt used between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageSample {
    /// CPUs in use on average since the sample before.
    pub cpus: f64,
    /// Resident memory of all processes at the end of that time.
    pub memory_bytes: u64,
}

impl UsageOverTime {
    /// Before the first sample of an attempt.
    pub fn begin(attempt: AttemptNumber, granted: Cpus) -> Self {
        let (attempt, granted) = (Some(attempt), Some(granted));
        Self { attempt, granted, interval_seconds: 1, samples: Vec::new() }
    }

    /// Whether a worker can have taken these samples of this attempt.
    pub fn is_plausible(&self, attempt: AttemptNumber) -> bool {
        let interval = self.interval_seconds;
        let has_cpus =
            |sample: &UsageSample| sample.cpus.is_sign_positive() && sample.cpus <= MAX_CPUS;
        self.attempt == Some(attempt)
            && interval.is_power_of_two()
            && interval <= MAX_INTERVAL_SECONDS
            && self.samples.len() <= MAX_SAMPLES
            && self.samples.iter().all(has_cpus)
    }

    /// The seconds that all samples are about.
    pub fn seconds(&self) -> u64 {
        self.samples.len() as u64 * u64::from(self.interval_seconds)
    }

    /// CPUs in use at the end.
    pub fn cpus_now(&self) -> Option<f64> {
        self.samples.last().map(|sample| sample.cpus)
    }

    /// Adds a sample of the last interval. Where there are too many, each two become one, and the interval is longer.
    pub fn add(&mut self, sample: UsageSample) {
        self.samples.push(sample);
        if self.samples.len() < MAX_SAMPLES {
            return;
        }
        let pairs = self.samples.chunks_exact(2).map(|pair| UsageSample {
            cpus: f64::midpoint(pair[0].cpus, pair[1].cpus),
            memory_bytes: pair[0].memory_bytes.max(pair[1].memory_bytes),
        });
        self.samples = pairs.collect();
        self.interval_seconds = self.interval_seconds.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_bounded_and_tell_the_same_time_and_work() {
        let mut usage = UsageOverTime { interval_seconds: 1, ..UsageOverTime::default() };
        let (mut told, mut seconds) = (0, 0);
        while seconds < 100_000 {
            // A longer interval has more work.
            let interval = usage.interval_seconds;
            (told, seconds) = (told + 1, seconds + interval);
            let memory_bytes = if seconds < 10 { 7 } else { 1 };
            usage.add(UsageSample { cpus: 2.0, memory_bytes });
            assert!(usage.samples.len() < MAX_SAMPLES);
            assert_eq!(usage.samples.len() as u32 * usage.interval_seconds, seconds);
        }
        assert!(told < 1000 && usage.samples.iter().all(|sample| sample.cpus == 2.0));
        assert_eq!(usage.samples[0].memory_bytes, 7, "a peak stays");
    }

    #[test]
    fn what_no_worker_can_have_measured_is_not_plausible() {
        let usage = |interval_seconds, cpus| UsageOverTime {
            interval_seconds,
            samples: vec![UsageSample { cpus, memory_bytes: 1 }],
            ..UsageOverTime::begin(2, 4)
        };
        assert!(usage(1, 0.0).is_plausible(2) && usage(1 << 20, 1e6).is_plausible(2));
        assert!(!usage(1, 0.0).is_plausible(1), "of another attempt");
        for interval in [0, 3, 1 << 21, u32::MAX] {
            assert!(!usage(interval, 1.0).is_plausible(2), "{interval}");
        }
        for cpus in [-0.5, -0.0, 1e308, f64::INFINITY, f64::NAN] {
            assert!(!usage(1, cpus).is_plausible(2), "{cpus}");
        }
    }

    #[test]
    fn of_too_many_those_with_the_most_cpus_and_then_the_latest_are_told() {
        let mut all = Vec::new();
        for number in 0..150_u32 {
            let mut usage = UsageOverTime::begin(1, if number == 7 { 4 } else { 1 });
            // The first have run for longer.
            for _ in number..150.min(number + 100) {
                usage.add(UsageSample { cpus: number.into(), memory_bytes: 1 });
            }
            all.push((number.to_string(), usage));
        }
        all.push(("unsampled".into(), UsageOverTime::begin(1, 8)));
        let told = used_by(all.iter().map(|(uid, usage)| (uid.as_str(), usage)));
        assert_eq!((told.len(), told.get("7"), told.get("149")), (100, Some(&7.0), Some(&149.0)));
        assert_eq!((told.get("6"), told.get("unsampled")), (None, None));
    }
}
