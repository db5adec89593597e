//! Starting a function's program beside any attempt, to see whether it could start.
//!
//! It sees what an attempt would see: the same directory, user and fence, and of this process's environment
//! only what is kept.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use tokio::process::Command;
use windlass_core::assignment::Program;

use crate::function;

/// The process, yet to be started, with `work` as its directory for files. Its standard error is a pipe.
pub fn dry_run(
    program: &Program,
    work: &Path,
    search_path: OsString,
    kept: &[&str],
) -> io::Result<Command> {
    let mut process = function::command(program, work, work)?;
    let set: Vec<OsString> = process.as_std().get_envs().map(|(name, _)| name.to_owned()).collect();
    let is_kept =
        |name: &OsStr| kept.iter().any(|kept| name == *kept) || set.iter().any(|own| own == name);
    for (name, _) in std::env::vars_os().filter(|(name, _)| !is_kept(name)) {
        process.env_remove(name);
    }
    if !set.iter().any(|name| name == "PATH") {
        process.env("PATH", search_path);
    }
    Ok(process)
}
