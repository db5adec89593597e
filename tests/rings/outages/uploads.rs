//! A gateway that is killed while it takes blobs.

use rustix::process::{Pid, Signal, kill_process};
use windlass_core::result::sha256;

use crate::cluster::inputs::gateways;
use crate::inputs::{UPLOADS, acknowledges, upload, upload_until_killed};
use crate::support::cluster::Namespace;
use crate::support::eventually;
use crate::support::outage::MINUTE;

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
