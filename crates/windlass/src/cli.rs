//! The command line.

pub(crate) mod door;
pub(crate) mod keys;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use windlass_core::Phase;

use crate::definition::Definition;

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
    /// Run one job, on this machine if no server is named, and print its result
    Run(Run),
    /// Call a function and print its result
    Call(Call),
    /// Submit a job
    Submit(Submit),
    /// Show jobs by their names
    Get(Get),
    /// List jobs
    List(List),
    /// Follow a job to its end
    Watch(Watch),
    /// Ask for the end of jobs
    Cancel(Cancel),
    /// End and forget jobs, with their results
    Delete(Delete),
    /// Print a job's result
    Result(ResultOf),
    /// Print what a job's function says
    Logs(Logs),
    /// Tell where a job's time went, and what it waits for now
    Explain(Explain),
    /// Show what may run
    Functions(Functions),
    /// Show quotas of CPUs
    Queues(Queues),
    /// Answer the REST API on this machine
    Serve(Serve),
    /// Answer the REST API of a cluster, and its workers' reports
    Gateway(Gateway),
    /// Turn the ComputeJobs of a cluster into batch Jobs
    Controller(Controller),
    /// Give other services keys of their own to the server on this machine, or take them back
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Print what is installed on a cluster, and what the REST API is
    #[command(subcommand)]
    Print(Print),
    /// Print a shell's completion script
    Completion(Completion),
}

/// What Windlass itself starts, once for each attempt. A command line of its own, so that nothing of the
/// other commands is made up first.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, propagate_version = true)]
pub(crate) enum Started {
    /// Supervise one attempt (started by Windlass itself)
    Worker(Worker),
    /// Be a built-in function (started by a worker)
    Function(Function),
}

/// Where jobs are: a server that is named; else the cluster of the kube context; else, where there is
/// none, the server of this machine.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Where")]
pub(crate) struct Where {
    /// Namespace [default: the kube context's, or `default`]
    #[arg(short, long, value_name = "NAME", value_parser = name)]
    pub(crate) namespace: Option<String>,
    /// A server, such as https://windlass.example or http://127.0.0.1:7070 [env: WINDLASS_SERVER]; its
    /// token is WINDLASS_TOKEN or, on this machine, in the data directory
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

/// A new job.
#[derive(Debug, Args)]
pub(crate) struct Request {
    /// Name of a function
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub(crate) function: Option<String>,
    /// A ComputeJob manifest, the same that `kubectl apply` takes; `-` for standard input
    #[arg(short, long, value_name = "FILE", conflicts_with_all = [
        "input", "name", "parallelism", "min_parallelism", "queue", "priority", "timeout", "retries", "ttl",
    ])]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) wanted: Wanted,
}

/// What is wanted of a function.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// The input: JSON, @FILE, or - for standard input [default: {}]
    #[arg(short, long, value_name = "JSON|@FILE|-")]
    pub(crate) input: Option<String>,
    /// Name of the job [default: one that is made up]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) name: Option<String>,
    /// CPUs [default: the function's, at most the machine's]
    #[arg(short, long, value_name = "N")]
    pub(crate) parallelism: Option<u32>,
    /// Fewest CPUs to start with, when not all are free [default: --parallelism]
    #[arg(long, value_name = "N")]
    pub(crate) min_parallelism: Option<u32>,
    /// Queue [default: default]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) queue: Option<String>,
    /// Higher starts first, from -1000 to 1000 [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// Longest run of one attempt, in seconds [default: the function's]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u32>,
    /// Further attempts after the first failed [default: the function's]
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
    /// How long the job and its result are kept after its end, in seconds [default: 86400, a day]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ttl: Option<u32>,
}

/// Run one job and print its result.
///
/// Without a server or a context it runs here, on an engine in this process that ends with it.
/// Otherwise it is submitted there and followed; an interrupt cancels it.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done, 1 the job failed, 2 bad usage or input, 3 refused (token, rights,
certificate, full) or no answer, 130 interrupted.

Examples:
  windlass run price --input @examples/longstaff-schwartz.json --parallelism 2
  windlass run render --input @examples/scene.json --output picture.png
  windlass run -f job.yaml")]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) request: Request,
    /// Write the result to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: Machine,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// Call a function and print its result: the bytes that it wrote, and nothing else.
///
/// An interrupt cancels the job.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done, 1 the job failed, 2 bad usage or input, 3 refused (token, rights,
certificate, full) or no answer, 130 interrupted.

