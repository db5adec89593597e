//! Where jobs are: the one seam between the commands and a world.
//!
//! In: what the command line and the environment name. Out: a `dyn Jobs`, so that every command is
//! written once, and advice for whoever is refused there.

use std::path::Path;
use std::process::ExitCode;

use windlass_core::jobs::{Denied, Submission};
use windlass_core::{Error, Job, JobKey, Jobs, Problem, validate};
use windlass_kube::Cluster;
use windlass_kube::kubeconfig::{self, Named};

use crate::cli::{self, BadUsage, Where};
use crate::client::{Client, LOCAL};
use crate::machine;
use crate::output::Output;
use crate::remote::RemoteJobs;
use crate::request::unknown_function;

/// The namespace where nothing names another.
const DEFAULT_NAMESPACE: &str = "default";

/// A world and a namespace of it.
pub(crate) struct Place {
    pub(crate) jobs: Box<dyn Jobs>,
    pub(crate) namespace: String,
    /// Whether the command line names the namespace.
    pub(crate) is_named: bool,
    /// The same as `jobs`, where it is a server's: it knows idempotency keys.
    server: Option<RemoteJobs>,
    kind: Kind,
}

/// What answers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A server that was named.
    Server,
    /// The server of this machine, since nothing was named.
    ThisMachine,
    /// The API server of a cluster.
    Cluster,
}

/// An error, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{error:#}\n{advice}")]
pub(crate) struct Advised {
    pub(crate) error: anyhow::Error,
    advice: String,
}

