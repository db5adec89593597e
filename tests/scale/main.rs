//! Measures the controller beside bare batch Jobs, in the same cluster and the same run, and checks what it
//! may cost. `tests/scale/run` starts the clusters; nodes and pods are kwok's, API server, etcd,
//! controller-manager and scheduler are real.
//!
//! - `scale measure LABEL OUT PART...` measures these parts on the cluster that KUBECONFIG names;
//! - `scale report OUT...` prints the report and fails when a bound is not met.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its figures")]

mod line;
mod queue;
mod report;
mod throughput;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use windlass_tests::api::compute_jobs;
use windlass_tests::cluster::{RELEASE, compute_job};
use windlass_tests::watch::{BATCH_JOBS, anything, batch_job_marks, compute_job_marks};
use windlass_tests::{Cluster, Controller, Watch, watch};

use crate::report::Part;

/// Jobs of a run.
const JOBS: usize = 1_000;
/// CPUs of each: all of them fit at once.
const CPUS: u32 = 10;
/// Nodes of kwok, of a thousand CPUs each.
const NODES: u32 = 10;
/// Requests that the creating client has under way.
const AT_ONCE: usize = 16;
/// User of the controller in the audit log.
const CONTROLLER: &str = "system:serviceaccount:windlass:windlass-controller";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["measure", label, out, parts @ ..] if !parts.is_empty() => {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(measure(label, out, parts))
        }
        ["report", outs @ ..] if !outs.is_empty() => report::print(outs),
        _ => anyhow::bail!("usage: scale measure LABEL OUT PART... | scale report OUT..."),
    }
}

async fn measure(label: &str, out: &str, parts: &[&str]) -> anyhow::Result<()> {
    let directory = Path::new(out).parent().context("OUT has no directory")?;
    let bench = Bench::prepare(label, directory).await?;
    let mut done: Vec<Part> = Vec::new();
    for part in parts {
        eprintln!("scale: {label}: {part}");
        let measured = match *part {
            "throughput" => throughput::measure(&bench).await,
            "queue" => queue::measure(&bench).await,
            "line" => line::measure(&bench).await,
            other => anyhow::bail!("no such part: {other}"),
        };
        let measured = measured.with_context(|| format!("{label}: {part}"));
        let part = match measured {
            Ok(part) => part,
            // The other parts are measured all the same.
            Err(error) => {
                eprintln!("scale: {error:?}\n{}", bench.state().await);
                Part::failed(part, &format!("{error:#}"))
            }
        };
        eprintln!("{}", part.text());
        done.push(part);
        fs::write(out, serde_json::to_string_pretty(&json!({ "label": label, "parts": done }))?)?;
    }
    Ok(())
}

/// What all parts need.
struct Bench {
    label: String,
    cluster: Cluster,
    kubeconfig: PathBuf,
    log: PathBuf,
    /// Whether the cluster's Job controller has its default limit of 20 requests a second.
    waits_for_limit: bool,
    /// Pod template of a batch Job of ours, which the bare Jobs have too.
    template: Value,
}

impl Bench {
    async fn prepare(label: &str, directory: &Path) -> anyhow::Result<Self> {
        let cluster = Cluster::of_environment().await?;
        cluster.add_nodes(directory, NODES, 1_000).await?;
        let kubeconfig = cluster.account(&format!("{RELEASE}-controller"), directory, None).await?;
        let log = directory.join("controller.log");
        let waits_for_limit = label.contains("default limit");
        let (label, template) = (label.to_owned(), Value::Null);
        let mut bench = Self { label, cluster, kubeconfig, log, waits_for_limit, template };
        bench.template = bench.template().await?;
        Ok(bench)
    }

    fn controller(&self) -> anyhow::Result<Controller> {
        Controller::start(&self.kubeconfig, &self.log, &[])
    }

    /// A namespace of this name that is empty.
    async fn namespace(&self, name: &str) -> anyhow::Result<()> {
        self.cluster.remove_namespace(name, Duration::from_secs(600)).await?;
        self.cluster.namespace(name).await
    }

    /// Runs one job, so that all is loaded, and gives the template of its pod, without our labels.
    async fn template(&self) -> anyhow::Result<Value> {
        self.namespace("warm").await?;
        let _controller = self.controller()?;
        let admin = &self.cluster.admin;
        let batch_jobs = Watch::start(admin, "warm", BATCH_JOBS, batch_job_marks, anything).await?;
        let jobs =
            Watch::start(admin, "warm", watch::COMPUTE_JOBS, compute_job_marks, anything).await?;
        let job = compute_job("warm", CPUS, "default", &json!({ "run": "1s" }));
        admin.create(&compute_jobs("warm", ""), &job).await?;
        let minute = Duration::from_secs(60);
        let mut template = batch_jobs
            .until("the first batch Job", minute, |objects| {
                Some(objects.live.values().next()?["spec"]["template"].clone())
            })
            .await?;
        let ended = |objects: &watch::Objects| {
            let job = objects.live.get("warm")?;
            job["status"]["timeline"]["finished"].is_string().then(|| job["status"].clone())
        };
        let status = jobs.until("the first job ends", minute, ended).await?;
        anyhow::ensure!(status["phase"] == "Succeeded", "the first job: {status:#}");
        template["metadata"]["labels"] = json!({ "bare": "yes" });
        Ok(template)
    }

    /// A bare batch Job of the same pod.
    fn bare(&self, name: &str) -> Value {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name },
            "spec": {
                "backoffLimit": 0, "completions": 1, "parallelism": 1,
                "podReplacementPolicy": "Failed", "template": self.template,
            },
        })
    }

    /// The state of the world, for a failure.
    async fn state(&self) -> String {
        let mut text = format!("{}: the end of the controller's log:\n", self.label);
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        text += &lines[lines.len().saturating_sub(15)..].join("\n");
        for (what, path) in [
            ("ComputeJobs", "/apis/windlass.dev/v1alpha1/computejobs?limit=1"),
            ("batch Jobs", "/apis/batch/v1/jobs?limit=1"),
            ("pods", "/api/v1/pods?limit=1"),
        ] {
            let count = match self.cluster.admin.get(path).await {
                Ok(list) => {
                    let more = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
                    (list["items"].as_array().map_or(0, Vec::len) as u64 + more).to_string()
                }
                Err(refused) => refused.to_string(),
            };
            text += &format!("\n{what}: {count}");
        }
        text
    }
}
