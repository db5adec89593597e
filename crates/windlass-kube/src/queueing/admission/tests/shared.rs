//! Queues of several namespaces that share the CPUs of a ClusterComputeQueue.

use serde_json::{Value, json};
use windlass_core::status::Truth;

use super::*;
use crate::crd::ClusterComputeQueue;

const POOL: &str = "pool";

/// Namespaces `a` and `b` with the label `team`, each with a queue `q`, and a controller that leads.
struct Shared {
    admission: ClusterAdmission,
    woken: mpsc::UnboundedReceiver<JobRef>,
}

fn ledger() -> LedgerKey {
    LedgerKey::ClusterQueue(POOL.into())
}

fn cluster_queue(name: &str, created: i64, spec: Value) -> ClusterComputeQueue {
    serde_json::from_value(json!({ "apiVersion": "windlass.dev/v1alpha1",
        "kind": "ClusterComputeQueue",
        "metadata": { "name": name, "uid": name, "generation": 1, "creationTimestamp": at(created) },
        "spec": spec, "status": { "holder": ME } }))
    .unwrap()
}

fn pool(cpus: Cpus) -> ClusterComputeQueue {
    let selector = json!({ "matchExpressions": [{ "key": "team", "operator": "Exists" }] });
    cluster_queue(POOL, 0, json!({ "cpus": cpus, "namespaceSelector": selector }))
}

fn claim_in(namespace: &str, job: &str, cpus: Cpus) -> Claim {
    let key = QueueKey { namespace: namespace.into(), name: "q".into() };
    ledger().claim(&attempt(job), cpus, &key)
}

fn queue(namespace: &str, spec: Value) -> ComputeQueue {
    serde_json::from_value(json!({ "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeQueue",
        "metadata": { "name": "q", "namespace": namespace, "uid": namespace }, "spec": spec }))
    .unwrap()
}

impl Shared {
    fn new(cpus: Cpus, a: Value, b: Value) -> Self {
        let (requeued, woken) = mpsc::unbounded_channel();
        let admission = ClusterAdmission::new(ME.into(), false, requeued);
        let shared = Self { admission, woken };
        shared.label("a", Some("a"));
        shared.label("b", Some("b"));
        shared.admission.queue_changed(&queue("a", a), |_| false, at(0));
        shared.admission.queue_changed(&queue("b", b), |_| false, at(0));
        shared.watch(&pool(cpus));
        shared.admission.mark_counted(&ledger());
        shared.admission.start_granting(at(0));
        shared
    }

    fn watch(&self, pool: &ClusterComputeQueue) {
        self.admission.cluster_queue_changed(pool, |_| false, at(0));
    }

    fn label(&self, namespace: &str, team: Option<&str>) {
        self.label_at(namespace, team, None);
    }

    /// The namespace as it is in this version.
    fn label_at(&self, namespace: &str, team: Option<&str>, version: Option<u64>) {
        let labels = team.map(|team| ("team".to_owned(), team.to_owned()));
        let shown = kube::core::ObjectMeta {
            labels: Some(labels.into_iter().collect()),
            resource_version: version.map(|version| version.to_string()),
            ..Default::default()
        };
        self.admission.namespace_changed(namespace, Some(&shown), |_| false, at(0));
    }

    /// The pool with these claims.
    fn watch_claims(&self, cpus: Cpus, claims: Vec<Claim>) {
        let mut pool = pool(cpus);
        let usage = QueueStatus { holder: Some(ME.into()), claims, ..QueueStatus::default() };
        pool.status = Some(crate::crd::ClusterQueueStatus { usage, ..Default::default() });
        self.watch(&pool);
    }

    /// A job of one CPU asks.
    fn request(&self, namespace: &str, name: &str) -> AdmissionDecision {
        let mut job = job(name);
        job.metadata.namespace = namespace.into();
        let limits = JobLimits { parallelism: 1, ..JobLimits::without_function(&job.spec) };
        let limits = JobLimits { min_parallelism: 1, ..limits };
        self.admission.request_cpus(&job, attempt(name), &limits, at(0))
    }

    fn request_all(&self, namespace: &str, count: usize) {
        for number in 0..count {
            self.request(namespace, &format!("{namespace}{number}"));
        }
    }

    fn observe(&self, namespace: &str, name: &str, is_live: bool) {
        let labels = AttemptLabels {
            attempt: attempt(name),
            namespace: namespace.into(),
            job: name.into(),
            queue: "q".into(),
            cpus: 1,
        };
        self.admission.attempt_changed(&ChangedAttempt { labels, is_live }, at(0));
    }

