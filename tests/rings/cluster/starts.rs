//! Attempts that the cluster lets have no pod, and pods that their node does not start.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::MANY_SECONDS;
use crate::support::cluster::{Namespace, get, kubectl};
use crate::support::eventually;

/// How soon a refused pod is told. `eventually` and kubectl take some of it.
const TOLD: Duration = Duration::from_secs(3);

/// How long the start of a pod may take on a node that nobody attends.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// An object of no namespace, until this is dropped.
struct ClusterScoped(String);

impl ClusterScoped {
    fn create(object: &Value) -> Self {
        kubectl(&["create", "-f", "-"], &object.to_string()).unwrap();
        let [kind, name] = [&object["kind"], &object["metadata"]["name"]];
        Self(format!("{}/{}", kind.as_str().unwrap(), name.as_str().unwrap()))
    }
}

impl Drop for ClusterScoped {
    fn drop(&mut self) {
        kubectl(&["delete", &self.0, "--wait=false"], "").unwrap_or_default();
    }
}

/// The built-in `echo` as a function of the name `picky`, with this specification of its pods.
fn picky(namespace: &Namespace, pod: &Value) {
    let mut function = get(&["cfn", "echo", "-n", &namespace.0]);
    function["metadata"] = json!({ "name": "picky" });
    function["spec"]["startDeadlineSeconds"] = json!(60);
    function["spec"]["podTemplate"] = json!({ "spec": { "containers": [{ "name": "function" }] } });
    for (field, value) in pod.as_object().unwrap() {
        function["spec"]["podTemplate"]["spec"][field] = value.clone();
    }
    kubectl(&["apply", "-n", &namespace.0, "-f", "-"], &function.to_string()).unwrap();
}

/// Lets no pod into the namespace.
pub(super) fn refuse_pods(namespace: &Namespace) {
    let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": { "name": "none", "namespace": namespace.0 },
        "spec": { "hard": { "pods": "0" } } });
    kubectl(&["create", "-f", "-"], &quota.to_string()).unwrap();
    eventually("the quota is in force", MANY_SECONDS, || {
        let status = get(&["resourcequota", "none", "-n", &namespace.0])["status"].take();
        (status["hard"]["pods"] == "0").then_some(())
    });
}

/// Waits until one of the job's conditions has this reason, with these words.
fn is_said(namespace: &Namespace, job: &str, (reason, words): (&str, &str)) {
    eventually(&format!("{reason}: {words:?} is told"), MANY_SECONDS, || {
        let conditions = namespace.job(job)["status"]["conditions"].take();
        let said = conditions.as_array()?.iter().find(|c| c["reason"] == reason)?;
        said["message"].as_str()?.contains(words).then_some(())
    });
}