Example:
  windlass call price --input @examples/longstaff-schwartz.json | jq '.prices[0]'")]
pub(crate) struct Call {
    /// Name of the function
    pub(crate) function: String,
    #[command(flatten)]
    pub(crate) wanted: Wanted,
    /// The same key gives the same job again, instead of a second one
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Write the result to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// Submit a job, and print its name.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done, 1 a job of that name is there, 2 bad usage or input, 3 refused (token, rights,
certificate, full) or no answer. With --wait the code is the job's: 0 done, 1 failed or not ended in
time. An interrupt leaves the job as it is.

Examples:
  windlass get $(windlass submit price --input @examples/longstaff-schwartz.json)
  windlass submit -f job.yaml --wait=60 -o json")]
pub(crate) struct Submit {
    #[command(flatten)]
    pub(crate) request: Request,
    /// The same key gives the same job again, instead of a second one
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// Form of the output [default: the name alone; `name` writes it as kubectl does]
    #[arg(short, long)]
    pub(crate) output: Option<Shape>,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// Whether to wait for a job's end.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Wait for the end, at most so many seconds [default: as long as it takes]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "clap's way to say that the value may be left out")]
    pub(crate) wait: Option<Option<u32>>,
}

/// Show jobs by their names.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Names of jobs; `cjob/NAME` is taken as well
    #[arg(required = true, value_name = "JOB", value_parser = job_name)]
    pub(crate) jobs: Vec<String>,
    /// Show it again each time it has changed, until its end; of one job
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: Shape,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// List jobs, in the order of their names.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only of this function
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) function: Option<String>,
    /// Only in this phase: Queued, Starting, Running, Succeeded, Failed or Cancelled
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    pub(crate) phase: Option<Phase>,
    /// Only of this queue
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) queue: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: Shape,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// Follow a job to its end.
///
/// The exit code is the job's: 0 done, 1 failed, 130 interrupted; an interrupt leaves the job as it is.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Name of the job
    #[arg(value_parser = job_name)]
    pub(crate) job: String,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// Ask for the end of jobs. One that has ended stays as it is.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Names of jobs
    #[arg(required = true, value_name = "JOB", value_parser = job_name)]
    pub(crate) jobs: Vec<String>,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// Form of the output
    #[arg(short, long, default_value = "name")]
    pub(crate) output: Shape,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// End and forget jobs, with their results and logs.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Names of jobs
    #[arg(required = true, value_name = "JOB", value_parser = job_name)]
    pub(crate) jobs: Vec<String>,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// Print a job's result: the bytes that its function wrote, and nothing else.
///
/// On a terminal, what could steer it is left out.
#[derive(Debug, Args)]
pub(crate) struct ResultOf {
    /// Name of the job
    #[arg(value_parser = job_name)]
    pub(crate) job: String,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// Write the result to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// Print what a job's function says on stdout and stderr, without what could steer a terminal.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Name of the job
    #[arg(value_parser = job_name)]
    pub(crate) job: String,
    /// Go on until the job has ended; when it is deleted instead, that is an error
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only the end of it, in bytes [default: 1 MiB, the most]
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, hide_default_value = true, value_parser = clap::value_parser!(u64).range(..=1 << 20))]
    pub(crate) tail: u64,
    /// The bytes as they are, but on a terminal
    #[arg(long)]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// Tell where a job's time went, and what it waits for now.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Name of the job
    #[arg(value_parser = job_name)]
    pub(crate) job: String,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: Shape,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// Show what may run.