    /// The next write, which has claims.
    fn next_write(&self) -> Option<ClaimWrite> {
        self.admission.next_claim_write(false, at(0))
    }

    /// The jobs that the next write claims, by namespace.
    fn claims(&self) -> [usize; 2] {
        let claims = self.next_write().map(|write| write.status.claims).unwrap_or_default();
        ["a", "b"].map(|namespace| {
            claims.iter().filter(|claim| claim.namespace.as_deref() == Some(namespace)).count()
        })
    }
}

#[test]
fn queues_of_two_namespaces_share_cpus_by_their_weights() {
    let queue = |weight: u32| json!({ "cpus": 100, "weight": weight });
    let shared = Shared::new(8, queue(3), queue(1));
    shared.admission.stop_granting();
    shared.request_all("a", 20);
    shared.request_all("b", 20);
    shared.admission.start_granting(at(0));
    let write = shared.next_write().unwrap();
    assert_eq!((&write.ledger, write.may_replace), (&ledger(), true));
    assert_eq!(shared.claims(), [6, 2]);
    let AdmissionDecision::Waiting { why, .. } = shared.request("a", "a19") else { panic!() };
    assert!(why.contains(r#"ClusterComputeQueue "pool" has 8 CPUs"#), "{why}");
}

#[test]
fn a_queue_borrows_what_others_leave_idle_up_to_its_own_quota_and_gives_it_back() {
    let shared = Shared::new(4, json!({ "cpus": 3 }), json!({ "cpus": 4, "guaranteedCpus": 2 }));
    shared.request_all("a", 9);
    assert_eq!(shared.claims(), [3, 0], "its own quota");
    shared.request_all("b", 9);
    assert_eq!(shared.claims(), [3, 1]);
    let write = shared.next_write().unwrap();
    shared.admission.confirm_claims(&write, at(0));
    for (namespace, name) in [("a", "a0"), ("a", "a1")] {
        shared.observe(namespace, name, true);
        shared.observe(namespace, name, false);
    }
    assert_eq!(shared.claims(), [2, 2], "the guaranteed one first, then by granted CPUs");
}

#[test]
fn what_another_controller_claims_for_any_queue_counts() {
    let shared = Shared::new(2, json!({ "cpus": 9 }), json!({ "cpus": 9 }));
    shared.request("a", "a0");
    shared.watch_claims(2, ["x", "y"].map(|name| claim_in("b", name, 1)).into());
    assert!(shared.next_write().is_none(), "the grant that is not claimed is taken back");
    shared.admission.release_attempt(&attempt("x"), at(0));
    assert_eq!(shared.claims(), [1, 1], "y's still counts");
}

/// As a new controller sees it whose watch of namespaces is late.
#[test]
fn claims_of_a_namespace_that_is_seen_late_count_once_it_is_seen() {
    let shared = Shared::new(2, json!({ "cpus": 9 }), json!({ "cpus": 9 }));
    shared.label_at("b", None, Some(5));
    shared.watch_claims(2, vec![claim_in("b", "x", 2)]);
    shared.request("a", "a0");
    assert_eq!(shared.claims(), [1, 0]);
    shared.label_at("b", Some("b"), Some(7));
    assert!(shared.next_write().is_none(), "both CPUs are claimed");
    shared.label_at("b", None, Some(6));
    assert!(shared.next_write().is_none(), "that was before");
    shared.label_at("b", None, Some(8));
    assert_eq!(shared.claims(), [1, 0]);
}

#[test]
fn a_claim_that_a_namespace_has_left_behind_means_nothing() {
    let shared = Shared::new(4, json!({ "cpus": 9 }), json!({ "cpus": 9 }));
    shared.request("b", "b0");
    let write = shared.next_write().unwrap();
    shared.admission.confirm_claims(&write, at(0));
    shared.observe("b", "b0", true);
    shared.label("b", None);
    shared.observe("b", "b0", false);
    shared.watch_claims(4, write.status.claims);
    assert_eq!(shared.admission.cpus_in_use(), 0, "its attempt is over");
}

#[test]
fn nobody_takes_or_hides_cpus_of_others_by_a_label() {
    let shared = Shared::new(4, json!({ "cpus": 2 }), json!({ "cpus": 9 }));
    let label = |name: &str, cpus| {
        let labels = AttemptLabels {
            attempt: attempt(name),
            namespace: "a".into(),
            job: name.into(),
            queue: "q".into(),
            cpus,
        };
        shared.admission.attempt_changed(&ChangedAttempt { labels, is_live: true }, at(0));
        shared.admission.cpus_in_use()
    };
    shared.request("a", "a0");
    shared.admission.confirm_claims(&shared.next_write().unwrap(), at(0));
    assert_eq!(["0", "1", "900"].map(|cpus| label("a0", cpus.parse().unwrap())), [1, 1, 1]);
    assert_eq!(label("forged", 4_000_000_000), 1 + 1024, "as many as a job may have");
    assert_eq!(label("forged", 0), 1 + 1024);
    // What was found running counts whatever becomes of its queue's quota.
    shared.admission.queue_changed(&queue("a", json!({ "cpus": 0 })), |_| false, at(0));
    assert_eq!(label("found", 8), 1 + 1024 + 8);
}

#[test]
fn a_queue_whose_attempts_are_never_seen_leaves_the_others_their_claims() {
    let shared = Shared::new(5_000, json!({ "cpus": 5_000 }), json!({ "cpus": 5_000 }));
    shared.request_all("a", 500);
    shared.admission.confirm_claims(&shared.next_write().unwrap(), at(0));
    assert!(shared.next_write().is_none(), "so many may be unseen");
    shared.request_all("b", 3);
    assert_eq!(shared.claims()[1], 3);
}

#[test]
fn a_namespace_comes_with_what_it_holds_and_leaves_with_it() {
    let shared = Shared::new(2, json!({ "cpus": 9 }), json!({ "cpus": 9 }));
    shared.label("b", None);
    shared.observe("b", "b0", true);
    shared.observe("b", "b1", true);
    shared.request_all("a", 4);
    assert_eq!(shared.claims(), [2, 0]);
    shared.label("b", Some("b"));
    assert!(shared.next_write().is_none(), "both CPUs are in use");
    shared.label("b", None);
    assert_eq!(shared.claims(), [2, 0]);
    // Jobs that wait come along, too.
    shared.request("b", "b2");
    let own = shared.admission.next_claim_write(false, at(2)).unwrap();
    let key = QueueKey { namespace: "b".into(), name: "q".into() };
    assert_eq!(own.ledger, LedgerKey::Queue(key), "its own quota alone");
    shared.label("b", Some("b"));
    assert!(shared.next_write().is_none());
}

#[test]
fn a_pool_that_is_deleted_leaves_each_queue_its_own_quota() {
    let mut shared = Shared::new(0, json!({ "cpus": 1 }), json!({ "cpus": 9 }));
    shared.request_all("a", 2);
    assert!(shared.next_write().is_none());
    while shared.woken.try_recv().is_ok() {}
    shared.admission.cluster_queue_deleted(POOL, "another of that name", at(0));
    assert!(shared.next_write().is_none());
    shared.admission.cluster_queue_deleted(POOL, POOL, at(0));
    assert_eq!(shared.admission.next_claim_write(false, at(2)).unwrap().status.claims.len(), 1);
    assert!(shared.woken.try_recv().is_ok(), "they are told");
}

#[test]
fn the_older_of_two_has_a_namespace_that_both_select_and_the_other_says_so() {
    let shared = Shared::new(2, json!({ "cpus": 9 }), json!({ "cpus": 9 }));
    let all = json!({ "cpus": 9, "namespaceSelector": {} });
    shared.watch(&cluster_queue("all", 5, all));
    shared.request_all("a", 4);
    assert_eq!(shared.claims(), [2, 0], "of the older one");
    let state = shared.admission.lock();
    let ready = |name: &str| state.cluster_queues.get(name).unwrap().ready(0, at(7));
    assert_eq!((ready(POOL).status, ready(POOL).reason.as_str()), (Truth::True, "Accepted"));
    assert_eq!(
        (ready("all").status, ready("all").reason.as_str()),
        (Truth::False, "NamespacesTaken")
    );
    assert!(ready("all").message.contains("a, b"), "{}", ready("all").message);
}

#[test]
fn nobody_passes_by_the_pool() {
    let mut shared = Shared::new(2, json!({ "cpus": 9 }), json!({ "cpus": 9 }));
    // Its namespace is not known yet.
    assert!(matches!(shared.request("new", "n0"), AdmissionDecision::Waiting { .. }));
    assert!(shared.woken.try_recv().is_err());
    // The namespace has no ComputeQueue, where a job that names none would pass.
    shared.label("new", Some("c"));
    assert_eq!(shared.woken.try_recv().unwrap(), ("new".into(), "n0".into()));
    let mut nameless = job("n1");
    nameless.metadata.namespace = "new".into();
    nameless.spec.queue = None;
    let limits = JobLimits::without_function(&nameless.spec);
    let told = shared.admission.request_cpus(&nameless, attempt("n1"), &limits, at(0));
    assert!(matches!(told, AdmissionDecision::Blocked { .. }), "{told:?}");
    shared.label("new", None);
    let told = shared.admission.request_cpus(&nameless, attempt("n1"), &limits, at(0));
    assert!(matches!(told, AdmissionDecision::Granted(_)), "{told:?}");
}

#[test]
fn a_grant_that_was_made_anew_with_other_cpus_is_not_taken_for_the_claimed_one() {
    let shared = Shared::new(4, json!({ "cpus": 9 }), json!({ "cpus": 9 }));
    let job = |max| {
        let mut job = job("a0");
        job.metadata.namespace = "a".into();
        let limits = JobLimits { parallelism: max, ..JobLimits::without_function(&job.spec) };
        let limits = JobLimits { min_parallelism: 1, ..limits };
        shared.admission.request_cpus(&job, attempt("a0"), &limits, at(0))
    };
    job(1);
    let write = shared.next_write().unwrap();
    shared.admission.withdraw("a0", at(0));
    job(3);
    shared.admission.confirm_claims(&write, at(0));
    assert_eq!(job(3), AdmissionDecision::NotAsked, "three were not claimed");
    let write = shared.next_write().unwrap();
    assert_eq!(write.status.claims[0].cpus, 3);
    shared.admission.confirm_claims(&write, at(0));
    assert_eq!(job(3), AdmissionDecision::Granted(3));
}

#[test]
fn guarantees_above_the_cpus_are_told_until_they_fit() {
    let guaranteed = |cpus: Cpus| json!({ "cpus": 9, "guaranteedCpus": cpus });
    let shared = Shared::new(4, guaranteed(3), guaranteed(2));
    let told = || {
        let state = shared.admission.lock();
        let guaranteed = state.scheduler.guaranteed_of(POOL);
        (guaranteed, state.cluster_queues.get(POOL).unwrap().ready(guaranteed, at(7)).reason)
    };
    assert_eq!(told(), (5, "GuaranteesExceedCpus".into()));
    shared.admission.queue_changed(&queue("b", guaranteed(1)), |_| false, at(0));
    assert_eq!(told(), (4, "Accepted".into()));
    shared.label("a", None);
    assert_eq!(told(), (1, "Accepted".into()), "its namespace has left");
    shared.label("a", Some("a"));
    assert_eq!(told().0, 4);
    let key = QueueKey { namespace: "a".into(), name: "q".into() };
    shared.admission.queue_deleted(&key, "a", at(0));
    assert_eq!(told().0, 1, "the queue was deleted");
    shared.admission.cluster_queue_deleted(POOL, POOL, at(0));
    assert_eq!(shared.admission.lock().scheduler.guaranteed_of(POOL), 0);
}

#[test]
fn cpus_that_are_kept_for_a_job_are_told_as_reserved_and_by_nobody_as_granted() {
    let reclaims = json!({ "cpus": 9, "guaranteedCpus": 2, "preemption": "reclaim" });
    let shared = Shared::new(2, reclaims, json!({ "cpus": 9 }));
    for name in ["b0", "b1"] {
        shared.observe("b", name, true);
        let standing = windlass_core::Standing { priority: 0, since: at(0) };
        shared.admission.lock().scheduler.set_running(&attempt(name), standing, false);
    }
    let mut job = job("a0");
    job.metadata.namespace = "a".into();
    let limits = JobLimits { parallelism: 2, ..JobLimits::without_function(&job.spec) };
    let limits = JobLimits { min_parallelism: 2, ..limits };
    shared.admission.request_cpus(&job, attempt("a0"), &limits, at(0));
    shared.observe("b", "b0", false);
    let state = shared.admission.lock();
    let measured: Vec<_> =
        state.numbers().into_iter().map(|queue| (queue.granted, queue.reserved)).collect();
    assert_eq!(measured, [(0, 1), (1, 0)]);
    assert_eq!(state.scheduler.numbers_of(POOL), (1, 1));
    drop(state);
    let write = shared.admission.next_claim_write(true, at(0)).unwrap();
    let QueueStatus { granted, waiting, .. } = write.status;
    assert_eq!((write.uid.as_str(), granted, waiting), ("a", 0, 1));
}
