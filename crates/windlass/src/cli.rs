//! The command line.

pub(crate) mod door;
pub(crate) mod keys;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// An error that the caller can mend: what they gave is wrong. Exit code 2, as for what clap refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadUsage(pub(crate) String);

/// Runs expensive, parallel requests: grants CPUs, runs a function with exactly that many threads,
/// reports progress and hands back the result.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one job on this machine and print its result
    Run(Run),
    /// Answer the REST API on this machine
    Serve(Serve),
    /// Answer the REST API of a cluster, and its workers' reports
    Gateway(Gateway),
    /// Turn the ComputeJobs of a cluster into batch Jobs
    Controller(Controller),
    /// Tell where a job's time went, and what it waits for now
    Explain(Explain),
    /// Give other services keys of their own to the server on this machine, or take them back
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Print what is installed on a cluster
    #[command(subcommand)]
    Print(Print),
    /// Supervise one attempt (started by Windlass itself)
    #[command(hide = true)]
    Worker(Worker),
    /// Be a built-in function (started by a worker)
    #[command(hide = true)]
    Function(Function),
}

/// Run one job on this machine and print its result.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done, 1 the job failed, 2 bad usage or input, 130 interrupted.

Examples:
  windlass run price --input @examples/longstaff-schwartz.json --parallelism 2
  windlass run render --input @examples/scene.json --output picture.png
  windlass run -f job.yaml")]
pub(crate) struct Run {
    /// Name of a function
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub(crate) function: Option<String>,
    /// A ComputeJob manifest, the same that `kubectl apply` takes; `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The input: JSON, @FILE, or - for standard input [default: {}]
    #[arg(short, long, value_name = "JSON|@FILE|-", conflicts_with = "file")]
    pub(crate) input: Option<String>,
    /// CPUs [default: the function's, at most this machine's]
    #[arg(short, long, value_name = "N", conflicts_with = "file")]
    pub(crate) parallelism: Option<u32>,
    /// Longest run of one attempt, in seconds [default: the function's]
    #[arg(long, value_name = "SECONDS", conflicts_with = "file")]
    pub(crate) timeout: Option<u32>,
    /// Further attempts after the first failed [default: the function's]
    #[arg(long, value_name = "N", conflicts_with = "file")]
    pub(crate) retries: Option<u32>,
    /// Write the result to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

/// Answer the REST API on this machine.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address to listen on; any but loopback needs TLS
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// A name by which callers reach this server, with :PORT where that is another than it listens
    /// on; may be repeated. Requests for other hosts are refused [default: the address; on loopback
    /// localhost, too]
    #[arg(long, value_name = "NAME[:PORT]")]
    pub(crate) host: Vec<String>,
    #[command(flatten)]
    pub(crate) door: door::Door,
    /// Directory of everything that is kept: jobs, results, logs, the token
    /// [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How long a function may take to stop, in seconds, before it is killed
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) grace: u64,
    /// Most jobs that wait for CPUs; beyond it submissions get 429
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub(crate) max_queued: u32,
    /// Most that jobs, results and logs may take on the disk; beyond it submissions get 503
    #[arg(long, value_name = "QUANTITY", default_value = "10Gi")]
    pub(crate) max_stored: String,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

/// What every engine on one machine is told.
#[derive(Debug, Args)]
pub(crate) struct Machine {
    /// ComputeFunction and ComputeQueue manifests: a file or a directory; may be repeated
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) functions: Vec<PathBuf>,
    /// CPUs to grant [default: what affinity and quota allow]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) cpus: Option<u32>,
}

/// Answer the REST API of a cluster.
#[derive(Debug, Args)]
pub(crate) struct Gateway {
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0:7070", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// Speak without TLS to others than this machine: tokens and results are then as safe as the
    /// network is
    #[arg(long, conflicts_with = "tls_cert")]
    pub(crate) plain_http: bool,
    #[command(flatten)]
    pub(crate) door: door::Door,
    /// Where results above 32 KiB are kept: s3://BUCKET/PREFIX, with credentials, region and endpoint in
    /// AWS_* variables, or file:///DIRECTORY, which all gateways share [default: nowhere; such a result
    /// fails its job]
    #[arg(long, env = "WINDLASS_RESULTS", value_name = "URL")]
    pub(crate) results: Option<String>,
}

/// Turn the ComputeJobs of a cluster into batch Jobs.
#[derive(Debug, Args)]
pub(crate) struct Controller {
    /// Only this namespace [default: all]
    #[arg(long, env = "WINDLASS_NAMESPACE", value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Where workers report to, as their pods reach it
    #[arg(long, env = "WINDLASS_REPORT_URL", value_name = "URL")]
    pub(crate) report_url: String,
    /// Address that answers `/healthz`, `/readyz` and, to whoever may, `/metrics` [default: none]
    #[arg(long, env = "WINDLASS_OPERATIONS", value_name = "ADDRESS:PORT")]
    pub(crate) operations: Option<SocketAddr>,
    /// Whether of several controllers only the holder of a Lease acts
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub(crate) leader_elect: bool,
    /// Namespace of that Lease, `windlass-controller` [default: the current context's, or the pod's]
    #[arg(long, env = "WINDLASS_LEASE_NAMESPACE", value_name = "NAME")]
    pub(crate) lease_namespace: Option<String>,
    /// Take an attempt for dead when its node's object is deleted: whoever deletes one has made sure
    /// that the machine runs nothing any more
    #[arg(long, env = "WINDLASS_DELETED_NODES_ARE_FENCED")]
    pub(crate) deleted_nodes_are_fenced: bool,
}

/// Tell where a job's time went, and what it waits for now.
///
/// Asks the server that is named; else the cluster of the current kube context; else, where there is
/// none, the server of this machine.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Name of the job
    pub(crate) job: String,
    /// Its namespace [default: the context's, or `default`]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// A server, such as http://127.0.0.1:7070; its token is WINDLASS_TOKEN or in the data directory
    #[arg(long, env = "WINDLASS_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Data directory of the server on this machine [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: Shape,
}

/// Form of what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// For people
    Table,
    /// One JSON value
    Json,
}

/// Print what is installed on a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Print {
    /// The CustomResourceDefinitions
    Crds {
        /// Form of the output
        #[arg(short, long, default_value = "yaml")]
        output: Format,
    },
    /// The built-in functions as ComputeFunction manifests
    Functions {
        /// Image that has the windlass program on its PATH
        #[arg(long, value_name = "IMAGE")]
        image: Option<String>,
        /// Form of the output
        #[arg(short, long, default_value = "yaml")]
        output: Format,
    },
}

/// Form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// YAML documents
    Yaml,
    /// A JSON array
    Json,
}

/// Supervise one attempt.
#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// The function's program and arguments; without any, the server tells over standard input
    #[arg(last = true)]
    pub(crate) command: Vec<String>,
}

/// Be a built-in function.
#[derive(Debug, Args)]
pub(crate) struct Function {
    /// Its name
    pub(crate) name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