#[derive(Debug, Args)]
pub(crate) struct Functions {
    /// Only these [default: all]
    #[arg(value_name = "FUNCTION", value_parser = name)]
    pub(crate) names: Vec<String>,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: Shape,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// Show quotas of CPUs, and how much of them is in use.
#[derive(Debug, Args)]
pub(crate) struct Queues {
    /// Only these [default: all]
    #[arg(value_name = "QUEUE", value_parser = name)]
    pub(crate) names: Vec<String>,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: Shape,
    #[command(flatten)]
    pub(crate) place: Where,
}

/// Print a shell's completion script.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  windlass completion bash > /etc/bash_completion.d/windlass
  windlass completion zsh > \"${fpath[1]}/_windlass\"
  windlass completion fish > ~/.config/fish/completions/windlass.fish")]
pub(crate) struct Completion {
    /// The shell
    pub(crate) shell: Shell,
}

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
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
    /// A function without a manifest, such as count="python3 count.py": its name, and the program with
    /// its arguments, quoted as for a shell but run without one, in this directory; may be repeated
    #[arg(long = "function", value_name = "NAME=PROGRAM ARGS")]
    pub(crate) define: Vec<Definition>,
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
    /// Other replicas of this gateway, which are told of progress: a name with all their addresses
    #[arg(long, env = "WINDLASS_PEERS", value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
    /// File with the token that they accept, of the audience `windlass-gateway`
    #[arg(long, env = "WINDLASS_PEER_TOKEN", value_name = "FILE")]
    pub(crate) peer_token: Option<PathBuf>,
    /// This replica's own address among them
    #[arg(long, env = "WINDLASS_OWN_ADDRESS", value_name = "ADDRESS")]
    pub(crate) own_address: Option<IpAddr>,
    /// Certificate authorities of the other replicas (PEM), with TLS: of several files the first that is
    /// there and not empty, read again when it changes
    #[arg(
        long,
        env = "WINDLASS_PEER_CA",
        value_name = "FILE",
        value_delimiter = ',',
        requires = "peer_host"
    )]
    pub(crate) peer_ca: Vec<PathBuf>,
    /// Name that the certificates of all replicas are for
    #[arg(long, env = "WINDLASS_PEER_HOST", value_name = "NAME", requires = "peer_ca")]
    pub(crate) peer_host: Option<String>,
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
    /// Certificate authorities of that URL (PEM) when it is https, which workers are told: of several
    /// files the first that is there and not empty, read again when it changes; 16 KiB at most
    #[arg(long, env = "WINDLASS_REPORT_CA", value_name = "FILE", value_delimiter = ',')]
    pub(crate) report_ca: Vec<PathBuf>,
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

/// Form of what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// For people
    Table,
    /// The same with more columns
    Wide,
    /// The objects as kubectl shows them, in JSON
    Json,
    /// The same in YAML
    Yaml,
    /// Their names, for other commands
    Name,
}

/// Print what is installed on a cluster, and what the REST API is.
#[derive(Debug, Subcommand)]
pub(crate) enum Print {
    /// The OpenAPI document of the REST API, as JSON; every server gives it at /openapi.json
    Openapi,
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

/// A name of an object.
fn name(text: &str) -> Result<String, String> {
    match windlass_core::name::problem(text) {
        Some(why) => Err(format!("{text:?} {why}")),
        None => Ok(text.to_owned()),
    }
}

/// A name of a job, alone or as `-o name` and kubectl write it.
fn job_name(text: &str) -> Result<String, String> {
    let alone = match text.split_once('/') {
        Some(("computejob.windlass.dev" | "computejob" | "computejobs" | "cjob", alone)) => alone,
        _ => text,
    };
    name(alone)
}

/// A phase, in any case of its letters.
fn phase(text: &str) -> Result<Phase, String> {
    let known = Phase::ALL.into_iter().find(|phase| phase.as_str().eq_ignore_ascii_case(text));
    let words = Phase::ALL.map(Phase::as_str).join(", ");
    known.ok_or_else(|| format!("there is no such phase; there are: {words}"))
}

/// Whether this program was started as `kubectl windlass`: kubectl runs the program of that name.
/// Then the cluster of the kube context is meant, always.
pub(crate) fn is_kubectl_plugin() -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|program| Path::new(&program).file_stem() == Some("kubectl-windlass".as_ref()))
}

/// The whole command line; for kubectl under the name that its users type, and without what it never
/// asks.
pub(crate) fn command(plugin: bool) -> clap::Command {
    let command = Cli::command();
    if !plugin {
        return command;
    }
    command.name("kubectl windlass").bin_name("kubectl windlass").mut_subcommands(|command| {
        ["server", "ca", "data"].into_iter().fold(command, |command, id| {
            let has_it = command.get_arguments().any(|argument| argument.get_id() == id);
            if has_it { command.mut_arg(id, |argument| argument.hide(true)) } else { command }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command(false).debug_assert();
        command(true).debug_assert();
        Started::command().debug_assert();
    }

    #[test]
    fn a_job_may_be_named_as_kubectl_does() {
        for text in ["price-1", "cjob/price-1", "computejob.windlass.dev/price-1"] {
            assert_eq!(job_name(text).as_deref(), Ok("price-1"));
        }
        for text in ["", "pod/price-1", "Price", "cjob/", "a/b/c"] {
            assert!(job_name(text).is_err(), "{text}");
        }
    }
}
