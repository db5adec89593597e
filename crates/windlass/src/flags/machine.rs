//! Flags of every engine on one machine.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use windlass_core::assignment::RunAs;

use super::function::FunctionFlag;
use super::function_user::function_user;

/// What every engine on one machine is told.
#[derive(Debug, Args)]
pub(crate) struct MachineFlags {
    /// A function without a manifest, such as count="python3 count.py": its name, and the program with
    /// its arguments, quoted as for a shell but run without one, in this directory; may be repeated
    #[arg(long = "function", value_name = "NAME=PROGRAM ARGS")]
    pub(crate) define: Vec<FunctionFlag>,
    /// A variable of this environment that the functions of --function get; may be repeated. A manifest
    /// says `passEnv`
    #[arg(long, value_name = "NAME", requires = "define")]
    pub(crate) pass_env: Vec<String>,
    /// ComputeFunction and ComputeQueue manifests: a file or a directory; may be repeated
    #[arg(long, value_name = "FILE|DIR")]
    pub(crate) functions: Vec<PathBuf>,
    /// CPUs to grant [default: what affinity and quota allow]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) cpus: Option<u32>,
    /// Whether functions are kept out of the data directory by the kernel's Landlock: `auto` where it
    /// can do that, `on` to refuse to start where it cannot, `off` never
    #[arg(long, value_name = "auto|on|off", default_value = "auto", hide_possible_values = true)]
    pub(crate) landlock: Landlock,
    /// The user that functions run as, by name or number: UID, UID:GID. Only root can do that
    /// [default: the user of this process]
    #[arg(long, value_name = "USER", value_parser = function_user)]
    pub(crate) function_user: Option<RunAs>,
}

/// When functions are kept out of the data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Landlock {
    #[default]
    Auto,
    On,
    Off,
}