/// A job is applied; why it has no pod is told at once, with this reason and these words.
pub(super) fn is_told_at_once(
    namespace: &Namespace,
    function: &str,
    (reason, words): (&str, &str),
) {
    let applied = Instant::now();
    namespace.apply("waits", &json!({ "function": function, "input": {} })).unwrap();
    is_said(namespace, "waits", (reason, words));
    let taken = applied.elapsed();
    println!("{reason}: {words:?} is told after {taken:.1?}");
    assert!(taken <= TOLD, "{reason}: {words:?} is told after {taken:?}");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_quota_that_lets_no_pod_in_is_told_at_once() {
    let namespace = Namespace::new("no-pods");
    refuse_pods(&namespace);
    is_told_at_once(&namespace, "echo", ("QuotaExceeded", "exceeded quota: none"));
}

/// The Job controller tries again and again to make the pod. A batch Job that is only deleted counts for five seconds more.
#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_job_whose_pod_is_refused_is_cancelled_at_once() {
    let namespace = Namespace::new("no-pods-cancelled");
    refuse_pods(&namespace);
    is_told_at_once(&namespace, "echo", ("QuotaExceeded", "exceeded quota: none"));
    let cancelled = Instant::now();
    namespace.cancel("waits");
    eventually("it is cancelled", MANY_SECONDS, || {
        (namespace.job("waits")["status"]["phase"] == "Cancelled").then_some(())
    });
    let taken = cancelled.elapsed();
    println!("cancelled after {taken:.1?}");
    assert!(taken <= TOLD, "cancelled after {taken:?}");
    assert_eq!(get(&["jobs,pods", "-n", &namespace.0])["items"], json!([]));
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_limit_range_that_lets_no_pod_in_is_told_at_once() {
    let namespace = Namespace::new("small-pods");
    let range = json!({ "apiVersion": "v1", "kind": "LimitRange",
        "metadata": { "name": "small", "namespace": namespace.0 },
        "spec": { "limits": [{ "type": "Container", "max": { "cpu": "10m" } }] } });
    kubectl(&["create", "-f", "-"], &range.to_string()).unwrap();
    is_told_at_once(&namespace, "echo", ("FailedCreate", "maximum cpu usage per Container"));
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_class_of_pods_that_is_not_there_is_told_at_once() {
    let table = [
        ("runtime", json!({ "runtimeClassName": "missing" }), "RuntimeClass \"missing\" not found"),
        (
            "priority",
            json!({ "priorityClassName": "missing" }),
            "no PriorityClass with name missing",
        ),
    ];
    for (kind, pod, words) in table {
        let namespace = Namespace::new(&format!("no-{kind}"));
        picky(&namespace, &pod);
        is_told_at_once(&namespace, "picky", ("FailedCreate", words));
    }
}

/// Refuses each pod of this namespace with these words, as a webhook would. Both are to be kept.
fn refuse_by_policy(namespace: &Namespace, words: &str) -> [ClusterScoped; 2] {
    let metadata = json!({ "name": namespace.0 });
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata, "spec": {
            "matchConstraints": { "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["pods"] }] },
            "validations": [{ "expression": "false", "message": words }] },
    });
    let of_namespace = json!({ "matchLabels": { "kubernetes.io/metadata.name": namespace.0 } });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata, "spec": { "policyName": namespace.0, "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": of_namespace } },
    });
    let both = [policy, binding].map(|object| ClusterScoped::create(&object));
    let mut pod = namespace.bare_job("tried")["spec"]["template"].take();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"] = json!({ "name": "tried", "namespace": namespace.0 });
    eventually("the policy is in force", MANY_SECONDS, || {
        let tried = kubectl(&["create", "--dry-run=server", "-f", "-"], &pod.to_string());
        tried.is_err_and(|said| said.contains(words)).then_some(())
    });
    both
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_policy_that_lets_no_pod_in_is_told_at_once() {
    let namespace = Namespace::new("policy");
    let words = "not on a Monday";
    let _policy = refuse_by_policy(&namespace, words);
    is_told_at_once(&namespace, "echo", ("FailedCreate", words));
}

