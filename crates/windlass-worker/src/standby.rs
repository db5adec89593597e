//! A worker that waits in a pod until that becomes an attempt. Its function is started meanwhile, and serves one job.
//!
//! The gateway tells which attempt it is. The function begins once the container has the CPUs of the attempt: the cluster
//! resizes it meanwhile.

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use windlass_core::Cpus;
use windlass_core::assignment::{
    Order, Preparation, Program, ReportTo, STANDBY, StandbyAssignment, StandbyOrder, check_version,
    read_told,
};

use crate::Error;
use crate::orders::why;
use crate::report::wait_for_assignment;
use crate::run_attempt::{FAILED, STOPPED, run_attempt};
use crate::running::{Warm, wait_warm};
use crate::serving::ServingEnd;
use crate::signals::Signals;
use crate::stdio::log_line;
use crate::stop;

/// How long a resize may take. One that takes longer is not coming soon.
const RESIZE: Duration = Duration::from_secs(5);
/// How often is looked whether it has come.
const LOOK: Duration = Duration::from_millis(5);
/// How long a function that is to begin may take to say that it serves, before it is taken for one that does.
const INITIALIZED: Duration = Duration::from_secs(1);

/// Waits, and carries out the one order. Returns the worker's exit code.
pub(crate) async fn wait_and_run(
    command: &[String],
    signals: &mut Signals,
    grace: Duration,
) -> Result<u8, Error> {
    let text = std::env::var(STANDBY).map_err(|_| Error::NoOrder)?;
    let StandbyOrder { report, input, work, keep_log_bytes, .. } =
        read_told(&text).map_err(|why| Error::Told(STANDBY, why))?;
    let command = command.to_vec();
    let program = Program { command, env: Vec::new(), directory: None, hidden: None, run_as: None };
    // It is there before the function starts, and gets its content later.
    fs::write(&input, "")?;
    fs::create_dir_all(&work)?;
    let preparation = Preparation {
        program: program.clone(),
        confinement: None,
        input: input.clone(),
        work,
        has_logs: keep_log_bytes.is_some(),
    };
    let mut warm = Some(Warm::prepare(&preparation)?);
    let told = match wait(&report, &mut warm, signals, grace).await? {
        ControlFlow::Continue(told) => told,
        ControlFlow::Break(code) => return Ok(code),
    };
    check_version(told.assignment.version).map_err(|why| Error::Told("its assignment", why))?;
    fs::write(&input, &told.input)?;
    wait_for_cpus(told.assignment.parallelism).await?;
    let order = Order { assignment: told.assignment, program, serves: warm.is_some() };
    let end = run_attempt(&order, warm, signals, grace).await?;
    if let Some(mut waiting) = end.waits {
        waiting.function.stop(grace).await?;
    }
    Ok(end.code)
}

/// Waits until it is told what to do, or has to exit with a code. A function that ends before it is ready may not serve:
/// it runs once, when there is a job.
async fn wait(
    report: &ReportTo,
    warm: &mut Option<Warm>,
    signals: &mut Signals,
    grace: Duration,
) -> io::Result<ControlFlow<u8, StandbyAssignment>> {
    let mut asked = pin!(wait_for_assignment(report));
    let mut told = None;
    let mut deadline = Instant::now();
    loop {
        let is_decided = warm.as_ref().is_none_or(|waiting| waiting.function.is_ready());
        if let Some(told) = told.take_if(|_| is_decided || Instant::now() >= deadline) {
            return Ok(ControlFlow::Continue(told));
        }
        tokio::select! {
            biased;
            stop = signals.stop.recv() => {
                stop?;
                if let Some(mut waiting) = warm.take() {
                    waiting.function.stop(grace).await?;
                }
                return Ok(ControlFlow::Break(STOPPED));
            }
            answer = &mut asked, if told.is_none() => {
                told = Some(answer?);
                deadline = Instant::now() + INITIALIZED;
            }
            () = sleep_until(deadline), if told.is_some() => {}
            end = wait_warm(warm) => if let Some(end) = end?
                && let Some(waiting) = warm.take()
                && let Some(code) = gone(&end, waiting, grace).await?
            {
                return Ok(ControlFlow::Break(code));
            },
            _ = signals.children.recv() => {
                if let Some(waiting) = warm {
                    stop::reap_orphans(waiting.function.group());
                }
            }
        }
    }
}

/// Clears away what a function has left that has ended while it waited. The worker's exit code, if it did serve: then
/// another pod is to take the place of this one.
async fn gone(end: &ServingEnd, mut waiting: Warm, grace: Duration) -> io::Result<Option<u8>> {
    let (why, words) = (why(end), waiting.function.last_words());
    log_line(&format!("windlass worker: the function has gone: {why}\n{words}"));
    waiting.function.stop(grace).await?;
    waiting.function.clear()?;
    Ok(waiting.function.is_ready().then_some(FAILED))
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
