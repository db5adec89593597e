//! What each running job uses over time, as workers have reported it: here or to another replica.
//!
//! What is here is a hint that may be lost. Where there is an object store, it has the samples of what has ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use windlass_core::report::{Event, Report};
use windlass_core::usage_over_time::{UsageOverTime, used_by};
use windlass_core::{AttemptNumber, Job};

/// Most jobs whose samples are kept. Each costs 2 KiB at most.
const MAX_JOBS: usize = 4096;

/// After so long a silence a job counts no more: its worker would have said the same again.
const SILENCE: Duration = Duration::from_secs(70);

/// What a job uses.
struct Heard {
    namespace: String,
    attempt: AttemptNumber,
    usage: UsageOverTime,
    at: Instant,
    has_ended: bool,
}

/// By the job's UID.
#[derive(Default)]
pub(crate) struct UsageCache(Mutex<HashMap<String, Heard>>);

impl UsageCache {
    /// Keeps what a worker has reported, in place of the oldest where there is no room. Returns whether it is news:
    /// samples of less time than those that are kept are not. The same ones say that the job still runs.
    pub(super) fn update(&self, report: &Report) -> bool {
        self.update_at(report, Instant::now())
    }

    fn update_at(&self, report: &Report, at: Instant) -> bool {
        let Event::Usage { over_time, is_last, namespace: Some(namespace) } = &report.event else {
            return false;
        };
        let mut jobs = self.lock();
        let attempt = report.attempt;
        if !over_time.is_plausible(attempt) {
            return false;
        }
        let place = (attempt, over_time.seconds(), *is_last);
        let known = jobs.get(&report.job_uid);
        if known.is_some_and(|known| place < known.place() || known.is_at_last(place)) {
            return false;
        }
        if known.is_none() && jobs.len() >= MAX_JOBS {
            // What has ended goes first.
            let oldest = jobs.iter().min_by_key(|(_, heard)| (heard.is_current(at), heard.at));
            let oldest = oldest.map(|(uid, _)| uid.clone());
            oldest.and_then(|uid| jobs.remove(&uid));
        }
        let (namespace, usage) = (namespace.clone(), over_time.clone());
        let heard = Heard { namespace, attempt, usage, at, has_ended: *is_last };
        jobs.insert(report.job_uid.clone(), heard);
        true
    }

    /// A job's attempt has ended. What it has used stays while there is room. Returns what other replicas are to be
    /// told, if its worker has not told it.
    pub(super) fn end(&self, uid: &str, attempt: AttemptNumber) -> Option<Report> {
        let mut jobs = self.lock();
        let heard = jobs.get_mut(uid)?;
        if heard.has_ended || heard.attempt > attempt {
            return None;
        }
        heard.has_ended = true;
        let (over_time, namespace) = (heard.usage.clone(), Some(heard.namespace.clone()));
        let event = Event::Usage { over_time, is_last: true, namespace };
        Some(Report { job_uid: uid.to_owned(), attempt: heard.attempt, event, sent: None })
    }

    /// What the latest attempt of a job uses, if anything was heard of that.
    pub(crate) fn heard_of(&self, job: &Job) -> Option<UsageOverTime> {
        let jobs = self.lock();
        let heard = jobs.get(&job.metadata.uid)?;
        (heard.attempt >= job.status.attempt.unwrap_or(1)).then(|| heard.usage.clone())
    }

