//! How far a job is between two writes of its status, and what a follower has seen of it.
//!
//! In: what workers report and what a world has stored. Out: [`Shown`], which is what a follower is
//! shown, and [`EventId`], by which it says what it has seen when it comes back, to whichever
//! replica of a gateway.
//!
//! Progress has its place in time from its worker alone, the attempt and the time that the function
//! has run: the same on every replica, and after a restart of each.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::report::{Event, Report, is_settled};
use crate::status::Progress;
use crate::{AttemptNumber, Job};

/// Longest event id that is read, in bytes: a UID, a version and two numbers are far below.
const MAX_EVENT_ID_BYTES: usize = 256;

/// Progress that a worker has told. A status is written more rarely.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The attempt that is so far.
    pub attempt: AttemptNumber,
    /// Milliseconds since the function's process started, by the worker's monotonic clock.
    pub elapsed_ms: u64,
    /// How far it is.
    pub progress: Progress,
}

impl Live {
    /// What a report tells; `None` unless it tells progress.
    pub fn from_report(report: &Report) -> Option<Self> {
        let Event::Progress { done, total, message, elapsed_seconds } = &report.event else {
            return None;
        };
        Some(Self {
            attempt: report.attempt,
            // Saturates, and is 0 for what is no number.
            elapsed_ms: (elapsed_seconds * 1000.0) as u64,
            progress: Progress::new(*done, *total, message, *elapsed_seconds),
        })
    }

    /// Whether this was told later.
    pub fn is_after(&self, other: &Self) -> bool {
        self.place() > other.place()
    }

    fn place(&self) -> (AttemptNumber, u64) {
        (self.attempt, self.elapsed_ms)
    }
}

/// A job as a follower is shown it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The job as its world has it.
    pub job: Arc<Job>,
    /// What its worker has told since, or what its status tells already.
    pub live: Option<Live>,
}

impl Shown {
    /// This job, with the progress if that still says something: not of a job that has ended, nor of
    /// an attempt that is not the latest or has failed.
    pub fn new(job: Arc<Job>, live: Option<Live>) -> Self {
        let status = &job.status;
        let counts = |live: &Live| {
            !status.is_finished()
                && live.attempt >= status.attempt.unwrap_or(1)
                && !is_settled(status, live.attempt)
        };
        let live = live.filter(counts);
        Self { job, live }
    }

    /// The job with the latest progress in its status.
    pub fn job(&self) -> Cow<'_, Job> {
        let Some(live) = &self.live else { return Cow::Borrowed(&self.job) };
        let status = &self.job.status;
        if status.attempt == Some(live.attempt) && status.progress.as_ref() == Some(&live.progress)
        {
            return Cow::Borrowed(&self.job);
        }
        let mut job = Job::clone(&self.job);
        job.status.begin_attempt(live.attempt);
        job.status.progress = Some(live.progress.clone());
        Cow::Owned(job)
    }

    /// What a follower has seen who was shown this.
    pub fn id(&self) -> EventId {
        let metadata = &self.job.metadata;
        EventId {
            uid: metadata.uid.clone(),
            version: metadata.resource_version.clone(),
            live: self.live.as_ref().map(Live::place),
        }
    }
}

/// What a follower has seen of a job: `UID.VERSION`, and `.ATTEMPT.MILLISECONDS` of the progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    uid: String,
    version: String,
    live: Option<(AttemptNumber, u64)>,
}

/// What is new to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing; or this replica does not know yet what another one has shown.
    Nothing,
    /// How far it is.
    Progress,
    /// The job itself.
    Job,
}

impl EventId {
    /// What `now` brings to whoever has `seen` this.
    pub fn news(seen: Option<&Self>, now: &Self) -> News {
        let Some(seen) = seen.filter(|seen| seen.uid == now.uid) else { return News::Job };
        match order(&seen.version, &now.version) {
            Some(Ordering::Equal) if now.live > seen.live => News::Progress,
            Some(Ordering::Equal | Ordering::Greater) => News::Nothing,
            Some(Ordering::Less) | None => News::Job,
        }
    }

    /// What somebody has seen who had seen this and was shown `now`.
    pub fn and(seen: Option<Self>, now: &Self) -> Self {
        let before = seen.filter(|seen| seen.uid == now.uid).and_then(|seen| seen.live);
        Self { live: before.max(now.live), ..now.clone() }
    }
}

/// The order of two resource versions: whole numbers in both worlds. `None` when they are not.
fn order(a: &str, b: &str) -> Option<Ordering> {
    if a == b {
        return Some(Ordering::Equal);
    }
    Some(a.parse::<u64>().ok()?.cmp(&b.parse().ok()?))
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.uid, self.version)?;
        match self.live {
            Some((attempt, elapsed_ms)) => write!(f, ".{attempt}.{elapsed_ms}"),
            None => Ok(()),
        }
    }
}

/// An event id that nobody of us has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event id is UID.VERSION or UID.VERSION.ATTEMPT.MILLISECONDS")]
pub struct NoEventId;

impl FromStr for EventId {
    type Err = NoEventId;

