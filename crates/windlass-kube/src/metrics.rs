//! Prometheus metrics of a controller, and of every call to the API server.
//!
//! No label holds what a user chose: namespaces and ComputeQueues are made by admins, all others are closed lists.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use windlass_core::{Cpus, Job, Phase};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    namespace: String,
    queue: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    phase: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    verb: &'static str,
    resource: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

/// What is measured of one ComputeQueue.
pub(crate) struct QueueNumbers {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Jobs that wait in it.
    pub(crate) waiting: usize,
    /// CPUs that its jobs hold.
    pub(crate) granted: Cpus,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything that a controller or gateway of a cluster measures.
#[derive(Clone)]
pub struct Metrics(Arc<Meters>);

struct Meters {
    waiting: Family<QueueLabels, Gauge>,
    granted: Family<QueueLabels, Gauge>,
    cpus_in_use: Gauge,
    known_queues: Mutex<HashSet<(String, String)>>,
    grants: Counter,
    granted_cpus: Counter,
    finished: Family<EndLabels, Counter>,
    phases: Histograms<PhaseLabels>,
    reconciles: Family<OutcomeLabels, Counter>,
    reconcile_seconds: Histogram,
    watch_failures: Family<ResourceLabels, Counter>,
    leader: Gauge,
    calls: Family<CallLabels, Counter>,
    call_seconds: Histograms<VerbLabels>,
}

/// From a tenth of a second to about a day.
fn job_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.1, 2.0, 20))
}

/// From a millisecond to half a minute.
fn call_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Meters {
    /// Everything at zero.
    fn new() -> Self {
        Self {
            waiting: Family::default(),
            granted: Family::default(),
            cpus_in_use: Gauge::default(),
            known_queues: Mutex::default(),
            grants: Counter::default(),
            granted_cpus: Counter::default(),
            finished: Family::default(),
            phases: Family::new_with_constructor(job_seconds),
            reconciles: Family::default(),
            reconcile_seconds: call_seconds(),
            watch_failures: Family::default(),
            leader: Gauge::default(),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(call_seconds),
        }
    }

    /// Registers what a controller knows of jobs and queues.
    fn register_jobs(&self, windlass: &mut Registry) {
        let m = self;
        windlass.register(
            "queue_waiting_jobs",
            "Jobs that wait in a ComputeQueue",
            m.waiting.clone(),
        );
        windlass.register(
            "queue_granted_cpus",
            "CPUs that the jobs of a queue hold",
            m.granted.clone(),
        );
        windlass.register(
            "cpus_in_use",
            "CPUs that attempts hold, in whatever queue",
            m.cpus_in_use.clone(),
        );
        windlass.register("grants", "Attempts made", m.grants.clone());
        windlass.register("granted_cpus", "CPUs of the attempts made", m.granted_cpus.clone());
        windlass.register("jobs_finished", "Jobs that have ended", m.finished.clone());
        let help = "How long jobs were in a phase, counted when they have ended";
        windlass.register_with_unit("job_phase_duration", help, Unit::Seconds, m.phases.clone());
        windlass.register("reconciles", "Reconciles of a job", m.reconciles.clone());
        let help = "How long a reconcile of a job took";
        let unit = Unit::Seconds;
        windlass.register_with_unit("reconcile_duration", help, unit, m.reconcile_seconds.clone());
        windlass.register("watch_failures", "Watches that began again", m.watch_failures.clone());
        windlass.register("leader", "1 while this controller acts", m.leader.clone());
    }
}

