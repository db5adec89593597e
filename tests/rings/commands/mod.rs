//! The commands that ask a server or a cluster, as a user would type them.
//!
//! - [`lifecycle`]: a job from its submission to its deletion, command by command;
//! - [`listing`]: which jobs are listed in which order, and which can still be cancelled;
//! - [`drain`]: a server that is drained for an upgrade;
//! - [`backup`]: a backup of a server, and a data directory that is made of one;
//! - [`exit_codes`]: done, failed, misused and interrupted;
//! - [`advice`]: an error says what to do next;
//! - [`checks`]: functions that cannot be imported are told when the server starts;
//! - [`logs`]: a log that is followed ends with an error when its job or its key is gone;
//! - [`terminal`]: colours, bars, and bytes that would steer a terminal;
//! - [`top`]: jobs on a terminal, live;
//! - [`inputs`]: inputs of other types, large ones, and files;
//! - [`kubectl`]: `kubectl windlass`, and the cluster of the kube context;
//! - [`completion`]: completion scripts of shells;
//! - [`config`]: the configuration file of `windlass serve`.

mod advice;
mod backup;
mod check_functions;
mod checks;
mod completion;
mod config;
mod drain;
mod exit_codes;
mod inputs;
mod kubectl;
mod labels;
mod lifecycle;
mod listing;
mod logs;
mod terminal;
mod top;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::server::Server;
use crate::support::{checkout, script, text, windlass};

/// A program in an environment that names neither a server nor a cluster.
fn without_settings(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(checkout()).env("HOME", "/nonexistent").stdin(Stdio::null());
    for name in [
        "KUBECONFIG",
        "KUBERNETES_SERVICE_HOST",
        "WINDLASS_SERVER",
        "WINDLASS_TOKEN",
        "WINDLASS_TOKEN_FILE",
        "XDG_DATA_HOME",
        "NO_COLOR",
        "CLICOLOR_FORCE",
    ] {
        command.env_remove(name);
    }
    command
}

/// The windlass program in an environment that names this server.
fn windlass_with(server: &Server) -> Command {
    let mut command = without_settings(&windlass());
    command
        .env("WINDLASS_SERVER", format!("http://{}", server.client.address))
        .env("WINDLASS_TOKEN", &server.client.token);
    command
}

/// Runs a command against this server.
fn run_windlass(server: &Server, arguments: &[&str]) -> Output {
    windlass_with(server).args(arguments).output().unwrap()
}

/// What a command prints. It must succeed.
fn stdout_of(server: &Server, arguments: &[&str]) -> String {
    let output = run_windlass(server, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A key of this server that may do only this with jobs.
fn key_of(server: &Server, verbs: &str) -> String {
    let data = server.data().to_str().unwrap();
    let key = ["keys", "create", "key", "--verbs", verbs, "--data", data];
    stdout_of(server, &key).trim().to_owned()
}

/// A server with functions that are scripts in this directory.
fn server_of(here: &Path, scripts: &[(&str, &str)]) -> Server {
    for (name, body) in scripts {
        script(here, name, body, "retries: 0");
    }
    Server::start(&["--cpus", "2", "--functions", here.to_str().unwrap()])
}

/// A kubeconfig whose current context is the namespace `research` of this API server.
fn kubeconfig_of(url: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters: [{{name: here, cluster: {{server: '{url}'}}}}]\n\
         users: [{{name: me, user: {{}}}}]\n\
         contexts: [{{name: here, context: {{cluster: here, user: me, namespace: research}}}}]\n"
    )
}

/// A directory whose one function, `slow`, does this and is not tried again.
fn with_slow(body: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    script(directory.path(), "slow", body, "retries: 0");
    directory
}