    fn from_str(text: &str) -> Result<Self, NoEventId> {
        if text.len() > MAX_EVENT_ID_BYTES {
            return Err(NoEventId);
        }
        let parts: Vec<&str> = text.split('.').collect();
        let (uid, version, live) = match parts[..] {
            [uid, version] => (uid, version, None),
            [uid, version, attempt, elapsed_ms] => {
                let attempt = attempt.parse().map_err(|_| NoEventId)?;
                (uid, version, Some((attempt, elapsed_ms.parse().map_err(|_| NoEventId)?)))
            }
            _ => return Err(NoEventId),
        };
        if uid.is_empty() || version.is_empty() {
            return Err(NoEventId);
        }
        Ok(Self { uid: uid.to_owned(), version: version.to_owned(), live })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metadata;
    use crate::{JobSpec, Phase};

    fn job(version: &str, attempt: Option<u32>, phase: Phase) -> Arc<Job> {
        let metadata =
            Metadata { uid: "u-1".into(), resource_version: version.into(), ..Metadata::default() };
        let spec: JobSpec = serde_json::from_str(r#"{"function": "f"}"#).unwrap();
        let mut job = Job::new(metadata, spec);
        job.status.attempt = attempt;
        job.status.phase = Some(phase);
        Arc::new(job)
    }

    fn live(attempt: u32, elapsed_seconds: f64, done: u64) -> Live {
        let event = Event::Progress { done, total: 10, message: String::new(), elapsed_seconds };
        Live::from_report(&Report { job_uid: "u-1".into(), attempt, event, sent: None }).unwrap()
    }

    fn id(text: &str) -> EventId {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_shown_has_the_latest_progress_of_the_latest_attempt() {
        let running = Shown::new(job("7", Some(2), Phase::Running), Some(live(2, 1.5, 3)));
        assert_eq!(running.job().status.progress.as_ref().unwrap().done, 3);
        assert_eq!(running.id().to_string(), "u-1.7.2.1500");
        // Its cluster has not told yet that it runs.
        let early = Shown::new(job("6", None, Phase::Queued), Some(live(1, 0.1, 1)));
        assert_eq!(early.job().status.attempt, Some(1));
        let next = Shown::new(job("8", Some(2), Phase::Running), Some(live(3, 0.1, 1)));
        assert_eq!(next.job().status.attempt, Some(3));
        for (attempt, phase) in [(3, Phase::Running), (2, Phase::Succeeded)] {
            let over = Shown::new(job("9", Some(attempt), phase), Some(live(2, 9.0, 9)));
            assert_eq!((over.live.as_ref(), over.id().to_string()), (None, "u-1.9".to_owned()));
        }
    }

    #[test]
    fn what_is_no_time_is_the_beginning_or_the_end_of_it() {
        for (seconds, elapsed_ms) in
            [(f64::NAN, 0), (-1.0, 0), (f64::INFINITY, u64::MAX), (1e300, u64::MAX)]
        {
            assert_eq!(live(1, seconds, 1).elapsed_ms, elapsed_ms);
        }
    }

    #[test]
    fn who_comes_back_is_shown_what_is_new_and_nothing_twice_or_older() {
        let table = [
            ("u-1.7.1.500", "u-1.7.1.500", News::Nothing),
            ("u-1.7.1.500", "u-1.7.1.600", News::Progress),
            ("u-1.7.1.500", "u-1.7.2.10", News::Progress),
            ("u-1.7", "u-1.7.1.10", News::Progress),
            ("u-1.7.1.500", "u-1.7.1.400", News::Nothing),
            ("u-1.7.1.500", "u-1.7", News::Nothing),
            ("u-1.7.1.500", "u-1.8", News::Job),
            ("u-1.9", "u-1.10", News::Job),
            // Another replica was further.
            ("u-1.10", "u-1.9.1.1", News::Nothing),
            // Another job of the same name.
            ("u-1.57.1.5", "u-2.1", News::Job),
            ("u-1.a", "u-1.b", News::Job),
        ];
        for (seen, now, news) in table {
            assert_eq!(EventId::news(Some(&id(seen)), &id(now)), news, "{seen} then {now}");
        }
        assert_eq!(EventId::news(None, &id("u-1.1")), News::Job);
    }

    #[test]
    fn progress_that_was_seen_is_not_new_after_a_version_without_it() {
        let seen = EventId::and(Some(id("u-1.7.1.500")), &id("u-1.8"));
        assert_eq!(seen, id("u-1.8.1.500"));
        assert_eq!(EventId::news(Some(&seen), &id("u-1.8.1.500")), News::Nothing);
        assert_eq!(EventId::and(Some(id("u-1.7.1.500")), &id("u-2.1")), id("u-2.1"));
    }

    #[test]
    fn what_is_no_event_id_is_none() {
        for bad in ["", "7", ".7", "u.", "u.7.1", "u.7.1.x", "u.7.-1.5", "u.7.1.2.3"] {
            assert_eq!(bad.parse::<EventId>(), Err(NoEventId), "{bad:?}");
        }
        assert_eq!("u.7".repeat(200).parse::<EventId>(), Err(NoEventId));
        for good in ["u-1.7", "u-1.7.1.500"] {
            assert_eq!(id(good).to_string(), good);
        }
    }
}
