//! `windlass completion`: a shell's completion script.

use clap::{Args, ValueEnum};
use std::process::ExitCode;

use clap_complete::{Shell as Complete, generate};

use crate::flags::kubectl_plugin::is_kubectl_plugin;
use crate::output::objects;

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

/// `command_line` is the whole of it, as users of this program type it.
pub(crate) fn completion(
    args: &Completion,
    mut command_line: clap::Command,
) -> anyhow::Result<ExitCode> {
    let shell = match args.shell {
        Shell::Bash => Complete::Bash,
        Shell::Zsh => Complete::Zsh,
        Shell::Fish => Complete::Fish,
    };
    let name = if is_kubectl_plugin() { "kubectl-windlass" } else { "windlass" };
    let mut script = Vec::new();
    generate(shell, &mut command_line, name, &mut script);
    objects::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
