//! Prometheus metrics of jobs, under the same names on one machine and on a cluster: one dashboard reads both.
//!
//! No label holds what a user chose: namespaces and ComputeQueues are made by admins, all others are closed lists.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use windlass_core::{Cpus, Job};

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

/// What is measured of one queue.
#[derive(Clone, Debug)]
pub struct QueueNumbers {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Jobs that wait in it.
    pub waiting: usize,
    /// CPUs that its jobs hold.
    pub granted: Cpus,
    /// CPUs that are kept for jobs of it for which others have ended.
    pub reserved: Cpus,
}

/// What is measured of all queues together, those among them that have no numbers of their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Jobs that wait for CPUs.
    pub waiting: usize,
    /// CPUs that attempts hold.
    pub cpus_in_use: u64,
}

/// A family of histograms.
pub type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// What is measured of jobs.
#[derive(Clone)]
pub struct JobMetrics(Arc<Meters>);

struct Meters {
    queue_waiting: Family<QueueLabels, Gauge>,
    queue_granted: Family<QueueLabels, Gauge>,
    queue_reserved: Family<QueueLabels, Gauge>,
    known_queues: Mutex<HashSet<(String, String)>>,
    waiting: Gauge,
    cpus_in_use: Gauge,
    warm_waiting: Gauge,
    warm_memory: Gauge,
    grants: Counter,
    granted_cpus: Counter,
    finished: Family<EndLabels, Counter>,
    preemptions: Family<QueueLabels, Counter>,
    phases: Histograms<PhaseLabels>,
}

/// From a tenth of a second to about a day.
fn job_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.1, 2.0, 20))
}

impl fmt::Debug for JobMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JobMetrics")
    }
}

impl Default for JobMetrics {
    /// Metrics that nobody reads.
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}

impl JobMetrics {
    /// Everything at zero, registered under names that begin with `windlass_`.
    pub fn register(registry: &mut Registry) -> Self {
        let m = Meters {
            queue_waiting: Family::default(),
            queue_granted: Family::default(),
            queue_reserved: Family::default(),
            known_queues: Mutex::default(),
            waiting: Gauge::default(),
            cpus_in_use: Gauge::default(),
            warm_waiting: Gauge::default(),
            warm_memory: Gauge::default(),
            grants: Counter::default(),
            granted_cpus: Counter::default(),
            finished: Family::default(),
            preemptions: Family::default(),
            phases: Family::new_with_constructor(job_seconds),
        };
        let windlass = registry.sub_registry_with_prefix("windlass");
        let help = "Jobs that wait in a ComputeQueue";
        windlass.register("queue_waiting_jobs", help, m.queue_waiting.clone());
        let help = "CPUs that the jobs of a queue hold";
        windlass.register("queue_granted_cpus", help, m.queue_granted.clone());
        let help = "CPUs that are kept for jobs of a queue for which others have ended";
        windlass.register("queue_reserved_cpus", help, m.queue_reserved.clone());
        let help = "Jobs that wait for CPUs, in whatever queue";
        windlass.register("waiting_jobs", help, m.waiting.clone());
        let help = "CPUs that attempts hold, in whatever queue";
        windlass.register("cpus_in_use", help, m.cpus_in_use.clone());
        windlass.register("grants", "Attempts made", m.grants.clone());
        windlass.register("granted_cpus", "CPUs of the attempts made", m.granted_cpus.clone());
        windlass.register("jobs_finished", "Jobs that have ended", m.finished.clone());
        let help = "Attempts that were ended for a job of this queue";
        windlass.register("preemptions", help, m.preemptions.clone());
        let help = "How long jobs were in a phase, counted when they have ended";
        windlass.register_with_unit("job_phase_duration", help, Unit::Seconds, m.phases.clone());
        Self(Arc::new(m))
    }

