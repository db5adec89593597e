//! Which back end is asked: a server, a cluster, or the server of this machine.
//!
//! In: what the command line and the environment name. Out: a `dyn Jobs`, so that every command is
//! written once, and advice for whoever is refused there.

use std::path::Path;

use windlass_core::blobs::BlobSink;
use windlass_core::changes::Changes;
use windlass_core::jobs::{Draining, Filter, Page, Submission, check_uid};
use windlass_core::validate::validate_labels;
use windlass_core::{Error, Job, JobKey, Jobs, Problem, validate};
use windlass_kube::Cluster;
use windlass_kube::kubeconfig::{self, Named};

use super::advice::{Advised, BackendKind, advice};
use super::http_client::{Client, LOCAL};
use super::rest_blobs::RestBlobs;
use super::rest_jobs::RestJobs;
use super::server_token::server_token;
use super::submission::{NewJob, unknown_function};
use crate::flags::backend::BackendFlags;
use crate::flags::bad_usage::BadUsage;
use crate::flags::kubectl_plugin::is_kubectl_plugin;
use crate::output::result_file::ResultFile;
use crate::server::{address_file, engine_config};

/// The namespace where nothing names another.
const DEFAULT_NAMESPACE: &str = "default";

/// Where jobs are, and a namespace there.
pub(crate) struct Backend {
    pub(crate) jobs: Box<dyn Jobs>,
    /// What happens to all jobs of a namespace.
    pub(crate) changes: Box<dyn Changes>,
    pub(crate) namespace: String,
    /// Whether the command line names the namespace.
    pub(crate) is_named: bool,
    /// The same as `jobs`, where it is a server's: it knows idempotency keys.
    server: Option<RestJobs>,
    blobs: Option<RestBlobs>,
    kind: BackendKind,
}

/// A link to a dashboard.
pub(crate) struct DashboardLink {
    pub(crate) url: String,
    /// Whether whoever opens it has the token that is used here.
    pub(crate) signs_in: bool,
}

/// The server on this machine: where its data directory says that it is, else where it is if nothing else was said.
fn local_server(data: Option<&Path>) -> anyhow::Result<String> {
    let directory = data.map_or_else(engine_config::data_directory, |data| Ok(data.to_owned()))?;
    Ok(address_file::read(&directory).unwrap_or_else(|| LOCAL.to_owned()))
}

