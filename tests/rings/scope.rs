//! A release that serves some namespaces, and has rights in no other.

use std::time::Duration;

use serde_json::json;

use crate::support::cluster::{Namespace, RELEASE, kubectl};
use crate::support::eventually;
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

/// Upgrades the release so that it serves these alone, and asserts that it does.
fn serves_alone(values: &str, served: &[&Namespace]) {
    let other = Namespace::new("scope-other");
    let everywhere = RIGHTS.iter().all(|(who, verb, what)| may(who, verb, what, &other.0));
    assert!(everywhere, "by default it serves all");
    for namespace in served {
        // The release brings its own there.
        kubectl(&["delete", "cfn", "-n", &namespace.0, "echo", "price", "render"], "").unwrap();
    }
    let upgraded = Upgraded::to(values);
    for (account, verb, resource) in RIGHTS {
        for namespace in served {
            assert!(
                may(account, verb, resource, &namespace.0),
                "{account} may not {verb} {resource}"
            );
        }
        assert!(!may(account, verb, resource, &other.0), "{account} may {verb} {resource}");
    }
    for namespace in served.iter().chain(&[&other]) {
        namespace.apply("echo", &json!({ "function": "echo" })).unwrap();
    }
    for namespace in served {
        let job = namespace.wait("echo");
        assert_eq!(job["status"]["phase"], "Succeeded", "{job}");
        let client = namespace.client();
        let answer = client.get(&client.jobs("/echo/result"));
        assert_eq!(answer.status, 200, "{answer:?}");
        // A gateway counts what its watch tells it, and says it again for a second.
        eventually("the job is counted", Duration::from_secs(10), || {
            let history = client.get(&format!("/v1/namespaces/{}/history", namespace.0));
            (history.json()["day"]["all"]["succeeded"] == 1).then_some(())
        });
    }
    let untouched = other.job("echo");
    assert!(untouched["status"]["phase"].is_null(), "{untouched}");

    // It was only not served.
    drop(upgraded);
    assert_eq!(other.wait("echo")["status"]["phase"], "Succeeded");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_release_for_one_namespace_serves_it_and_may_do_nothing_in_another() {
    let served = Namespace::new("scope-served");
    serves_alone(&format!("watchNamespace={}", served.0), &[&served]);
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn a_release_for_two_namespaces_serves_both_and_may_do_nothing_in_a_third() {
    let (red, blue) = (Namespace::new("scope-red"), Namespace::new("scope-blue"));
    serves_alone(&format!("watchNamespaces={{{},{}}}", red.0, blue.0), &[&red, &blue]);
}
