//! Prometheus metrics of a controller, and of every call to the API server.
//!
//! What is measured of jobs is in `windlass-metrics`. No label holds what a user chose.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use windlass_metrics::{Histograms, JobMetrics};

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

/// Everything that a controller or gateway of a cluster measures.
#[derive(Clone)]
pub struct Metrics(Arc<Meters>);

struct Meters {
    jobs: JobMetrics,
    reconciles: Family<OutcomeLabels, Counter>,
    reconcile_seconds: Histogram,
    watch_failures: Family<ResourceLabels, Counter>,
    leader: Gauge,
    calls: Family<CallLabels, Counter>,
    call_seconds: Histograms<VerbLabels>,
}

impl Meters {
    fn register_calls(&self, windlass: &mut Registry) {
        windlass.register("api_requests", "Calls to the API server", self.calls.clone());
        let help = "How long the API server took to begin its answer";
        let unit = Unit::Seconds;
        windlass.register_with_unit("api_request_duration", help, unit, self.call_seconds.clone());
    }
}

/// From a millisecond to half a minute.
fn call_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Metrics {
    /// What a controller measures, at zero, registered under names that begin with `windlass_`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::new(JobMetrics::register(registry));
        let windlass = registry.sub_registry_with_prefix("windlass");
        let m = &metrics.0;
        // At zero, so that the first of them is an increase.
        for outcome in ["ok", "conflict", "unavailable", "error", "panic"] {
            let _zero = m.reconciles.get_or_create(&OutcomeLabels { outcome });
        }
        windlass.register("reconciles", "Reconciles of a job", m.reconciles.clone());
        let help = "How long a reconcile of a job took";
        let unit = Unit::Seconds;
        windlass.register_with_unit("reconcile_duration", help, unit, m.reconcile_seconds.clone());
        windlass.register("watch_failures", "Watches that began again", m.watch_failures.clone());
        windlass.register("leader", "1 while this controller acts", m.leader.clone());
        m.register_calls(windlass);
        metrics
    }

    /// What every process measures that asks the API server: its calls alone.
    pub fn register_calls(registry: &mut Registry) -> Self {
        let metrics = Self::new(JobMetrics::default());
        metrics.0.register_calls(registry.sub_registry_with_prefix("windlass"));
        metrics
    }

    fn new(jobs: JobMetrics) -> Self {
        Self(Arc::new(Meters {
            jobs,
            reconciles: Family::default(),
            reconcile_seconds: call_seconds(),
            watch_failures: Family::default(),
            leader: Gauge::default(),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(call_seconds),
        }))
    }

    /// What is measured of jobs, as on one machine.
    pub(crate) fn jobs(&self) -> &JobMetrics {
        &self.0.jobs
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
    use windlass_core::{Job, Phase};
    use windlass_metrics::{QueueNumbers, Totals};

    use super::*;

    #[test]
    fn every_metric_is_documented() {
        let document = include_str!("../../../docs/operations.md");
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        // What has no number yet is not shown.
        let queue = QueueNumbers {
            namespace: "n".into(),
            name: "q".into(),
            waiting: 1,
            granted: 1,
            reserved: 0,
        };
        metrics.jobs().set_queues([queue], Totals::default());
        let mut job = Job::new(Default::default(), Default::default());
        let now = Some(jiff::Timestamp::UNIX_EPOCH);
        (job.status.timeline.created, job.status.timeline.finished) = (now, now);
        job.status.phase = Some(Phase::Succeeded);
        metrics.jobs().finished(&job);
        metrics.reconciled("ok", 0.1);
        metrics.watch_failed("pods");
        metrics.api_called("get", "pods", 200, 0.1);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("# HELP windlass_"));
        let names: Vec<_> = names.filter_map(|rest| rest.split(' ').next()).collect();
        assert_eq!(names.len(), 15, "{text}");
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
}