    /// CPUs in use by the jobs of a namespace, if anything was heard of one that runs, and by each of them.
    pub(crate) fn in_use(&self, namespace: &str) -> (Option<f64>, BTreeMap<String, f64>) {
        let now = Instant::now();
        let jobs = self.lock();
        let is_meant = |heard: &Heard| heard.namespace == namespace && heard.is_current(now);
        let running = || jobs.iter().filter(|(_, heard)| is_meant(heard));
        let used = running().filter_map(|(_, heard)| heard.usage.cpus_now());
        let each = used_by(running().map(|(uid, heard)| (uid.as_str(), &heard.usage)));
        (used.reduce(|sum, cpus| sum + cpus), each)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Heard>> {
        // A map is one after a panic, too.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn place(&self) -> (AttemptNumber, u64, bool) {
        (self.attempt, self.usage.seconds(), self.has_ended)
    }

    /// Whether this is known, and that no more follows.
    fn is_at_last(&self, place: (AttemptNumber, u64, bool)) -> bool {
        self.has_ended && place == self.place()
    }

    /// Whether it runs, as far as is known.
    fn is_current(&self, now: Instant) -> bool {
        !self.has_ended && now.saturating_duration_since(self.at) < SILENCE
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::usage_over_time::UsageSample;
    use windlass_core::{JobSpec, Metadata};

    use super::*;

    fn report(uid: &str, attempt: AttemptNumber, cpus: &[f64], is_last: bool) -> Report {
        let mut over_time = UsageOverTime::begin(attempt, 4);
        for cpus in cpus {
            over_time.add(UsageSample { cpus: *cpus, memory_bytes: 1 });
        }
        let event = Event::Usage { over_time, is_last, namespace: Some("team".into()) };
        Report { job_uid: uid.into(), attempt, event, sent: None }
    }

    fn job(uid: &str, attempt: AttemptNumber) -> Job {
        let metadata = Metadata { uid: uid.into(), ..Metadata::default() };
        let mut job = Job::new(metadata, JobSpec::default());
        job.status.attempt = Some(attempt);
        job
    }

    #[test]
    fn what_is_in_use_is_that_of_the_latest_samples_of_what_runs() {
        let cache = UsageCache::default();
        let in_use = |cache: &UsageCache, namespace| cache.in_use(namespace).0;
        assert_eq!(in_use(&cache, "team"), None);
        assert!(cache.update(&report("a", 1, &[1.0, 3.0], false)));
        assert!(cache.update(&report("b", 1, &[0.5], false)));
        assert_eq!((in_use(&cache, "team"), in_use(&cache, "other")), (Some(3.5), None));
        let each = BTreeMap::from([("a".to_owned(), 3.0), ("b".to_owned(), 0.5)]);
        assert_eq!((cache.in_use("team").1, cache.in_use("other").1), (each, BTreeMap::new()));
        // What came late on its way is no news.
        assert!(!cache.update(&report("a", 1, &[1.0], false)));
        assert!(cache.end("nobody", 1).is_none());
        let end = cache.end("b", 1).unwrap();
        assert_eq!(end, report("b", 1, &[0.5], true));
        assert!(cache.end("b", 1).is_none());
        // The same at another replica, which has heard of it later.
        let other = UsageCache::default();
        assert!(other.update(&report("b", 1, &[0.5], false)) && other.update(&end));
        assert_eq!(in_use(&other, "team"), None);
        assert!(!other.update(&report("b", 1, &[0.5], false)));
        assert_eq!(in_use(&cache, "team"), Some(3.0));
        assert!(cache.update(&report("a", 1, &[1.0, 3.0], true)));
        assert!(!cache.update(&report("a", 1, &[1.0, 3.0], true)));
        assert_eq!(in_use(&cache, "team"), None);
        let of = |uid, attempt| cache.heard_of(&job(uid, attempt)).map(|usage| usage.samples.len());
        assert_eq!(
            (of("a", 1), of("b", 1), of("a", 2), of("c", 1)),
            (Some(2), Some(1), None, None)
        );
        assert!(cache.update(&report("a", 2, &[2.0], false)));
        assert_eq!((of("a", 2), in_use(&cache, "team")), (Some(1), Some(2.0)));
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_makes_room() {
        let (cache, now) = (UsageCache::default(), Instant::now());
        let hear = |job: &str, cpus: f64, milliseconds| {
            let at = now + Duration::from_millis(milliseconds);
            cache.update_at(&report(job, 1, &[cpus], false), at)
        };
        for job in 0..MAX_JOBS as u64 {
            assert!(hear(&job.to_string(), 1.0, job), "{job}");
        }
        cache.end("7", 1);
        for (new, gone) in [("a", "7"), ("b", "0"), ("c", "1")] {
            assert!(hear(new, 1.0, 5000), "{new}");
            assert_eq!((cache.heard_of(&job(gone, 1)), cache.lock().len()), (None, MAX_JOBS));
        }
        assert!(!hear("d", f64::NAN, 5000) && !hear("d", 1e300, 5000));
    }

    #[test]
    fn who_says_the_same_again_still_runs_and_who_is_silent_does_not() {
        let cache = UsageCache::default();
        let said = |seconds| {
            let at = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
            assert!(cache.update_at(&report("a", 1, &[1.0; 119], false), at));
            cache.in_use("team").0
        };
        assert_eq!((said(100), said(71), said(60), said(1)), (None, None, Some(1.0), Some(1.0)));
    }
}
