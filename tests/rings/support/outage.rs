//! A namespace of a cluster in trouble: jobs on kwok's nodes, what a watch and the audit log saw of them, and
//! what must hold when the trouble is over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_tests::api::{ApiRefusal, batch_jobs, compute_jobs, pods};
use windlass_tests::audit::{Held, Mark, Write, held, overlaps};
use windlass_tests::cluster::{RELEASE, compute_job};
use windlass_tests::watch::{self, BATCH_JOBS, COMPUTE_JOBS, Objects, PODS, anything};
use windlass_tests::{Api, Cluster, Controller, Watch};

/// How soon after the last fault everything has converged.
const CONVERGES: Duration = Duration::from_secs(60);
/// How long nothing is written then.
const SILENCE: Duration = Duration::from_secs(10);
/// Longest wait for what a test prepares.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Runs a test on a runtime of its own.
pub(crate) fn on_a_cluster<F: Future<Output = anyhow::Result<()>>>(
    name: &str,
    test: impl FnOnce(TestBed) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bed = TestBed::new(name).await.unwrap_or_else(|error| panic!("{error:#}"));
        let (admin, path) = (bed.admin.clone(), format!("/api/v1/namespaces/{}", bed.namespace));
        let ended = test(bed).await;
        // Not waited for: its end is the cluster's work, and what a failed test left is nobody's load.
        if let (Err(refused), Ok(())) = (admin.delete(&path).await, &ended) {
            panic!("{refused}");
        }
        if let Err(error) = ended {
            panic!("{error:#}");
        }
    });
}

/// The long form of a fault: `tests/run outages`. The ring `cluster` has a short one.
pub(crate) fn long_or<T>(long: T, short: T) -> T {
    if std::env::var_os("WINDLASS_OUTAGES").is_some() { long } else { short }
}

/// The cluster in trouble, a namespace of it, and what is seen there.
pub(crate) struct TestBed {
    pub(crate) cluster: Cluster,
    pub(crate) admin: Api,
    pub(crate) namespace: String,
    pub(crate) directory: TempDir,
    /// Where the audit log began to be of this test.
    mark: Mark,
    pub(crate) jobs: Watch,
    pub(crate) batch_jobs: Watch,
    pub(crate) pods: Watch,
    /// Kubeconfig of the controller's account.
    pub(crate) kubeconfig: PathBuf,
}

