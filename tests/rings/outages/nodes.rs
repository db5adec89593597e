//! A node that is deleted.

use std::time::Duration;

use serde_json::json;
use windlass_tests::watch::Objects;

use crate::support::outage::{MINUTE, on_a_cluster};

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn the_jobs_of_a_deleted_node_run_again_only_when_it_is_known_to_be_dead() {
    on_a_cluster("node", async |bed| {
        let input = json!({ "hold": true, "run": "0s" });
        let (accepted, controller) = bed.under_way(40, &input, 40).await?;
        let (node, lost) = {
            let pods = bed.pods.objects();
            let node = pods.live.values().next().map(|pod| pod["spec"]["nodeName"].clone());
            let node = node.unwrap_or_default().as_str().unwrap_or_default().to_owned();
            let lost: Vec<_> = on_node(&pods, &node).map(str::to_owned).collect();
            (node, lost)
        };
        bed.admin.delete(&format!("/api/v1/nodes/{node}")).await?;
        // The cluster's own collector of pods waits 40 s for a node to come back, and looks each 20 s.
        let gone = |o: &Objects| on_node(o, &node).next().is_none().then_some(());
        bed.pods.until("its pods are gone", MINUTE * 3, gone).await?;
        // Nobody has said that its machine is off: there may be processes, so there is no second attempt.
        tokio::time::sleep(Duration::from_secs(15)).await;
        for job in &lost {
            let status = bed.job(job).await?["status"].take();
            anyhow::ensure!(status["attempt"] == 1, "{job} was started again: {status:#}");
            anyhow::ensure!(
                status["timeline"]["finished"].is_null(),
                "{job} has ended: {status:#}"
            );
        }
        controller.kill()?;
        let _fenced = bed.controller_with("fenced", &["--deleted-nodes-are-fenced"])?;
        let all_run = |objects: &Objects| {
            let running =
                objects.live.iter().filter(|(_, pod)| pod["status"]["phase"] == "Running");
            let names: Vec<_> = running.map(|(name, _)| name.clone()).collect();
            (names.len() == 40).then_some(names)
        };
        let running = bed.pods.until("all run again", MINUTE, all_run).await?;
        for pod in &running {
            bed.cluster.release(&bed.namespace, pod).await?;
        }
        let converged = bed.converges(&accepted, true).await?;
        bed.cluster.add_nodes(bed.directory.path(), 10, 1_000).await?;
        println!("a node with {} pods was deleted; {converged}", lost.len());
        anyhow::ensure!(!lost.is_empty(), "the node had no pods");
        Ok(())
    });
}

/// Names of the jobs whose pods are on this node.
fn on_node<'a>(objects: &'a Objects, node: &'a str) -> impl Iterator<Item = &'a str> {
    let here = objects.live.values().filter(move |pod| pod["spec"]["nodeName"] == node);
    here.filter_map(|pod| pod["metadata"]["labels"]["windlass.dev/job"].as_str())
}
