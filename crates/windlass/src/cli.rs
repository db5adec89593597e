//! The command line: which commands there are. The flags of each are beside it, in `commands/`.

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands::backup::{Backup, Restore};
use crate::commands::blobs::Blobs;
use crate::commands::call::Call;
use crate::commands::cancel::Cancel;
use crate::commands::completion::Completion;
use crate::commands::config::ConfigCommand;
use crate::commands::controller::ControllerArgs;
use crate::commands::dashboard::Dashboard;
use crate::commands::delete::Delete;
use crate::commands::drain::Drain;
use crate::commands::explain::Explain;
use crate::commands::function::Function;
use crate::commands::functions::Functions;
use crate::commands::gateway::GatewayArgs;
use crate::commands::get::Get;
use crate::commands::keys::Keys;
use crate::commands::lambda::Lambda;
use crate::commands::list::List;
use crate::commands::logs::Logs;
use crate::commands::man::Man;
use crate::commands::print::Print;
use crate::commands::queues::Queues;
use crate::commands::result::ResultOf;
use crate::commands::retry::Retry;
use crate::commands::run::Run;
use crate::commands::serve::Serve;
use crate::commands::submit::Submit;
use crate::commands::top::Top;
use crate::commands::watch::Watch;
use crate::commands::worker::Worker;
use crate::flags::backend::OnBackend;

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
    Call(OnBackend<Call>),
    /// Submit a job
    Submit(OnBackend<Submit>),
    /// Show jobs by their names
    Get(OnBackend<Get>),
    /// List jobs
    List(OnBackend<List>),
    /// Follow a job to its end
    Watch(OnBackend<Watch>),
    /// Ask for the end of jobs
    Cancel(OnBackend<Cancel>),
    /// End and forget jobs, with their results
    Delete(OnBackend<Delete>),
    /// Submit the same job again
    Retry(OnBackend<Retry>),
    /// Print a job's result
    Result(OnBackend<ResultOf>),
    /// Print what a job's function says
    Logs(OnBackend<Logs>),
    /// Tell where a job's time went, and what it waits for now
    Explain(OnBackend<Explain>),
    /// Show jobs on this terminal, live
    Top(OnBackend<Top>),
    /// Show a server's jobs in a browser
    Dashboard(OnBackend<Dashboard>),
    /// Send inputs and files before the jobs that name them
    #[command(subcommand)]
    Blobs(Blobs),
    /// Show what may run, and what a manifest means
    Functions(Functions),
    /// Show quotas of CPUs, hold and resume them
    Queues(Queues),
    /// Answer the REST API on this machine
    Serve(Serve),
    /// Check the configuration file of `windlass serve`, or print one
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Have a server take nothing new, let run what runs, and end
    Drain(OnBackend<Drain>),
    /// Answer the REST API of a cluster, and its workers' reports
    Gateway(GatewayArgs),
    /// Turn the ComputeJobs of a cluster into batch Jobs
    Controller(ControllerArgs),
    /// Give other services keys of their own to the server on this machine, or take them back
    #[command(subcommand)]
    Keys(Keys),
    /// Write the jobs, results, logs and keys of the server on this machine into one file
    Backup(Backup),
    /// Make a data directory of a backup, for a server that is started on it
    Restore(Restore),
    /// Print what is installed on a cluster, and what the REST API is
    #[command(subcommand)]
    Print(Print),
    /// Print a shell's completion script
    Completion(Completion),
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man(Man),
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
    /// Run a program for the AWS Lambda runtime API (started by a worker)
    Lambda(Lambda),
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
}
