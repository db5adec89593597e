//! A node that is deleted, and how soon the CPUs of a real one are free.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_tests::api::compute_jobs;
use windlass_tests::watch::Objects;

use crate::support::cluster::Namespace;
use crate::support::outage::{MINUTE, SECOND, in_cluster_controllers, long_or, on_a_cluster};
use crate::support::{quantile, text};

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

/// How long a kubelet is busy with a pod that it has started. It looks at a pod again only with a list of
/// containers that is newer than its last look, and it lists them once a second: before that a deletion
/// waits up to a second in the kubelet, whatever deletes it.
const BUSY: Duration = Duration::from_secs(3);

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn a_cancelled_jobs_cpus_are_free_within_a_second() {
    on_a_cluster("cancels", async |bed| {
        in_cluster_controllers(&bed.admin, 1).await?;
        let real = Namespace::new("cancels-real");
        let mut times = Vec::new();
        for number in 0..long_or(200, 10) {
            let name = format!("cancel-{number}");
            let spec = json!({ "function": "misbehave", "input": { "mode": "spin" } });
            real.apply(&name, &spec).map_err(anyhow::Error::msg)?;
            let processes = running(&real, &name).await?;
            let began = Instant::now();
            let cancel = json!({ "spec": { "cancel": true } });
            bed.admin.merge(&compute_jobs(&real.0, &name), &cancel).await?;
            let deadline = began + MINUTE;
            while processes.iter().any(|process| process.exists()) {
                anyhow::ensure!(Instant::now() < deadline, "{name} goes on: {}", real.job(&name));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            times.push(began.elapsed());
            let status = real.wait(&name)["status"].take();
            anyhow::ensure!(status["phase"] == "Cancelled", "{status:#}");
        }
        let most = quantile(&mut times, 990);
        println!(
            "{} cancels, until no process of the job is left: p50 {:?}, p99 {most:?}, most {:?}",
            times.len(),
            quantile(&mut times, 500),
            times.last()
        );
        anyhow::ensure!(most <= SECOND, "p99 {most:?}");
        Ok(())
    });
}

/// A process, by its directory in /proc, which another one may take over only long after.
struct Process(std::path::PathBuf);

impl Process {
    fn exists(&self) -> bool {
        // A zombie has no command line.
        std::fs::read(self.0.join("cmdline")).is_ok_and(|line| !line.is_empty())
    }
}

fn has_run_for(job: &Value, time: Duration) -> bool {
    let since = job["status"]["timeline"]["running"].as_str().and_then(|at| at.parse().ok());
    since.is_some_and(|since: Timestamp| {
        Timestamp::now().duration_since(since).unsigned_abs() >= time
    })
}

/// Waits until worker and function of a job have run for [`BUSY`], and gives both.
async fn running(namespace: &Namespace, job: &str) -> anyhow::Result<Vec<Process>> {
    let pod = format!("\"job\":\"{job}\"");
    let deadline = Instant::now() + MINUTE;
    loop {
        let (mut worker, mut function) = (None, None);
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let environment =
                text(&std::fs::read(entry.path().join("environ")).unwrap_or_default());
            if environment.contains(&format!("WINDLASS_JOB={job}\0")) {
                function = Some(Process(entry.path()));
            } else if environment.contains("WINDLASS_ASSIGNMENT=") && environment.contains(&pod) {
                worker = Some(Process(entry.path()));
            }
        }
        if let (Some(worker), Some(function)) = (worker, function)
            && has_run_for(&namespace.job(job), BUSY)
        {
            return Ok(vec![worker, function]);
        }
        anyhow::ensure!(Instant::now() < deadline, "{job} does not run: {}", namespace.job(job));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