impl Metrics {
    /// What a controller measures, at zero, registered under names that begin with `windlass_`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::register_calls(registry);
        metrics.0.register_jobs(registry.sub_registry_with_prefix("windlass"));
        metrics
    }

    /// What every process measures that asks the API server: its calls alone.
    pub fn register_calls(registry: &mut Registry) -> Self {
        let meters = Meters::new();
        let windlass = registry.sub_registry_with_prefix("windlass");
        windlass.register("api_requests", "Calls to the API server", meters.calls.clone());
        let help = "How long the API server took to begin its answer";
        let unit = Unit::Seconds;
        windlass.register_with_unit(
            "api_request_duration",
            help,
            unit,
            meters.call_seconds.clone(),
        );
        Self(Arc::new(meters))
    }
    /// Sets the numbers of all ComputeQueues, and the CPUs in use, in a queue or in none. A queue that is not in the
    /// list any more is gone, and so are its numbers.
    pub(crate) fn set_queues(
        &self,
        queues: impl IntoIterator<Item = QueueNumbers>,
        cpus_in_use: u64,
    ) {
        self.0.cpus_in_use.set(i64::try_from(cpus_in_use).unwrap_or(i64::MAX));
        let labels = |(namespace, queue): (String, String)| QueueLabels { namespace, queue };
        let mut present = HashSet::new();
        for QueueNumbers { namespace, name, waiting, granted } in queues {
            present.insert((namespace.clone(), name.clone()));
            let labels = labels((namespace, name));
            self.0.waiting.get_or_create(&labels).set(i64::try_from(waiting).unwrap_or(i64::MAX));
            self.0.granted.get_or_create(&labels).set(i64::from(granted));
        }
        let mut known = self.0.known_queues.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in known.difference(&present) {
            self.0.waiting.remove(&labels(gone.clone()));
            self.0.granted.remove(&labels(gone.clone()));
        }
        *known = present;
    }

    /// An attempt was made with so many CPUs.
    pub(crate) fn granted(&self, cpus: Cpus) {
        self.0.grants.inc();
        self.0.granted_cpus.inc_by(u64::from(cpus));
    }

    /// A job was seen to have ended: once for each job that this process saw before its end.
    pub(crate) fn finished(&self, job: &Job) {
        let phase = job.status.phase.map_or("", Phase::as_str);
        let reason = match job.status.phase {
            Some(Phase::Failed) => job.status.failure.as_ref().map_or("", |f| f.reason.as_str()),
            _ => "",
        };
        self.0.finished.get_or_create(&EndLabels { phase, reason }).inc();
        let timeline = &job.status.timeline;
        let parts = [
            ("queued", timeline.created, timeline.admitted.or(timeline.finished)),
            ("starting", timeline.admitted, timeline.running.or(timeline.finished)),
            ("running", timeline.running, timeline.finished),
        ];
        for (phase, from, to) in parts {
            if let (Some(from), Some(to)) = (from, to) {
                let seconds = to.duration_since(from).as_secs_f64().max(0.0);
                self.0.phases.get_or_create(&PhaseLabels { phase }).observe(seconds);
            }
        }
    }

    pub(crate) fn reconciled(&self, outcome: &'static str, seconds: f64) {
        self.0.reconciles.get_or_create(&OutcomeLabels { outcome }).inc();
        self.0.reconcile_seconds.observe(seconds);
    }

    pub(crate) fn watch_failed(&self, resource: &'static str) {
        self.0.watch_failures.get_or_create(&ResourceLabels { resource }).inc();
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.0.leader.set(i64::from(leads));
    }

    pub(crate) fn api_called(
        &self,
        verb: &'static str,
        resource: &'static str,
        code: u16,
        seconds: f64,
    ) {
        self.0.calls.get_or_create(&CallLabels { verb, resource, code }).inc();
        self.0.call_seconds.get_or_create(&VerbLabels { verb }).observe(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(waiting: usize, granted: Cpus) -> QueueNumbers {
        QueueNumbers { namespace: "n".into(), name: "q".into(), waiting, granted }
    }

    #[test]
    fn every_metric_is_documented() {
        let document = include_str!("../../../docs/operations.md");
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        // What has no number yet is not shown.
        metrics.set_queues([numbers(1, 1)], 1);
        let mut job = Job::new(Default::default(), Default::default());
        let now = Some(jiff::Timestamp::UNIX_EPOCH);
        (job.status.timeline.created, job.status.timeline.finished) = (now, now);
        metrics.finished(&job);
        metrics.reconciled("ok", 0.1);
        metrics.watch_failed("pods");
        metrics.api_called("get", "pods", 200, 0.1);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("# HELP windlass_"));
        let names: Vec<_> = names.filter_map(|rest| rest.split(' ').next()).collect();
        assert_eq!(names.len(), 13, "{text}");
        for name in names {
            assert!(document.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn a_gateway_tells_nothing_of_grants_and_leaders() {
        let mut registry = Registry::default();
        let metrics = Metrics::register_calls(&mut registry);
        metrics.api_called("get", "pods", 200, 0.1);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let kinds = text.lines().filter(|line| line.starts_with("# TYPE")).count();
        assert_eq!((kinds, text.contains("windlass_api_requests_total")), (2, true), "{text}");
    }

    #[test]
    fn a_queue_that_is_gone_is_not_measured_any_more() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let text = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        metrics.set_queues([numbers(7, 3)], 5);
        let line = "windlass_queue_waiting_jobs{namespace=\"n\",queue=\"q\"} 7";
        assert!(text().contains(line), "{}", text());
        assert!(text().contains("windlass_cpus_in_use 5"), "{}", text());
        metrics.set_queues([], 0);
        assert!(!text().contains("queue=\"q\""), "{}", text());
    }
}
