//! A release that serves one namespace, and has rights in no other.

use serde_json::json;

use crate::support::cluster::{Namespace, RELEASE, kubectl};
use crate::support::release::Upgraded;

/// What the accounts of the release may do in the namespaces that they serve.
const RIGHTS: [(&str, &str, &str); 7] = [
    ("controller", "list", "pods"),
    ("controller", "create", "jobs.batch"),
    ("controller", "patch", "computejobs.windlass.dev/status"),
    ("controller", "list", "events"),
    ("gateway", "create", "computejobs.windlass.dev"),
    ("gateway", "get", "pods/log"),
    ("gateway", "get", "jobs.batch"),
];

fn may(account: &str, verb: &str, resource: &str, namespace: &str) -> bool {
    let user = format!("--as=system:serviceaccount:{RELEASE}:{RELEASE}-{account}");
    let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
    let sub = format!("--subresource={sub}");
    let ask = ["auth", "can-i", verb, resource, &sub, "-n", namespace, &user];
    // Its exit code is the answer, too.
    kubectl(&ask, "").is_ok_and(|answer| answer.trim() == "yes")
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_release_for_one_namespace_serves_it_and_may_do_nothing_in_another() {
    let (served, other) = (Namespace::new("scope-served"), Namespace::new("scope-other"));
    let everywhere = RIGHTS.iter().all(|(who, verb, what)| may(who, verb, what, &other.0));
    assert!(everywhere, "by default it serves all");
    // The release brings its own there.
    kubectl(&["delete", "cfn", "-n", &served.0, "echo", "price", "render"], "").unwrap();
    let upgraded = Upgraded::to(&format!("watchNamespace={}", served.0));
    for (account, verb, resource) in RIGHTS {
        assert!(may(account, verb, resource, &served.0), "{account} may not {verb} {resource}");
        assert!(!may(account, verb, resource, &other.0), "{account} may {verb} {resource}");
    }
    for namespace in [&other, &served] {
        namespace.apply("echo", &json!({ "function": "echo" })).unwrap();
    }
    let job = served.wait("echo");
    assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
    let client = served.client();
    let answer = client.get(&client.jobs("/echo/result"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let untouched = other.job("echo");
    assert!(untouched["status"]["phase"].is_null(), "{untouched}");

    // It was only not served.
    drop(upgraded);
    assert_eq!(other.wait("echo")["status"]["phase"], "Succeeded");
}
