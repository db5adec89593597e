//! `windlass controller` as a process of this machine, with the rights of a kubeconfig.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

/// A running controller. It is killed with this value.
pub struct Controller {
    child: Child,
    log: PathBuf,
}

impl Controller {
    /// Starts one; what it says goes to the end of this file.
    pub fn start(kubeconfig: &Path, log: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = Command::new(windlass()?)
            // Nobody listens there: workers on kwok's nodes report by their termination messages alone.
            .args(["controller", "--report-url", "http://127.0.0.1:9/v1/reports"])
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .context("windlass controller")?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Resident memory, in MiB.
    pub fn memory_mib(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// Most resident memory so far, in MiB.
    pub fn most_memory_mib(&self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    /// CPU time so far.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(self.child.id())
    }

    /// The end of its log.
    pub fn said(&self) -> String {
        let all = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = all.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Fails with the end of its log when it has ended.
    pub fn must_be_running(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.is_running(), "the controller has ended: {}", self.said());
        Ok(())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it end as a kubelet would, and waits until it has.
    pub fn stop(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the controller ended with {status}: {}", self.said());
        Ok(())
    }

    /// Ends it as the kernel would.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn status(&self, field: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .with_context(|| format!("the controller has ended: {}", self.said()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no memory")?;
        let kib: f64 = line.split_whitespace().next().context("no memory")?.parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// CPU time of a process so far.
pub(crate) fn cpu_of(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("stat")?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum();
    // A tick is 10 ms on every Linux.
    Ok(Duration::from_millis(ticks * 10))
}

/// The windlass program that was built beside this one.
fn windlass() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    // target/TRIPLE/PROFILE/{deps/rings-HASH,examples/scale} -> target/TRIPLE/PROFILE/windlass
    let path = this.parent().and_then(Path::parent).context("no directory")?.join("windlass");
    anyhow::ensure!(path.is_file(), "{} is missing: cargo build --release", path.display());
    Ok(path)
}
