//! A worker that waits in a pod until that becomes an attempt. Its function is started meanwhile, and serves one job.
//!
//! The gateway tells which attempt it is. The function begins once the container has the CPUs of the attempt: the cluster
//! resizes it meanwhile.

use std::fs;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::Cpus;
use windlass_core::assignment::{Order, Preparation, Program, STANDBY, StandbyOrder};

use crate::Error;
use crate::orders::why;
use crate::output::log_line;
use crate::report::wait_for_assignment;
use crate::running::Warm;
use crate::stop;
use crate::supervise::{STOPPED, Signals, supervise};

/// How long a resize may take. One that takes longer is not coming soon.
const RESIZE: Duration = Duration::from_secs(5);
/// How often is looked whether it has come.
const LOOK: Duration = Duration::from_millis(5);

/// Waits, and carries out the one order. Returns the worker's exit code.
pub(crate) async fn wait_and_run(
    command: &[String],
    signals: &mut Signals,
    grace: Duration,
) -> Result<u8, Error> {
    let text = std::env::var(STANDBY).map_err(|_| Error::NoOrder)?;
    let StandbyOrder { report, input, work } = serde_json::from_str(&text)?;
    let command = command.to_vec();
    let program = Program { command, env: Vec::new(), directory: None, hidden: None, run_as: None };
    // It is there before the function starts, and gets its content later.
    fs::write(&input, "")?;
    let preparation = Preparation {
        program: program.clone(),
        confinement: None,
        input: input.clone(),
        work,
        has_logs: false,
    };
    let mut warm = Warm::prepare(&preparation)?;
    let mut told = std::pin::pin!(wait_for_assignment(&report));
    let told = loop {
        tokio::select! {
            biased;
            stop = signals.stop.recv() => {
                stop?;
                warm.function.stop(grace).await?;
                return Ok(STOPPED);
            }
            told = &mut told => break told?,
            end = warm.function.wait() => if let Some(end) = end? {
                let words = warm.function.last_words();
                let why = why(&end);
                log_line(&format!("windlass worker: the function has gone: {why}\n{words}"));
                warm.function.stop(grace).await?;
                return Ok(1);
            },
            _ = signals.children.recv() => stop::reap_orphans(warm.function.group()),
        }
    };
    fs::write(&input, &told.input)?;
    wait_for_cpus(told.assignment.parallelism).await?;
    let order = Order { assignment: told.assignment, program, serves: true };
    let end = supervise(&order, Some(warm), signals, grace).await?;
    if let Some((mut waiting, _)) = end.waits {
        waiting.function.stop(grace).await?;
    }
    Ok(end.code)
}

/// Waits until this container may use so many CPUs.
async fn wait_for_cpus(cpus: Cpus) -> io::Result<()> {
    let deadline = Instant::now() + RESIZE;
    while quota().is_some_and(|quota| (quota - f64::from(cpus)).abs() > 0.01) {
        if Instant::now() >= deadline {
            return Err(io::Error::other(format!("the pod was not resized to {cpus} CPUs")));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// The CPUs that this container may use, where its control group can be read.
fn quota() -> Option<f64> {
    const ROOT: &str = "/sys/fs/cgroup";
    let read = |file: &str| fs::read_to_string(format!("{ROOT}/{file}")).ok();
    match read("cpu.max") {
        Some(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            ratio(quota, period)
        }
        None => ratio(&read("cpu/cpu.cfs_quota_us")?, &read("cpu/cpu.cfs_period_us")?),
    }
}

fn ratio(quota: &str, period: &str) -> Option<f64> {
    let quota: f64 = quota.trim().parse().ok()?;
    let period: f64 = period.trim().parse().ok()?;
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_number_of_cpus_or_none() {
        assert_eq!(ratio("150000", "100000\n"), Some(1.5));
        assert_eq!(ratio("max", "100000"), None);
        assert_eq!(ratio("-1\n", "100000"), None);
    }
}
