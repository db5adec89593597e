//! Callers that hold all the connections they can get of a gateway, beside an honest one.

use serde_json::{Value, json};

use super::spinning;
use crate::crowds::{assert_honest_are_quick, streams_of_one};
use crate::support::cluster::{Namespace, RELEASE, get, kubectl};

/// Which gateways are ready, and how often each was started again.
fn gateways() -> Vec<(Value, Value, Value)> {
    let pods = get(&["pods", "-n", RELEASE, "-l", "app.kubernetes.io/component=gateway"]);
    let told = |pod: &Value| {
        let container = &pod["status"]["containerStatuses"][0];
        let [ready, restarts] = ["ready", "restartCount"].map(|field| container[field].clone());
        (pod["metadata"]["name"].clone(), ready, restarts)
    };
    pods["items"].as_array().unwrap().iter().map(told).collect()
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn an_account_with_watch_alone_slows_nobody_and_no_probe() {
    let namespace = Namespace::new("crowds");
    let client = namespace.direct_client();
    let ns = &namespace.0;
    kubectl(&["create", "serviceaccount", "hog", "-n", ns], "").unwrap();
    let watches = ["--verb=watch", "--resource=computejobs.windlass.dev"];
    kubectl(&[&["create", "role", "watches", "-n", ns][..], &watches].concat(), "").unwrap();
    let subject = format!("--serviceaccount={ns}:hog");
    kubectl(&["create", "rolebinding", "hog", "-n", ns, "--role=watches", &subject], "").unwrap();
    let token = kubectl(&["create", "token", "hog", "-n", ns], "").unwrap();
    spinning(&namespace, "long", &[]);

    let before = gateways();
    assert!(before.iter().all(|(_, ready, _)| *ready == json!(true)), "{before:?}");
    let (streaming, streams) = streams_of_one(&client, token.trim(), "long");
    assert!(streams > 0);
    assert_honest_are_quick(&client, streaming);
    assert_eq!(gateways(), before);
    namespace.cancel("long");
}