impl TestBed {
    async fn new(name: &str) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let cluster = Cluster::of_environment().await?;
        let admin = cluster.admin.clone();
        in_cluster_controllers(&admin, 0).await?;
        cluster.add_nodes(directory.path(), 10, 1_000).await?;
        let account = format!("{RELEASE}-controller");
        let kubeconfig = cluster.account(&account, directory.path(), None).await?;
        let namespace = format!("{name}-{}", std::process::id());
        cluster.namespace(&namespace).await?;
        let start =
            async |kind, marks, rule| Watch::start(&admin, &namespace, kind, marks, rule).await;
        let jobs = start(
            COMPUTE_JOBS,
            watch::compute_job_marks as watch::Marks,
            only_forward as watch::Rule,
        )
        .await?;
        let batch_jobs = start(BATCH_JOBS, watch::batch_job_marks, anything).await?;
        let pods = start(PODS, watch::pod_marks, anything).await?;
        let mark = cluster.audit().mark()?;
        Ok(Self { cluster, admin, namespace, jobs, batch_jobs, pods, kubeconfig, directory, mark })
    }

    /// Starts a controller on this machine; what it says is in a file of this name.
    pub(crate) fn controller(&self, name: &str) -> anyhow::Result<Controller> {
        self.controller_with(name, &[])
    }

    /// The same with further arguments.
    pub(crate) fn controller_with(
        &self,
        name: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Controller> {
        Controller::start(&self.kubeconfig, &self.log(name), arguments)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }

    /// Submits jobs until each is acknowledged, whatever happens meanwhile; gives their names.
    pub(crate) async fn submit(
        &self,
        prefix: &str,
        count: usize,
        input: &Value,
    ) -> anyhow::Result<Vec<String>> {
        let names: Vec<_> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
        let mut submitting = futures::stream::iter(names.clone())
            .map(|name| async move {
                let job = compute_job(&name, 1, "default", input);
                self.create(&compute_jobs(&self.namespace, ""), &job).await
            })
            .buffer_unordered(8);
        while let Some(submitted) = submitting.next().await {
            submitted?;
        }
        Ok(names)
    }

    /// Starts a controller, submits jobs, and waits until pods of so many of them run.
    pub(crate) async fn under_way(
        &self,
        count: usize,
        input: &Value,
        running: usize,
    ) -> anyhow::Result<(Vec<String>, Controller)> {
        let controller = self.controller("controller")?;
        let names = self.submit("job", count, input).await?;
        let run = |pods: &Objects| (pods.count("running") >= running).then_some(());
        self.pods.until(&format!("{running} pods run"), MINUTE, run).await?;
        Ok((names, controller))
    }

    /// Creates an object, again and again while the API server is in trouble. One that is there already
    /// is one whose answer was lost.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> anyhow::Result<()> {
        let deadline = Instant::now() + MINUTE;
        loop {
            match self.admin.create(path, object).await {
                Ok(_) => return Ok(()),
                Err(ApiRefusal { code: 409, .. }) => return Ok(()),
                Err(refused) if refused.code < 500 && refused.code != 0 && refused.code != 429 => {
                    return Err(refused.into());
                }
                Err(refused) => anyhow::ensure!(Instant::now() < deadline, "{refused}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Deletes an object, unless it has gone by itself: on a busy machine what a test has seen may be over.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        match self.admin.delete(path).await {
            Ok(_) | Err(ApiRefusal { code: 404, .. }) => Ok(()),
            Err(refused) => Err(refused.into()),
        }
    }

    pub(crate) async fn job(&self, name: &str) -> anyhow::Result<Value> {
        Ok(self.admin.get(&compute_jobs(&self.namespace, name)).await?)
    }

    /// Waits until this many jobs have finished.
    pub(crate) async fn finished(&self, count: usize, limit: Duration) -> anyhow::Result<()> {
        self.jobs
            .until(&format!("{count} jobs have finished"), limit, |objects| {
                (objects.count("finished") >= count).then_some(())
            })
            .await
    }

    /// After the last fault: all of these jobs succeed within a minute, nothing of any finished job is left,
    /// nothing went backwards, no result is another pod's, no two attempts overlapped; then nothing is
    /// written. With an audit log that has gaps (its API server was killed) an attempt of which the end
    /// is not in the log is not held against anybody.
    pub(crate) async fn converges(
        &self,
        accepted: &[String],
        whole_log: bool,
    ) -> anyhow::Result<Converged> {
        let began = Instant::now();
        let names: BTreeSet<&str> = accepted.iter().map(String::as_str).collect();
        let all = loop {
            match self.unconverged(&names).await {
                Ok(jobs) => break jobs,
                Err(why) if began.elapsed() >= CONVERGES => {
                    let state = self.state().await;
                    anyhow::bail!(
                        "not converged {CONVERGES:?} after the last fault: {why:#}\n{state}"
                    );
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
            }
        };
        let took = began.elapsed();
        let (mut lost, mut owners) = (Vec::new(), BTreeMap::new());
        for name in &names {
            let Some(job) = all.get(*name) else {
                lost.push(format!("{name} is not there"));
                continue;
            };
            let status = &job["status"];
            if status["phase"] != "Succeeded" {
                lost.push(format!("{name}: {} {}", status["phase"], status["failure"]));
                continue;
            }
            // The result names the pod that made it: it is of this job's own attempt, and nobody else's.
            let text = status["result"]["text"].as_str().unwrap_or_default();
            let pod: Value = serde_json::from_str(text).unwrap_or_default();
            let pod = pod["pod"].as_str().unwrap_or_default().to_owned();
            let uid: String =
                job["metadata"]["uid"].as_str().unwrap_or_default().chars().take(8).collect();
            if !pod.starts_with(&format!("{name}-{uid}-")) {
                lost.push(format!("{name} ({uid}) has the result of {pod:?}"));
            }
            if let Some(other) = owners.insert(pod.clone(), *name) {
                lost.push(format!("{name} and {other} have the result of {pod}"));
            }
        }
        anyhow::ensure!(lost.is_empty(), "{} of {} jobs: {lost:#?}", lost.len(), names.len());
        let broken = self.jobs.objects().broken.clone();
        anyhow::ensure!(broken.is_empty(), "went backwards: {broken:#?}");

        let audit = self.cluster.audit();
        let writes = audit.since(self.mark)?;
        let mut held = held(&writes, &self.namespace)?;
        let attempts = held.len();
        anyhow::ensure!(
            !whole_log || attempts >= names.len(),
            "the audit log tells of {attempts} attempts of {} jobs",
            names.len()
        );
        if !whole_log {
            held.retain(|held: &Held| held.until.is_some());
        }
        let overlapping = overlaps(&held);
        anyhow::ensure!(overlapping.is_empty(), "attempts overlap: {overlapping:#?}");

        audit.quiet(audit.mark()?, SILENCE, MINUTE, |write| self.is_ours(write)).await?;
        Ok(Converged { took, attempts, jobs: names.len() })
    }

    /// From now on nothing of this namespace is written by us for so long.
    pub(crate) async fn stays_silent(&self, silence: Duration) -> anyhow::Result<()> {
        let audit = self.cluster.audit();
        let mark = audit.mark()?;
        tokio::time::sleep(silence).await;
        let writes = audit.since(mark)?;
        let written: Vec<_> = writes.iter().filter(|write| self.is_ours(write)).collect();
        anyhow::ensure!(written.is_empty(), "written while nothing changed: {written:#?}");
        Ok(())
    }

    fn is_ours(&self, write: &Write) -> bool {
        write.user.starts_with(&format!("system:serviceaccount:{RELEASE}:"))
            && write.namespace == self.namespace
    }

    /// The jobs, when each of these has finished and nothing else is left; else what there still is.
    async fn unconverged(&self, names: &BTreeSet<&str>) -> anyhow::Result<BTreeMap<String, Value>> {
        let all = self.admin.list(&compute_jobs(&self.namespace, "")).await?;
        let all: BTreeMap<String, Value> = all
            .into_iter()
            .map(|job| (job["metadata"]["name"].as_str().unwrap_or_default().to_owned(), job))
            .collect();
        let waiting: Vec<_> = names
            .iter()
            .filter(|name| {
                let finished = |job: &&Value| job["status"]["timeline"]["finished"].is_string();
                all.get(**name).filter(finished).is_none()
            })
            .collect();
        anyhow::ensure!(
            waiting.is_empty(),
            "{} have not finished: {:?}",
            waiting.len(),
            &waiting[..waiting.len().min(5)]
        );
        let ours = "?labelSelector=windlass.dev%2Fjob-uid";
        for kind in [batch_jobs(&self.namespace, ""), pods(&self.namespace, "")] {
            let left = self.admin.list(&format!("{kind}{ours}")).await?;
            let left: Vec<_> = left.iter().map(|object| &object["metadata"]["name"]).collect();
            anyhow::ensure!(
                left.is_empty(),
                "left: {} {:?}",
                left.len(),
                &left[..left.len().min(5)]
            );
        }
        Ok(all)
    }

    /// The state of the bed, for a failure.
    pub(crate) async fn state(&self) -> String {
        let mut text = format!(
            "{}\n{}\n{}",
            self.jobs.summary(),
            self.batch_jobs.summary(),
            self.pods.summary()
        );
        if let Ok(jobs) = self.admin.list(&compute_jobs(&self.namespace, "")).await {
            let unfinished = jobs
                .iter()
                .filter(|job| !job["status"]["timeline"]["finished"].is_string())
                .take(3);
            for job in unfinished {
                text += &format!("\n{} {:#}", job["metadata"]["name"], job["status"]);
            }
        }
        let files = std::fs::read_dir(self.directory.path()).into_iter().flatten().flatten();
        for file in files.filter(|file| file.path().extension().is_some_and(|e| e == "log")) {
            let log = std::fs::read_to_string(file.path()).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            text += &format!("\n-- {}\n", file.path().display());
            text += &lines[lines.len().saturating_sub(15)..].join("\n");
        }
        text
    }
}

/// What it took to converge.
pub(crate) struct Converged {
    took: Duration,
    attempts: usize,
    jobs: usize,
}

impl std::fmt::Display for Converged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { took, attempts, jobs } = self;
        let seconds = took.as_secs_f64();
        write!(
            f,
            "{jobs} jobs: 0 lost, 0 double results, 0 overlapping attempts of {attempts}, 0 left over; \
             converged {seconds:.1} s after the last fault, then 0 writes in {} s",
            SILENCE.as_secs()
        )
    }
}