impl Place {
    /// What was named; else the cluster of the current context, if there is one; else the server of
    /// this machine. `kubectl windlass` means the cluster, always.
    pub(crate) async fn find(named: &Where) -> anyhow::Result<Self> {
        let Where { namespace, server, ca, data, context, kubeconfig } = named;
        let plugin = cli::is_kubectl_plugin();
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
                    jobs: Box::new(Cluster::new(client, None)),
                    server: None,
                    kind: Kind::Cluster,
                });
            }
            if wants_cluster {
                let why = "there is no kube context: give --kubeconfig or set KUBECONFIG";
                return Err(BadUsage(why.into()).into());
            }
        }
        let kind = if server.is_some() { Kind::Server } else { Kind::ThisMachine };
        let server = server.as_deref().unwrap_or(LOCAL);
        let client = Client::new(server, ca.as_deref(), || token(server, data.as_deref()))?;
        let remote = RemoteJobs::new(client);
        Ok(Self {
            jobs: Box::new(remote.clone()),
            server: Some(remote),
            namespace: namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.into()),
            is_named: namespace.is_some(),
            kind,
        })
    }

    /// Whether something is named, so that `run` does not run here.
    pub(crate) fn is_elsewhere(named: &Where) -> bool {
        let Where { namespace: _, server, ca: _, data, context, kubeconfig } = named;
        let variable = || std::env::var("WINDLASS_SERVER").is_ok_and(|server| !server.is_empty());
        let flagged =
            server.is_some() || data.is_some() || context.is_some() || kubeconfig.is_some();
        flagged || cli::is_kubectl_plugin() || variable()
    }

    /// A job of this place.
    pub(crate) fn key(&self, name: &str) -> JobKey {
        JobKey::new(&self.namespace, name)
    }

    /// How its commands are typed.
    pub(crate) fn program(&self) -> &'static str {
        if cli::is_kubectl_plugin() { "kubectl windlass" } else { "windlass" }
    }

    /// Submits a job; the same key gives the same job again. What a gateway refuses is refused for a
    /// cluster here: its API server knows neither functions nor keys.
    pub(crate) async fn submit(
        &self,
        submission: Submission,
        key: Option<&str>,
    ) -> anyhow::Result<Job> {
        if let Some(server) = &self.server {
            return Ok(server.submit_once(submission, key).await?);
        }
        if key.is_some() {
            let why = "--idempotency-key is for a server: --server or WINDLASS_SERVER names it; on a \
                       cluster, --name makes a job one";
            return Err(BadUsage(why.into()).into());
        }
        self.check(&submission).await?;
        Ok(self.jobs.submit(submission).await?)
    }

    async fn check(&self, submission: &Submission) -> Result<(), Error> {
        let Submission { namespace, spec, .. } = submission;
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

    /// Writes a finished job's result.
    pub(crate) async fn write_result(&self, key: &JobKey, output: Output) -> anyhow::Result<()> {
        let result = match self.jobs.result(key).await {
            // Only the gateway has the credentials of the store.
            Err(Error::Unavailable { .. }) if self.kind == Kind::Cluster => {
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
    pub(crate) async fn run(
        &self,
        command: impl AsyncFnOnce(&Self) -> anyhow::Result<ExitCode>,
    ) -> anyhow::Result<ExitCode> {
        command(self).await.map_err(|error| match self.advice(&error) {
            Some(advice) => Advised { error, advice }.into(),
            None => error,
        })
    }

    /// What to do about an error.
    fn advice(&self, error: &anyhow::Error) -> Option<String> {
        let program = self.program();
        let namespace = &self.namespace;
        Some(match (error.downcast_ref::<Error>()?, &self.kind) {
            (Error::Unavailable { message, .. }, Kind::Server | Kind::ThisMachine)
                if message.contains("certificate") =>
            {
                "--ca FILE names the authority that has signed the server's certificate, which is for the \
                 names that the server was given (`windlass serve --host`)."
                    .into()
            }
            (Error::Unavailable { .. }, Kind::ThisMachine) => {
                "Is it running? `windlass serve` starts a server here; --server or WINDLASS_SERVER \
                 names another, --context a cluster."
                    .into()
            }
            (Error::Unavailable { .. }, Kind::Server) => {
                "Is it running, and is that its address? --server or WINDLASS_SERVER names it.".into()
            }
            (Error::Unavailable { .. }, Kind::Cluster) => {
                "Is it the right cluster? `kubectl config current-context` tells, --context names \
                 another, --server a Windlass server."
                    .into()
            }
            (Error::Denied(why), Kind::Server | Kind::ThisMachine)
                if *why == Denied::Unauthenticated.to_string() =>
            {
                "The token comes from WINDLASS_TOKEN or, for a server on this machine, from the file \
                 `token` in its data directory (--data DIR); for a cluster's gateway, `kubectl create \
                 token ACCOUNT` makes one."
                    .into()
            }
            (Error::Denied(_), Kind::Server | Kind::ThisMachine) => {
                "On one machine there is only the namespace `default`, and `windlass keys list` shows what \
                 a key may do; on a cluster `kubectl auth can-i` tells. WINDLASS_TOKEN is who asks."
                    .into()
            }
            (Error::Denied(_), Kind::Cluster) => format!(
                "`kubectl auth can-i --list -n {namespace}` tells what you may do there; -n names \
                 another namespace, --context another cluster."
            ),
            (Error::Busy { retry_after, .. }, _) => {
                format!("Try again in {} s.", retry_after.as_secs().max(1))
            }
            (Error::NotFound { kind: Job::KIND, name }, Kind::Cluster) if name.is_empty() => {
                "Windlass is not installed on this cluster: `helm install windlass charts/windlass` \
                 does it. --context names another cluster, --server a Windlass server."
                    .into()
            }
            (Error::NotFound { kind: Job::KIND, .. }, kind) => {
                let other = match kind {
                    Kind::Cluster => "-n names another namespace, --context another cluster",
                    Kind::Server | Kind::ThisMachine => "-n names another namespace",
                };
                format!(
                    "`{program} list` shows the jobs of namespace {namespace:?}; a job is forgotten \
                     some time after its end. {other}."
                )
            }
            _ => return None,
        })
    }
}

/// The token for a server: the environment's, or the one in the data directory of a server on this
/// machine. That one is sent to nobody else, unless its directory was named.
fn token(server: &str, data: Option<&Path>) -> anyhow::Result<String> {
    if let Ok(token) = std::env::var("WINDLASS_TOKEN") {
        return Ok(token);
    }
    let directory = match data {
        Some(data) => data.to_owned(),
        None if is_loopback(server) => machine::data_directory()?,
        None => {
            let why = format!("{server}: its token is needed in WINDLASS_TOKEN");
            return Err(BadUsage(why).into());
        }
    };
    let path = directory.join("token");
    std::fs::read_to_string(&path).map_err(|error| {
        let path = path.display();
        let advice = "the server there makes it when it starts (`windlass serve`); --data names another \
                      data directory, WINDLASS_TOKEN a token, --server a server";
        BadUsage(format!("{path}: {error}: {advice}")).into()
    })
}

/// Whether what is sent to this URL stays on this machine.
pub(crate) fn is_loopback(server: &str) -> bool {
    let Ok(uri) = server.parse::<hyper::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_given_its_token() {
        for (server, expected) in [
            ("http://127.0.0.1:7070", true),
            ("https://localhost", true),
            ("http://[::1]:7070", true),
            ("http://127.0.0.1.example:7070", false),
            ("https://windlass.example", false),
            ("http://10.0.0.1", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_loopback(server), expected, "{server}");
        }
    }
}