/// A node that no kubelet attends, and a function whose pods would rather be there than anywhere else. Nothing
/// else gets there.
fn deserted_node(namespace: &Namespace) -> ClusterScoped {
    let name = &namespace.0;
    let amount = json!({ "cpu": "2", "memory": "8Gi", "pods": "10" });
    let node = ClusterScoped::create(&json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": { "deserted": name, "kubernetes.io/os": "linux" } },
        "spec": { "taints": [{ "key": "deserted", "effect": "NoSchedule" }] },
        "status": { "allocatable": amount, "capacity": amount },
    }));
    let there = json!({ "key": "deserted", "operator": "In", "values": [name] });
    let term = json!({ "weight": 1, "preference": { "matchExpressions": [there] } });
    let affinity =
        json!({ "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [term] } });
    picky(namespace, &json!({ "affinity": affinity, "tolerations": [{ "operator": "Exists" }] }));
    node
}

/// The job's pod on the node that no kubelet attends.
fn deserted_pod(namespace: &Namespace, job: &str) -> String {
    let pod = eventually("a pod is bound to the deserted node", MANY_SECONDS, || {
        let pods = super::pods(namespace, job);
        pods.into_iter().find(|pod| pod["spec"]["nodeName"] == namespace.0)
    });
    pod["metadata"]["name"].as_str().unwrap().to_owned()
}

/// The job has run on another node, as its second attempt, and no retry was used up.
fn has_run_elsewhere(namespace: &Namespace, job: &str) {
    let ended = namespace.wait(job);
    let status = &ended["status"];
    assert_eq!((&status["phase"], &status["attempt"]), (&json!("Succeeded"), &json!(2)), "{ended}");
    assert_ne!(status["node"], namespace.0, "{ended}");
    assert_eq!(status["retries"].as_u64().unwrap_or_default(), 0, "{ended}");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_start_that_a_kubelet_refuses_is_tried_on_another_node() {
    let namespace = Namespace::new("refused-start");
    let _node = deserted_node(&namespace);
    let spec = json!({ "function": "picky", "retries": 0, "input": {} });
    namespace.apply("refused", &spec).unwrap();
    let pod = deserted_pod(&namespace, "refused");
    // What a kubelet says when something has taken the node's CPUs before the pod came.
    let message = "Pod was rejected: Node didn't have enough resource: cpu";
    let said = json!({ "status": { "phase": "Failed", "reason": "OutOfcpu", "message": message } });
    let patch = ["patch", "pod", &pod, "-n", &namespace.0, "--subresource=status", "-p"];
    kubectl(&[&patch[..], &[&said.to_string()]].concat(), "").unwrap();
    let failure = eventually("the refusal is told", MANY_SECONDS, || {
        let failure = namespace.job("refused")["status"]["failure"].take();
        failure.is_object().then_some(failure)
    });
    assert_eq!(failure["reason"], "Lost", "{failure}");
    assert!(failure["message"].as_str().unwrap().contains("OutOfcpu"), "{failure}");
    has_run_elsewhere(&namespace, "refused");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_start_that_takes_too_long_is_tried_on_another_node() {
    let namespace = Namespace::new("late-start");
    let _node = deserted_node(&namespace);
    let seconds = START_DEADLINE.as_secs();
    let deadline = json!({ "spec": { "startDeadlineSeconds": seconds } }).to_string();
    let ns = &namespace.0;
    kubectl(&["patch", "cfn", "picky", "-n", ns, "--type=merge", "-p", &deadline], "").unwrap();
    namespace.apply("late", &json!({ "function": "picky", "retries": 0, "input": {} })).unwrap();
    let pod = deserted_pod(&namespace, "late");
    // It is to go, and a kubelet would say when it has.
    eventually("its pod is deleted", START_DEADLINE + TOLD * 2, || {
        let pod = super::pods(&namespace, "late").into_iter().next()?;
        pod["metadata"]["deletionTimestamp"].is_string().then_some(())
    });
    let failure = namespace.job("late")["status"]["failure"].take();
    assert_eq!(failure["reason"], "Lost", "{failure}");
    kubectl(&["delete", "pod", &pod, "-n", ns, "--force", "--grace-period=0"], "").unwrap();
    has_run_elsewhere(&namespace, "late");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_node_whose_kubelet_is_gone_is_told_to_hinder_the_start() {
    let namespace = Namespace::new("silent-node");
    let node = deserted_node(&namespace);
    namespace.apply("silent", &json!({ "function": "picky", "input": {} })).unwrap();
    let pod = deserted_pod(&namespace, "silent");
    // What the node controller says of such a node, after a while.
    let words = "Kubelet stopped posting node status.";
    let silent = json!({ "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
        "message": words });
    let said = json!({ "status": { "conditions": [silent] } }).to_string();
    kubectl(&["patch", &node.0, "--subresource=status", "-p", &said], "").unwrap();
    is_said(&namespace, "silent", ("NodeNotReady", words));
    namespace.cancel("silent");
    let ns = &namespace.0;
    kubectl(&["delete", "pod", &pod, "-n", ns, "--force", "--grace-period=0"], "").unwrap();
}
