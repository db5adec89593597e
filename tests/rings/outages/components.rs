//! An API server, an etcd and a kubelet that go away and come back.

use std::time::{Duration, Instant};

use serde_json::json;
use windlass_tests::api::{ApiRefusal, pods};

use crate::support::cluster::{Namespace, get};
use crate::support::outage::{MINUTE, TestBed, in_cluster_controllers, long_or, on_a_cluster};
use crate::support::random::Random;

/// How long a component that was killed may take to come back before it is started again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends a component again and again while jobs are submitted and run.
fn a_component_that_is_killed(name: &str, component: &str, kills: u32, jobs: usize) {
    on_a_cluster(name, async |bed| {
        let mut random = Random::of_environment();
        let mut controller = bed.controller("controller")?;
        let killing = async {
            for _ in 0..kills {
                bed.cluster.script("restart", &[component, "KILL"]).await?;
                ready(&bed, component).await?;
                tokio::time::sleep(random.between(500, 2_500)).await;
            }
            anyhow::Ok(())
        };
        let submitting = async {
            // In lots, so that some are under way at each kill.
            let (lots, mut all) = (kills as usize, Vec::new());
            for lot in 0..lots {
                let prefix = format!("job-{lot}");
                all.extend(bed.submit(&prefix, jobs / lots, &json!({ "run": "1s" })).await?);
                tokio::time::sleep(random_pause(lot)).await;
            }
            anyhow::Ok(all)
        };
        let (killed, accepted) = futures::join!(killing, submitting);
        killed?;
        let accepted = accepted?;
        // A write that is answered with 500, as without etcd, kwok does not try again, as a kubelet would, before
        // its pod changes.
        for pod in bed.admin.list(&pods(&bed.namespace, "")).await? {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let touched = json!({ "metadata": { "annotations": { "touched": "1" } } });
            match bed.admin.merge(&pods(&bed.namespace, name), &touched).await {
                Ok(_) | Err(ApiRefusal { code: 404, .. }) => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        // The log of an API server that is killed has gaps.
        let converged = bed.converges(&accepted, false).await?;
        println!("{kills} kills -9 of {component}; {converged}");
        controller.must_be_running()
    });
}

fn random_pause(lot: usize) -> Duration {
    Duration::from_millis(500 + (lot as u64 * 7919) % 2500)
}

/// Waits until the API server answers and writes. A component that does not come back is started again, as
/// a kubelet would: an API server whose predecessor was killed in the middle of something may give up while
/// it starts.
async fn ready(bed: &TestBed, component: &str) -> anyhow::Result<()> {
    let (deadline, mut patience) = (Instant::now() + MINUTE * 2, Instant::now() + PATIENCE);
    loop {
        match bed.admin.get("/api/v1/namespaces/default").await {
            Ok(_) => return Ok(()),
            Err(refused) => anyhow::ensure!(Instant::now() < deadline, "it stays away: {refused}"),
        }
        if Instant::now() >= patience {
            println!("{component} did not come back within {PATIENCE:?}, and is started again");
            bed.cluster.script("restart", &[component, "KILL"]).await?;
            patience = Instant::now() + PATIENCE;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn an_api_server_that_is_killed_again_and_again_loses_no_job() {
    a_component_that_is_killed("api", "kube-apiserver", long_or(20, 2), long_or(400, 60));
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn an_etcd_that_is_killed_again_and_again_loses_no_job() {
    a_component_that_is_killed("etcd", "etcd", long_or(10, 2), long_or(300, 60));
}

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_kubelet_that_is_away_delays_and_loses_nothing() {
    on_a_cluster("kubelet", async |bed| {
        let real = Namespace::new("kubelet-real");
        in_cluster_controllers(&bed.admin, 1).await?;
        let spec = json!({ "function": "echo" });
        real.apply("before", &spec).map_err(anyhow::Error::msg)?;
        real.wait("before");
        bed.cluster.script("stop", &["kubelet", "TERM"]).await?;
        real.apply("during", &spec).map_err(anyhow::Error::msg)?;
        // Its pod is bound to the node, and nobody starts it.
        let deadline = Instant::now() + MINUTE;
        while get(&["pods", "-n", &real.0])["items"][0]["spec"]["nodeName"].is_null() {
            anyhow::ensure!(Instant::now() < deadline, "the pod is not bound");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        tokio::time::sleep(Duration::from_secs(long_or(70, 10))).await;
        let phase = real.job("during")["status"]["phase"].take();
        anyhow::ensure!(phase != "Failed", "{}", real.job("during"));
        bed.cluster.script("restart", &["kubelet"]).await?;
        let began = Instant::now();
        let status = real.wait("during")["status"].take();
        anyhow::ensure!(status["phase"] == "Succeeded", "{status:#}");
        anyhow::ensure!(began.elapsed() < MINUTE, "{:?}", began.elapsed());
        println!(
            "a kubelet was away; the waiting job ended {:.1} s after it came back, in attempt {}",
            began.elapsed().as_secs_f64(),
            status["attempt"]
        );
        Ok(())
    });
}
