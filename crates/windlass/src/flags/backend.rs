//! Flags that say where jobs are.

use std::path::PathBuf;

use clap::Args;

use super::names::name;

/// Where jobs are: a server that is named; else the cluster of the kube context; else, where there is
/// none, the server of this machine.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Where")]
pub(crate) struct BackendFlags {
    /// Namespace [default: the kube context's, or `default`]
    #[arg(short, long, value_name = "NAME", value_parser = name)]
    pub(crate) namespace: Option<String>,
    /// A server, such as https://windlass.example or http://127.0.0.1:7070 [env: WINDLASS_SERVER]; its
    /// token is WINDLASS_TOKEN, in the file WINDLASS_TOKEN_FILE or, on this machine, in the data directory
    #[arg(long, value_name = "URL", conflicts_with_all = ["context", "kubeconfig"])]
    pub(crate) server: Option<String>,
    /// Certificate authorities of the server, in PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Data directory of the server on this machine [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// A context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// A kubeconfig [default: KUBECONFIG, or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// The flags of a command about jobs, and where the jobs are.
#[derive(Debug, Args)]
pub(crate) struct OnBackend<A: Args> {
    #[command(flatten)]
    pub(crate) command: A,
    #[command(flatten)]
    pub(crate) backend: BackendFlags,
}