impl Backend {
    /// What was named; else the cluster of the current context, if there is one; else the server of
    /// this machine. `kubectl windlass` means the cluster, always.
    pub(crate) async fn find(named: &BackendFlags) -> anyhow::Result<Self> {
        let BackendFlags { namespace, server, ca, data, context, kubeconfig } = named;
        let plugin = is_kubectl_plugin();
        if plugin && (server.is_some() || ca.is_some() || data.is_some()) {
            let why = "kubectl windlass asks the cluster of the kube context; a server is asked by \
                       `windlass --server URL`";
            return Err(BadUsage(why.into()).into());
        }
        let wants_cluster = plugin || context.is_some() || kubeconfig.is_some();
        let server = server.clone().or_else(|| std::env::var("WINDLASS_SERVER").ok());
        let server = server.filter(|server| !server.is_empty() && !wants_cluster);
        // A data directory is that of a server on this machine.
        let local = server.is_none() && !wants_cluster && data.is_some();
        if server.is_none() && !local {
            let named = Named { kubeconfig: kubeconfig.clone(), context: context.clone() };
            if let Some(client) = kubeconfig::client(&named).await? {
                return Ok(Self {
                    namespace: namespace
                        .clone()
                        .unwrap_or_else(|| client.default_namespace().to_owned()),
                    is_named: namespace.is_some(),
                    jobs: Box::new(Cluster::new(client.clone(), None)),
                    changes: Box::new(Cluster::new(client, None)),
                    server: None,
                    blobs: None,
                    kind: BackendKind::Cluster,
                });
            }
            if wants_cluster {
                let why = "there is no kube context: give --kubeconfig or set KUBECONFIG";
                return Err(BadUsage(why.into()).into());
            }
        }
        let kind = if server.is_some() { BackendKind::Server } else { BackendKind::ThisMachine };
        let server = server.map_or_else(|| local_server(data.as_deref()), Ok)?;
        let server = server.as_str();
        let client = Client::new(server, ca.as_deref(), || server_token(server, data.as_deref()))?;
        let blobs = Some(RestBlobs(client.clone()));
        let remote = RestJobs::new(client);
        Ok(Self {
            jobs: Box::new(remote.clone()),
            changes: Box::new(remote.clone()),
            server: Some(remote),
            blobs,
            namespace: namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.into()),
            is_named: namespace.is_some(),
            kind,
        })
    }

    /// Whether something is named, so that `run` does not run here.
    pub(crate) fn is_elsewhere(named: &BackendFlags) -> bool {
        let BackendFlags { namespace: _, server, ca: _, data, context, kubeconfig } = named;
        let variable = || std::env::var("WINDLASS_SERVER").is_ok_and(|server| !server.is_empty());
        let flagged =
            server.is_some() || data.is_some() || context.is_some() || kubeconfig.is_some();
        flagged || is_kubectl_plugin() || variable()
    }

    /// A job of this backend.
    pub(crate) fn key(&self, name: &str) -> JobKey {
        JobKey::new(&self.namespace, name)
    }

    /// How its commands are typed.
    pub(crate) fn program(&self) -> &'static str {
        if is_kubectl_plugin() { "kubectl windlass" } else { "windlass" }
    }

    /// The next page of all jobs, without what a list of them does not show, where that can be left out.
    pub(crate) async fn list_briefly(&self, filter: &Filter) -> Result<Page, Error> {
        match &self.server {
            Some(server) => server.list_briefly(&self.namespace, filter).await,
            None => self.jobs.list(&self.namespace, filter).await,
        }
    }

    /// Submits a job; the same key gives the same job again. What a gateway refuses is refused for a
    /// cluster here: its API server knows neither functions nor keys.
    pub(crate) async fn submit(&self, new: NewJob, key: Option<&str>) -> anyhow::Result<Job> {
        let NewJob { submission, files } = new;
        for file in &files {
            file.send(self.blobs()?, &submission.namespace).await?;
        }
        if let Some(server) = &self.server {
            return Ok(server.submit_once(submission, key).await?);
        }
        self.submit_without_gateway(submission, key).await
    }

    /// Submits the same job again as one that has ended; the same key gives the same job again. With a UID no other job of
    /// the name.
    pub(crate) async fn retry(
        &self,
        job: &JobKey,
        uid: Option<&str>,
        key: Option<&str>,
    ) -> anyhow::Result<Job> {
        if let Some(server) = &self.server {
            return Ok(server.retry_once(job, uid, key).await?);
        }
        let ended = self.jobs.get(job).await?;
        check_uid(&ended, uid)?;
        let submission = Submission::retry_of(&ended)?;
        self.submit_without_gateway(submission, key).await
    }

    async fn submit_without_gateway(
        &self,
        submission: Submission,
        key: Option<&str>,
    ) -> anyhow::Result<Job> {
        if key.is_some() {
            let why = "--idempotency-key is for a server: --server or WINDLASS_SERVER names it; on a \
                       cluster, --name makes a job one";
            return Err(BadUsage(why.into()).into());
        }
        self.check(&submission).await?;
        Ok(self.jobs.submit(submission).await?)
    }

    /// Where inputs and files are sent before their job.
    pub(crate) fn blobs(&self) -> anyhow::Result<&dyn BlobSink> {
        let namespace = &self.namespace;
        let why = || {
            BadUsage(format!(
                "files and large inputs are sent to a server: --server or --data names it. That of a cluster is its \
                 gateway. Where it has no address of its own, this gives it one:\n\
                 kubectl port-forward -n windlass service/windlass-gateway 7070\n\
                 Then say who you are, and use `windlass` with --server http://127.0.0.1:7070 -n {namespace}:\n\
                 export WINDLASS_TOKEN=$(kubectl create token ACCOUNT -n {namespace})"
            ))
        };
        Ok(self.blobs.as_ref().ok_or_else(why)?)
    }

    async fn check(&self, submission: &Submission) -> Result<(), Error> {
        let Submission { namespace, spec, labels, .. } = submission;
        validate_labels(labels)?;
        if let Some(why) = windlass_core::name::problem(&spec.function) {
            let message = format!("{:?} {why}", spec.function);
            return Err(Error::Invalid(vec![Problem::at("/function", message)]));
        }
        let function = match self.jobs.function(namespace, &spec.function).await {
            Ok(function) => function,
            // Who may submit may not always read functions. Then the controller says what is wrong.
            Err(Error::Denied(_)) => return Ok(()),
            Err(Error::NotFound { .. }) => {
                let functions = self.jobs.functions(namespace).await?;
                let names = functions.iter().map(|known| known.metadata.name.as_str()).collect();
                let message = unknown_function(&spec.function, names);
                return Err(Error::Invalid(vec![Problem::at("/function", message)]));
            }
            Err(error) => return Err(error),
        };
        let queue = match self.jobs.queue(namespace, spec.queue()).await {
            Ok(queue) => queue,
            Err(Error::Denied(_) | Error::Invalid(_)) => None,
            Err(error) => return Err(error),
        };
        validate(spec, &function.spec, queue.as_ref().map(|queue| &queue.spec)).map(drop)
    }

    /// Has a server take nothing new and end when nothing runs.
    pub(crate) async fn drain(&self) -> anyhow::Result<Draining> {
        let Some(server) = &self.server else {
            let why = "a server on one machine is drained: --server or --data names it; an upgrade of a \
                       cluster's release lets everything run";
            return Err(BadUsage(why.into()).into());
        };
        Ok(server.drain().await?)
    }

    /// Where its dashboard is.
    pub(crate) async fn dashboard_link(&self) -> anyhow::Result<DashboardLink> {
        let Some(server) = &self.server else {
            let namespace = &self.namespace;
            let why = format!(
                "a server has a dashboard: --server or --data names it. That of a cluster is its gateway:\n\
                 kubectl port-forward -n windlass service/windlass-gateway 7070\n\
                 Then the page is http://127.0.0.1:7070/dashboard/#/{namespace}/jobs; it takes a token as this one:\n\
                 kubectl create token ACCOUNT -n {namespace}"
            );
            return Err(BadUsage(why).into());
        };
        let page = format!("{}/dashboard/#/{}/jobs", server.server(), self.namespace);
        Ok(match server.login_code().await? {
            Some(code) => DashboardLink { url: format!("{page}?code={code}"), signs_in: true },
            None => DashboardLink { url: page, signs_in: false },
        })
    }

    /// Whether the server still answers that it is not ready, as one that is drained does.
    pub(crate) async fn is_draining(&self) -> anyhow::Result<bool> {
        match &self.server {
            Some(server) => Ok(server.is_not_ready().await?),
            None => Ok(false),
        }
    }

    /// Writes a finished job's result; with `partial` also what it had computed before it failed.
    pub(crate) async fn write_result(
        &self,
        key: &JobKey,
        partial: bool,
        output: ResultFile,
    ) -> anyhow::Result<()> {
        let result = match self.jobs.result(key, partial).await {
            // Only the gateway has the credentials of the store.
            Err(Error::Unavailable { .. }) if self.kind == BackendKind::Cluster => {
                let namespace = &key.namespace;
                return Err(BadUsage(format!(
                    "the result of {key} is in the cluster's object store, which the gateway reads: \
                     `kubectl port-forward -n windlass service/windlass-gateway 7070`, and \
                     `windlass result {} -n {namespace} --server http://127.0.0.1:7070`",
                    key.name
                ))
                .into());
            }
            result => result?,
        };
        let whole = 0..result.bytes;
        output.write(result.read(whole).await?).await
    }

    /// A command here, with advice where it fails.
    pub(crate) async fn run<T>(
        &self,
        command: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        command(self).await.map_err(|error| {
            match advice(&error, &self.kind, &self.namespace, self.program()) {
                Some(advice) => Advised { error, advice }.into(),
                None => error,
            }
        })
    }
}
