//! What can be measured of a controller, and of every call to the API server.
//!
//! No label holds what a user chose, but for namespaces and ComputeQueues, which admins make.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tower::{Layer, Service};
use windlass_core::{Cpus, Job, Phase};

use crate::queueing::state::QueueKey;

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

impl Metrics {
    /// Everything at zero, registered under names that begin with `windlass_`.
    pub fn register(registry: &mut Registry) -> Self {
        let meters = Meters {
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
        };
        let windlass = registry.sub_registry_with_prefix("windlass");
        let m = &meters;
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
        let help = "How long jobs were in a phase, told when they have ended";
        windlass.register_with_unit("job_phase_duration", help, Unit::Seconds, m.phases.clone());
        windlass.register("reconciles", "Looks at a job", m.reconciles.clone());
        let help = "How long a look at a job took";
        let unit = Unit::Seconds;
        windlass.register_with_unit("reconcile_duration", help, unit, m.reconcile_seconds.clone());
        windlass.register("watch_failures", "Watches that began again", m.watch_failures.clone());
        windlass.register("leader", "1 while this controller acts", m.leader.clone());
        windlass.register("api_requests", "Calls to the API server", m.calls.clone());
        let help = "How long the API server took to begin its answer";
        let unit = Unit::Seconds;
        windlass.register_with_unit("api_request_duration", help, unit, m.call_seconds.clone());
        Self(Arc::new(meters))
    }

    /// The numbers of all ComputeQueues, of which those that are not among them are gone, and the CPUs in use
    /// within and without them.
    pub(crate) fn queues(&self, all: &[(QueueKey, usize, Cpus)], cpus_in_use: u64) {
        self.0.cpus_in_use.set(i64::try_from(cpus_in_use).unwrap_or(i64::MAX));
        let labels = |(namespace, queue): (String, String)| QueueLabels { namespace, queue };
        let mut there = HashSet::new();
        for (key, waiting, granted) in all {
            let name = (key.namespace.clone(), key.name.clone());
            there.insert(name.clone());
            let labels = labels(name);
            self.0.waiting.get_or_create(&labels).set(i64::try_from(*waiting).unwrap_or(i64::MAX));
            self.0.granted.get_or_create(&labels).set(i64::from(*granted));
        }
        let mut known = self.0.known_queues.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in known.difference(&there) {
            self.0.waiting.remove(&labels(gone.clone()));
            self.0.granted.remove(&labels(gone.clone()));
        }
        *known = there;
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

    fn called(&self, verb: &'static str, resource: &'static str, code: u16, seconds: f64) {
        self.0.calls.get_or_create(&CallLabels { verb, resource, code }).inc();
        self.0.call_seconds.get_or_create(&VerbLabels { verb }).observe(seconds);
    }
}

/// Counts every call of a client.
#[derive(Clone)]
pub(crate) struct Calls(pub(crate) Metrics);

impl<S> Layer<S> for Calls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: self.0.clone() }
    }
}

/// A client's service whose calls are counted.
#[derive(Clone)]
pub(crate) struct Counted<S> {
    inner: S,
    metrics: Metrics,
}

impl<S, A, B> Service<Request<A>> for Counted<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let resource = resource(request.uri().path());
        let verb = match *request.method() {
            Method::GET if watches => "watch",
            Method::GET => "get",
            Method::POST => "create",
            Method::PATCH => "patch",
            Method::PUT => "update",
            Method::DELETE => "delete",
            _ => "other",
        };
        let (metrics, began, answer) =
            (self.metrics.clone(), Instant::now(), self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await;
            // 0 for no answer at all.
            let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            metrics.called(verb, resource, code, began.elapsed().as_secs_f64());
            answer
        })
    }
}

/// The resource of a path, of those that Windlass uses.
fn resource(path: &str) -> &'static str {
    const KNOWN: [&str; 12] = [
        "computejobs",
        "computefunctions",
        "computequeues",
        "jobs",
        "pods",
        "nodes",
        "events",
        "leases",
        "tokenreviews",
        "subjectaccessreviews",
        "namespaces",
        "version",
    ];
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let mut found = "other";
    // `namespaces/NAME/` goes before; what comes after the resource is a name.
    while let Some(part) = parts.next() {
        let Some(known) = KNOWN.iter().find(|known| **known == part) else { continue };
        found = known;
        if found != "namespaces" {
            break;
        }
        parts.next();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_resource_of_a_closed_list() {
        let table = [
            (
                "/apis/windlass.dev/v1alpha1/namespaces/pods/computejobs/leases/status",
                "computejobs",
            ),
            ("/api/v1/namespaces/a/pods", "pods"),
            ("/apis/batch/v1/jobs", "jobs"),
            ("/api/v1/namespaces/a", "namespaces"),
            ("/version", "version"),
            ("/whatever/pod", "other"),
            ("/", "other"),
        ];
        for (path, expected) in table {
            assert_eq!(resource(path), expected, "{path}");
        }
    }

    #[test]
    fn every_metric_is_documented() {
        let document = include_str!("../../../docs/operations.md");
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        // What has no number yet is not shown.
        metrics.queues(&[(QueueKey { namespace: "n".into(), name: "q".into() }, 1, 1)], 1);
        let mut job = Job::new(Default::default(), Default::default());
        let now = Some(jiff::Timestamp::UNIX_EPOCH);
        (job.status.timeline.created, job.status.timeline.finished) = (now, now);
        metrics.finished(&job);
        metrics.reconciled("ok", 0.1);
        metrics.watch_failed("pods");
        metrics.called("get", "pods", 200, 0.1);
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
    fn a_queue_that_is_gone_is_not_measured_any_more() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let key = QueueKey { namespace: "n".into(), name: "q".into() };
        let text = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        metrics.queues(&[(key, 7, 3)], 5);
        let line = "windlass_queue_waiting_jobs{namespace=\"n\",queue=\"q\"} 7";
        assert!(text().contains(line), "{}", text());
        assert!(text().contains("windlass_cpus_in_use 5"), "{}", text());
        metrics.queues(&[], 0);
        assert!(!text().contains("queue=\"q\""), "{}", text());
    }
}
