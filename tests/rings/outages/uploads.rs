//! A gateway that is killed while it takes blobs, and one that is away while a pod wants them.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use windlass_core::result::sha256;

use crate::cluster::inputs::{function, gateways, result_of, said, seen};
use crate::cluster::{Gateways, running_pod};
use crate::inputs::sent;
use crate::support::cluster::{Namespace, kubectl};
use crate::support::eventually;
use crate::support::outage::{MINUTE, in_cluster_controllers, on_a_cluster};
use crate::support::uploads::{UPLOADS, acknowledges, upload, upload_until_killed};

/// Times that all gateways are killed. A kubelet waits longer before each start.
const LIVES: usize = 2;

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_gateway_that_is_killed_amid_uploads_loses_none_that_it_acknowledged_and_leaves_none_half() {
    let namespace = Namespace::new("uploads");
    let client = namespace.direct_client();
    let is_ready = || {
        let answer = client.try_send("GET", "/readyz", &[], b"");
        answer.is_ok_and(|answer| answer.status == 200).then_some(())
    };
    let mut acknowledged = Vec::new();
    for life in 0..LIVES {
        eventually("a gateway is ready", MINUTE, is_ready);
        acknowledged.extend(upload_until_killed(&client, life, |stored| {
            acknowledges(stored, 30);
            for pid in gateways() {
                let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
                kill_process(pid, Signal::KILL).unwrap();
            }
        }));
    }
    eventually("a gateway is ready", MINUTE, is_ready);
    // A caller has a hundred requests a second.
    let read = |bytes: &[u8]| {
        let path = format!("/v1/namespaces/{}/blobs/sha256:{}", namespace.0, sha256(bytes));
        eventually("the gateway answers", MINUTE, || {
            Some(client.get(&path)).filter(|answer| answer.status != 429)
        })
    };
    for bytes in &acknowledged {
        assert!(read(bytes).body == *bytes, "an acknowledged blob is lost");
    }
    for (life, n) in (0..LIVES).flat_map(|life| (0..UPLOADS).map(move |n| (life, n))) {
        let (bytes, found) = (upload(life, n), read(&upload(life, n)));
        assert!(found.status == 404 || found.body == bytes, "half of a blob is visible");
    }
    println!("{} acknowledged uploads, all there", acknowledged.len());
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_pod_waits_for_a_gateway_that_is_away() {
    on_a_cluster("fetches", async |bed| {
        let namespace = Namespace::new("fetches-real");
        in_cluster_controllers(&bed.admin, 1).await?;
        function(&namespace, "sees");
        let input = sent(&namespace.direct_client(), b"input", "text/csv");
        let away = Gateways::scale(0);
        namespace.apply("waits", &json!({ "function": "sees", "inputBlob": input })).unwrap();
        running_pod(&namespace, "waits");
        let tries = ["logs", "-n", &namespace.0, "-l", "windlass.dev/job=waits"];
        eventually("the worker tries", MINUTE, || {
            let log = kubectl(&tries, "").unwrap_or_default();
            log.contains("the gateway cannot be reached").then_some(())
        });
        drop(away);
        let job = namespace.wait("waits");
        anyhow::ensure!(job["status"]["attempt"] == 1, "{job}");
        anyhow::ensure!(said(&result_of(&job)) == seen("text/csv", b"input", &json!({})), "{job}");
        Ok(())
    });
}