/// A phase that is an end stays, a result stays, the number of the attempt does not go down.
fn only_forward(old: &Value, new: &Value) -> Option<String> {
    let (old, new) = (&old["status"], &new["status"]);
    let ended = matches!(old["phase"].as_str(), Some("Succeeded" | "Failed" | "Cancelled"));
    if ended && old["phase"] != new["phase"] {
        return Some(format!("{} became {}", old["phase"], new["phase"]));
    }
    if !old["result"].is_null() && old["result"] != new["result"] {
        return Some(format!("the result {} became {}", old["result"], new["result"]));
    }
    let attempt = |status: &Value| status["attempt"].as_u64().unwrap_or(0);
    (attempt(old) > attempt(new))
        .then(|| format!("attempt {} became {}", attempt(old), attempt(new)))
}

/// So many controllers in pods, and waits until it is so.
pub(crate) async fn in_cluster_controllers(admin: &Api, replicas: u32) -> anyhow::Result<()> {
    let deployment = format!("/apis/apps/v1/namespaces/{RELEASE}/deployments/{RELEASE}-controller");
    admin
        .merge(&format!("{deployment}/scale"), &json!({ "spec": { "replicas": replicas } }))
        .await?;
    let selector = "?labelSelector=app.kubernetes.io%2Fcomponent%3Dcontroller";
    let deadline = Instant::now() + MINUTE;
    loop {
        let found = admin.list(&format!("{}{selector}", pods(RELEASE, ""))).await?;
        let ready = admin.get(&deployment).await?["status"]["readyReplicas"].as_u64().unwrap_or(0);
        if found.len() == replicas as usize && ready == u64::from(replicas) {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "{} controllers in pods, {ready} ready",
            found.len()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
