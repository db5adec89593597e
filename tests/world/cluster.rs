//! A run of `tests/cluster/up`: its components, its users, its nodes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::api::{compute_functions, pods};
use crate::controller::cpu_of;
use crate::{Api, Audit};

/// Namespace of the release.
pub const RELEASE: &str = "windlass";
/// The function whose pods run on kwok's nodes.
pub const FUNCTION: &str = "kwok";
/// How kwok's nodes run pods.
const STAGES: &str = include_str!("kwok.yaml");

/// The run that KUBECONFIG names.
pub struct Cluster {
    /// As its administrator.
    pub admin: Api,
    kubeconfig: PathBuf,
    directory: PathBuf,
}

impl Cluster {
    /// The run that KUBECONFIG names.
    pub async fn of_environment() -> anyhow::Result<Self> {
        let file = std::env::var_os("KUBECONFIG").context("KUBECONFIG is not set")?;
        let kubeconfig = fs::canonicalize(file).context("KUBECONFIG")?;
        let directory = kubeconfig.parent().context("KUBECONFIG")?.to_owned();
        anyhow::ensure!(
            directory.join("processes").is_file(),
            "{} is no run of tests/cluster/up",
            directory.display()
        );
        Ok(Self { admin: Api::from_kubeconfig(&kubeconfig).await?, kubeconfig, directory })
    }

