//! `windlass completion`: a shell's completion script.

use std::process::ExitCode;

use clap_complete::{Shell as Complete, generate};

use crate::cli::{self, Shell};
use crate::show;

pub(crate) fn completion(shell: Shell) -> anyhow::Result<ExitCode> {
    let plugin = cli::is_kubectl_plugin();
    let shell = match shell {
        Shell::Bash => Complete::Bash,
        Shell::Zsh => Complete::Zsh,
        Shell::Fish => Complete::Fish,
    };
    let name = if plugin { "kubectl-windlass" } else { "windlass" };
    let mut script = Vec::new();
    generate(shell, &mut cli::command(plugin), name, &mut script);
    show::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
