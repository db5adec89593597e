//! Functions that are for all namespaces of a cluster.

use serde_json::{Value, json};

use super::MANY_SECONDS;
use crate::support::cluster::{Namespace, get, kubectl};
use crate::support::eventually;

/// A ClusterComputeFunction, until this is dropped.
struct ForAll(String);

impl ForAll {
    /// The built-in `echo` under this name, and the ClusterRole of those who may use it.
    fn create(name: &str, namespace: &Namespace) -> Self {
        let spec = get(&["cfn", "echo", "-n", &namespace.0])["spec"].take();
        let function = json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ClusterComputeFunction",
            "metadata": { "name": name }, "spec": spec,
        });
        let rules = json!([{ "apiGroups": ["windlass.dev"], "resources": ["clustercomputefunctions"],
            "resourceNames": [name], "verbs": ["use"] }]);
        let role = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": name }, "rules": rules });
        let both = json!({ "apiVersion": "v1", "kind": "List", "items": [function, role] });
        kubectl(&["create", "-f", "-"], &both.to_string()).unwrap();
        Self(name.to_owned())
    }

    /// Lets this subject use it in a namespace, such as `--group=G`.
    fn grant(&self, namespace: &Namespace, binding: &str, subject: &str) {
        let role = format!("--clusterrole={}", self.0);
        let bound = ["create", "rolebinding", binding, "-n", &namespace.0, &role, subject];
        kubectl(&bound, "").unwrap();
    }
}

impl Drop for ForAll {
    fn drop(&mut self) {
        kubectl(&["delete", "ccfn,clusterrole", &self.0, "--wait=false"], "").unwrap_or_default();
    }
}

fn is_told(namespace: &Namespace, job: &str, words: &str) {
    eventually(&format!("{job} says {words:?}"), MANY_SECONDS, || {
        let job = namespace.job(job);
        let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let says = |condition: &Value| {
            condition["reason"] == "FunctionNotFound"
                && condition["message"].as_str().is_some_and(|message| message.contains(words))
        };
        conditions.iter().any(says).then_some(())
    });
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_function_for_all_runs_where_caller_and_namespace_may_use_it() {
    let namespace = Namespace::new("for-all");
    let client = namespace.client();
    let for_all = ForAll::create(&format!("shared-{}", std::process::id()), &namespace);
    let name = &for_all.0;
    let ready = format!("ccfn/{name}");
    kubectl(&["wait", &ready, "--for=condition=Ready", "--timeout=60s"], "").unwrap();

    // Nobody may use it: by REST it is not there, and a job of kubectl waits.
    let functions = format!("/v1/namespaces/{}/functions", namespace.0);
    let listed = || client.get(&functions).json()["items"].to_string().contains(name.as_str());
    let job = json!({ "function": name, "input": { "hello": "all" } });
    assert!(!listed());
    assert_eq!(client.get(&format!("{functions}/{name}")).status, 404);
    assert_eq!(client.submit(&job).status, 422);
    namespace.apply("waits", &job).unwrap();
    is_told(&namespace, "waits", "may not use the ClusterComputeFunction");

    // The namespace may.
    let group = format!("--group=system:serviceaccounts:{}", namespace.0);
    for_all.grant(&namespace, "use", &group);
    assert_eq!(namespace.wait("waits")["status"]["phase"], "Succeeded");
    // And so the caller, who is an account there. The gateway keeps an answer for some seconds.
    eventually("it is listed", MANY_SECONDS, || listed().then_some(()));
    let shown = client.get(&format!("{functions}/{name}")).json();
    assert_eq!(shown["kind"], "ClusterComputeFunction", "{shown}");
    let ended = client.run(&job);
    assert_eq!(ended["status"]["phase"], "Succeeded", "{ended}");

    // One of the namespace comes before it.
    let mut own = get(&["cfn", "echo", "-n", &namespace.0]);
    own["metadata"] = json!({ "name": name });
    own["spec"]["description"] = "its own".into();
    kubectl(&["create", "-n", &namespace.0, "-f", "-"], &own.to_string()).unwrap();
    let shown = client.get(&format!("{functions}/{name}")).json();
    assert_eq!(
        (&shown["kind"], &shown["spec"]["description"]),
        (&json!("ComputeFunction"), &json!("its own"))
    );

    // In another namespace nobody may.
    let other = Namespace::new("for-none");
    other.apply("waits", &job).unwrap();
    is_told(&other, "waits", "may not use the ClusterComputeFunction");
}