    /// Its name.
    pub fn run(&self) -> String {
        self.directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Its audit log.
    pub fn audit(&self) -> Audit {
        Audit(self.directory.join("audit.log"))
    }

    /// CPU time of each component so far, by its name.
    pub fn cpu(&self) -> anyhow::Result<BTreeMap<String, Duration>> {
        let processes = fs::read_to_string(self.directory.join("processes"))?;
        let of_line = |line: &str| {
            let (name, rest) = line.split_once(' ').context("processes")?;
            let pid = rest.split(' ').next().unwrap_or_default().parse()?;
            Ok((name.to_owned(), cpu_of(pid)?))
        };
        processes.lines().map(of_line).collect()
    }

    /// Writes the kubeconfig of a service account of the release into `directory`. With a `server` that is
    /// somebody else's, such as a proxy, nothing but that address is in it.
    pub async fn account(
        &self,
        account: &str,
        directory: &Path,
        server: Option<&str>,
    ) -> anyhow::Result<PathBuf> {
        let config = kube::config::Kubeconfig::read_from(&self.kubeconfig)?;
        let cluster = config.clusters.first().and_then(|named| named.cluster.as_ref());
        let cluster = cluster.context("no cluster in KUBECONFIG")?;
        let (cluster, user) = match server {
            Some(server) => (json!({ "server": server }), json!({})),
            None => {
                let path = format!("/api/v1/namespaces/{RELEASE}/serviceaccounts/{account}/token");
                let request = json!({
                    "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                    "spec": { "expirationSeconds": 86_400 },
                });
                let answer = self.admin.create(&path, &request).await?;
                let cluster = json!({
                    "server": cluster.server,
                    "certificate-authority-data": cluster.certificate_authority_data,
                });
                (cluster, json!({ "token": answer["status"]["token"] }))
            }
        };
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{ "name": "it", "cluster": cluster }],
            "users": [{ "name": "it", "user": user }],
            "contexts": [{ "name": "it", "context": {
                "cluster": "it", "user": "it", "namespace": RELEASE } }],
        });
        let kind = if server.is_some() { "proxied" } else { "direct" };
        let file = directory.join(format!("{account}-{kind}.kubeconfig"));
        fs::write(&file, config.to_string())?;
        Ok(file)
    }

    /// Runs a script of `tests/cluster` on this run.
    pub async fn script(&self, name: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster").join(name);
        let run = tokio::process::Command::new(&script)
            .arg(self.run())
            .args(arguments)
            .env("WINDLASS_CLUSTER_RUNS", self.directory.parent().unwrap_or(Path::new("/")))
            .output();
        let output = tokio::time::timeout(Duration::from_secs(120), run)
            .await
            .context(script.display().to_string())??;
        anyhow::ensure!(
            output.status.success(),
            "{} {arguments:?}: {}",
            script.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Starts kwok, unless it runs, and makes so many nodes of so many CPUs that only pods which ask for
    /// them get.
    pub async fn add_nodes(&self, directory: &Path, nodes: u32, cpus: u32) -> anyhow::Result<()> {
        if !self.directory.join("commands/kwok").is_file() {
            let stages = directory.join("stages.yaml");
            fs::write(&stages, STAGES)?;
            let stages = stages.to_str().context("the directory's name")?.to_owned();
            self.script("kwok", &[&stages]).await?;
        }
        for number in 0..nodes {
            let amount = json!({ "cpu": cpus.to_string(), "memory": "4Ti", "pods": "10000" });
            let node = json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": { "name": format!("kwok-{number}"), "labels": {
                    "type": "kwok", "kubernetes.io/os": "linux", "kubernetes.io/hostname": format!("kwok-{number}"),
                } },
                "spec": { "taints": [{ "key": "type", "value": "kwok", "effect": "NoSchedule" }] },
                "status": { "allocatable": amount, "capacity": amount },
            });
            self.admin.ensure("/api/v1/nodes", &node).await?;
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let found = self.admin.list("/api/v1/nodes?labelSelector=type%3Dkwok").await?;
            let ready = found.iter().filter(|node| is_ready(node)).count();
            if ready >= nodes as usize {
                return Ok(());
            }
            anyhow::ensure!(
                std::time::Instant::now() < deadline,
                "{ready} of {nodes} nodes are ready"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A namespace with the function whose pods run on kwok's nodes.
    pub async fn namespace(&self, name: &str) -> anyhow::Result<()> {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
        });
        self.admin.ensure("/api/v1/namespaces", &namespace).await?;
        let function = json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeFunction",
            "metadata": { "name": FUNCTION },
            "spec": {
                "image": "windlass.test/nothing:1", "command": ["nothing"],
                "parallelism": { "default": 10, "max": 1000 },
                "memory": { "base": "64Mi", "perCpu": "8Mi" },
                "podTemplate": { "spec": {
                    "nodeSelector": { "type": "kwok" },
                    "tolerations": [{ "key": "type", "operator": "Exists", "effect": "NoSchedule" }],
                } },
            },
        });
        self.admin.ensure(&compute_functions(name, ""), &function).await?;
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        while let Err(refused) = self.admin.get(&account).await {
            anyhow::ensure!(std::time::Instant::now() < deadline, "no service account: {refused}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Removes a namespace with all that is in it and waits until it is gone.
    pub async fn remove_namespace(&self, name: &str, limit: Duration) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{name}");
        match self.admin.delete(&path).await {
            Ok(_) => {}
            Err(refused) if refused.code == 404 => return Ok(()),
            Err(refused) => return Err(refused.into()),
        }
        let deadline = std::time::Instant::now() + limit;
        loop {
            match self.admin.get(&path).await {
                Err(refused) if refused.code == 404 => return Ok(()),
                Ok(there) if std::time::Instant::now() >= deadline => {
                    anyhow::bail!("namespace {name} does not go: {}", there["status"])
                }
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Lets a pod that holds its CPUs end.
    pub async fn release(&self, namespace: &str, pod: &str) -> anyhow::Result<()> {
        let patch = json!({ "metadata": { "annotations": { "windlass.test/finish": "now" } } });
        self.admin.merge(&pods(namespace, pod), &patch).await?;
        Ok(())
    }
}

/// A ComputeJob of kwok's function.
pub fn compute_job(name: &str, cpus: u32, queue: &str, input: &Value) -> Value {
    json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ComputeJob",
        "metadata": { "name": name },
        "spec": { "function": FUNCTION, "parallelism": cpus, "queue": queue, "input": input },
    })
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}