    /// Sets the numbers of all queues. A queue that is not in the list any more is gone, and so are its numbers.
    pub fn set_queues(&self, queues: impl IntoIterator<Item = QueueNumbers>, totals: Totals) {
        let Meters { queue_waiting, queue_granted, queue_reserved, known_queues, .. } = &*self.0;
        let Meters { waiting, cpus_in_use, .. } = &*self.0;
        waiting.set(count(totals.waiting));
        cpus_in_use.set(i64::try_from(totals.cpus_in_use).unwrap_or(i64::MAX));
        let labels = |(namespace, queue): (String, String)| QueueLabels { namespace, queue };
        let mut present = HashSet::new();
        for QueueNumbers { namespace, name, waiting, granted, reserved } in queues {
            present.insert((namespace.clone(), name.clone()));
            let labels = labels((namespace, name));
            queue_waiting.get_or_create(&labels).set(count(waiting));
            queue_granted.get_or_create(&labels).set(i64::from(granted));
            queue_reserved.get_or_create(&labels).set(i64::from(reserved));
        }
        let mut known = known_queues.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in known.difference(&present) {
            queue_waiting.remove(&labels(gone.clone()));
            queue_granted.remove(&labels(gone.clone()));
            queue_reserved.remove(&labels(gone.clone()));
        }
        *known = present;
    }

    /// Shows what warm functions cost that wait on this machine.
    pub fn register_warm(&self, registry: &mut Registry) {
        let windlass = registry.sub_registry_with_prefix("windlass");
        let help = "Warm functions that wait for a job";
        windlass.register("warm_functions_waiting", help, self.0.warm_waiting.clone());
        let (help, unit) = ("Resident memory of warm functions that wait for a job", Unit::Bytes);
        windlass.register_with_unit(
            "warm_functions_memory",
            help,
            unit,
            self.0.warm_memory.clone(),
        );
    }

    /// Sets how many warm functions wait for a job, and their resident bytes.
    pub fn set_warm(&self, waiting: usize, memory_bytes: u64) {
        self.0.warm_waiting.set(count(waiting));
        self.0.warm_memory.set(i64::try_from(memory_bytes).unwrap_or(i64::MAX));
    }

    /// An attempt was made with so many CPUs.
    pub fn granted(&self, cpus: Cpus) {
        self.0.grants.inc();
        self.0.granted_cpus.inc_by(u64::from(cpus));
    }

    /// So many attempts are ended for a job of this queue.
    pub fn preempted(&self, namespace: &str, queue: &str, attempts: usize) {
        let labels = QueueLabels { namespace: namespace.to_owned(), queue: queue.to_owned() };
        let attempts = u64::try_from(attempts).unwrap_or(u64::MAX);
        self.0.preemptions.get_or_create(&labels).inc_by(attempts);
    }

    /// A job was seen to have ended: once for each job that this process saw before its end.
    pub fn finished(&self, job: &Job) {
        let Some(end) = job.status.summary() else { return };
        let labels = EndLabels { phase: end.phase, reason: end.reason.unwrap_or("") };
        self.0.finished.get_or_create(&labels).inc();
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
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_gone_is_not_measured_any_more() {
        let mut registry = Registry::default();
        let metrics = JobMetrics::register(&mut registry);
        let text = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry)
                .expect("a string takes everything");
            text
        };
        let (namespace, name) = ("n".into(), "q".into());
        let queue = QueueNumbers { namespace, name, waiting: 7, granted: 3, reserved: 2 };
        metrics.set_queues([queue], Totals { waiting: 9, cpus_in_use: 5 });
        for line in [
            "windlass_queue_waiting_jobs{namespace=\"n\",queue=\"q\"} 7",
            "windlass_queue_granted_cpus{namespace=\"n\",queue=\"q\"} 3",
            "windlass_queue_reserved_cpus{namespace=\"n\",queue=\"q\"} 2",
            "windlass_waiting_jobs 9",
            "windlass_cpus_in_use 5",
        ] {
            assert!(text().contains(line), "{}", text());
        }
        metrics.set_queues([], Totals::default());
        assert!(!text().contains("queue=\"q\""), "{}", text());
    }
}
