//! The variables that Lambda sets for a program.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::process::Command;
use windlass_contract as contract;

/// The name of the function: what its manifest sets, for nothing else tells it.
fn name() -> String {
    env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "function".into())
}

fn region() -> String {
    env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".into())
}

/// The name in AWS's form. The account is none.
pub(crate) fn arn() -> String {
    format!("arn:aws:lambda:{}:000000000000:function:{}", region(), name())
}

/// The directory of the function's code, if there is one.
fn task_root() -> PathBuf {
    env::var_os("LAMBDA_TASK_ROOT").map_or_else(|| "/var/task".into(), PathBuf::from)
}

/// Sets the variables; those of the worker's contract are for the adapter alone.
pub(crate) fn set(command: &mut Command, api: SocketAddr) {
    for variable in [
        contract::SERVE,
        contract::INPUT,
        contract::OUTPUT,
        contract::PROGRESS,
        contract::PARALLELISM,
        contract::DEADLINE,
        contract::JOB,
        contract::ATTEMPT,
    ] {
        command.env_remove(variable);
    }
    command.env("AWS_LAMBDA_RUNTIME_API", api.to_string());
    let name = name();
    for (variable, value) in [
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory_mebibytes().to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}")),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "windlass".to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", name),
        ("AWS_REGION", region()),
        ("AWS_DEFAULT_REGION", region()),
        ("LAMBDA_TASK_ROOT", "/var/task".to_owned()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
    ] {
        if env::var_os(variable).is_none() {
            command.env(variable, value);
        }
    }
    let root = task_root();
    if root.is_dir() {
        command.current_dir(root);
    }
}

/// The memory of the control group, or else of the machine.
fn memory_mebibytes() -> u64 {
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|limit| limit.trim().parse::<u64>().ok());
    limit.unwrap_or_else(|| {
        let machine = rustix::system::sysinfo();
        machine.totalram * u64::from(machine.mem_unit)
    }) >> 20
}
