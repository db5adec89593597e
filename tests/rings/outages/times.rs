//! How soon another controller takes over, and how soon the CPUs of a cancelled job are free. What is measured here has
//! the machine for itself.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_tests::api::{batch_jobs, compute_jobs};
use windlass_tests::cluster::compute_job;

use crate::support::cluster::Namespace;
use crate::support::outage::{
    MINUTE, SECOND, TestBed, in_cluster_controllers, long_or, on_a_cluster,
};
use crate::support::{quantile, text};

/// How long a kubelet is busy with a pod that it has started. It looks at a pod again only with a list of
/// containers that is newer than its last look, and it lists them once a second: before that a deletion
/// waits up to a second in the kubelet, whatever deletes it.
const BUSY: Duration = Duration::from_secs(3);

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn another_controller_takes_over_in_seconds() {
    on_a_cluster("takeover", async |bed| {
        let mut leader = bed.controller("first")?;
        runs(&bed, "before", MINUTE).await?;
        let mut accepted = vec!["before".to_owned()];
        for (ending, bound) in [("stopped", SECOND * 3), ("killed", SECOND * 15)] {
            let next = bed.ready_controller(ending).await?.0;
            let began = Instant::now();
            match ending {
                "stopped" => leader.stop()?,
                _ => leader.kill()?,
            }
            let job = format!("after-{ending}");
            runs(&bed, &job, MINUTE).await?;
            let created = bed.batch_jobs.objects().last("there").unwrap_or_else(Instant::now);
            let took = created.duration_since(began);
            println!("the leader was {ending}: another creates a batch Job {took:.1?} later");
            anyhow::ensure!(took <= bound, "{took:?} of {bound:?}\n{}", bed.state().await);
            accepted.push(job);
            leader = next;
        }
        println!("{}", bed.converges(&accepted, true).await?);
        Ok(())
    });
}

/// Submits a job and waits for its end.
async fn runs(bed: &TestBed, name: &str, limit: Duration) -> anyhow::Result<()> {
    let finished = bed.jobs.objects().count("finished");
    let job = compute_job(name, 1, "default", &json!({ "run": "100ms" }));
    bed.create(&compute_jobs(&bed.namespace, ""), &job).await?;
    bed.finished(finished + 1, limit).await
}

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

/// Longest time from an API server that takes writes again to a new job's batch Job.
const BACK: Duration = Duration::from_secs(5);

#[test]
#[ignore = "needs a cluster of tests/cluster/up with the chart, alone: tests/run outages"]
fn new_jobs_start_within_five_seconds_of_an_api_server_that_is_back() {
    on_a_cluster("back", async |bed| {
        let mut controller = bed.controller("controller")?;
        runs(&bed, "before", MINUTE).await?;
        let mut accepted = vec!["before".to_owned()];
        for away in [SECOND, SECOND * 15, SECOND * long_or(60, 30)] {
            bed.cluster.script("stop", &["kube-apiserver", "KILL"]).await?;
            tokio::time::sleep(away).await;
            bed.cluster.script("restart", &["kube-apiserver"]).await?;
            let name = format!("after-{}", away.as_secs());
            let job = compute_job(&name, 1, "default", &json!({ "run": "100ms" }));
            bed.create(&compute_jobs(&bed.namespace, ""), &job).await?;
            let began = Instant::now();
            while !has_batch_job(&bed, &name).await? {
                anyhow::ensure!(began.elapsed() < MINUTE, "{name}: {}", bed.state().await);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let took = began.elapsed();
            println!(
                "the API server was away for {away:?}: a job's batch Job is there {took:.1?} after it was accepted"
            );
            anyhow::ensure!(took <= BACK, "{took:?} of {BACK:?}\n{}", bed.state().await);
            accepted.push(name);
        }
        // Kubernetes' own reflectors wait up to a minute after an outage that was not their first, and a
        // batch Job gets no pod until they are back: their pauses are not what is judged here.
        for component in ["kube-controller-manager", "kube-scheduler"] {
            bed.cluster.script("restart", &[component]).await?;
        }
        println!("{}", bed.converges(&accepted, false).await?);
        controller.must_be_running()
    });
}

/// Asked of the API server, as the test's own watch has to come back, too.
async fn has_batch_job(bed: &TestBed, job: &str) -> anyhow::Result<bool> {
    let found = bed.admin.list(&batch_jobs(&bed.namespace, "")).await?;
    Ok(found.iter().any(|batch_job| batch_job["metadata"]["labels"]["windlass.dev/job"] == job))
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
