//! What an earlier server, or a worker that was killed, has left running: found and ended.
//!
//! Three marks tell that a process belongs to an attempt. It holds the attempt's lock file, which
//! every descendant inherits that does not close it. Its environment, as it was started, names the
//! attempt's directory. Or it is in a control group of ours, which [`confine`](crate::confine) looks
//! after. Numbers of processes are never trusted by themselves: a process is pinned by a descriptor,
//! looked at again, and only then killed.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use windlass_core::contract;

/// Name of the file that whoever belongs to an attempt holds a lock on.
pub(crate) const LOCK: &str = "lock";

/// The environment variable that names a worker's directory, for a worker that has no function yet.
pub(crate) const HOME: &str = "WINDLASS_ATTEMPT_HOME";

/// First and longest pause between two looks.
const PAUSES: [Duration; 2] = [Duration::from_micros(500), Duration::from_millis(20)];

/// Ends every process that belongs to an attempt under `directory` (its own, or that of all), and
/// returns how many there were. An error when some are still there after `patience`.
pub(crate) fn end(directory: &Path, patience: Duration) -> io::Result<usize> {
    let started = Instant::now();
    let mut pause = PAUSES[0];
    let mut ended = 0;
    loop {
        let found = find(directory)?;
        if found.is_empty() {
            return Ok(ended);
        }
        if started.elapsed() > patience {
            let list: Vec<_> = found.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
            let list = list.join(", ");
            return Err(io::Error::other(format!("processes {list} cannot be ended")));
        }
        for pid in found {
            ended += usize::from(kill(pid, directory));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSES[1]);
    }
}

/// Whether somebody still holds the lock of this attempt directory.
pub(crate) fn is_lock_held(home: &Path) -> io::Result<bool> {
    let file = match File::open(home.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Kills a process that was found, if it still is what it was.
fn kill(pid: Pid, directory: &Path) -> bool {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    belongs(pid, directory) && pidfd_send_signal(&process, Signal::KILL).is_ok()
}

fn find(directory: &Path) -> io::Result<Vec<Pid>> {
    let own = rustix::process::getpid();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = number.and_then(Pid::from_raw)
            && pid != own
            && belongs(pid, directory)
        {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Whether a process has one of the marks. One that cannot be looked at is another user's.
fn belongs(pid: Pid, directory: &Path) -> bool {
    let proc = format!("/proc/{}", pid.as_raw_nonzero());
    // A dead one has no environment and no files left, and holds nothing.
    let environment = fs::read(format!("{proc}/environ")).unwrap_or_default();
    let marked = environment.split(|&byte| byte == 0).any(|variable| {
        let Some(at) = variable.iter().position(|&byte| byte == b'=') else { return false };
        let (name, value) = (&variable[..at], &variable[at + 1..]);
        let names = [HOME, contract::OUTPUT, contract::SERVE];
        names.iter().any(|known| name == known.as_bytes()) && is_below(value, directory)
    });
    marked || holds_lock(&proc, directory)
}

fn holds_lock(proc: &str, directory: &Path) -> bool {
    let files = fs::read_dir(format!("{proc}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| {
        // A file that was deleted is shown with a word after it.
        let target = target.as_os_str().as_bytes();
        let target = target.strip_suffix(b" (deleted)").unwrap_or(target);
        target.ends_with(b"/lock") && is_below(target, directory)
    })
}

fn is_below(path: &[u8], directory: &Path) -> bool {
    path.strip_prefix(directory.as_os_str().as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn start(command: &mut Command) -> Child {
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn is_alive(child: &mut Child) -> bool {
        child.try_wait().unwrap().is_none()
    }

    #[test]
    fn processes_are_known_by_environment_or_lock_and_others_are_left_alone() {
        let data = tempfile::tempdir().unwrap();
        let attempts = data.path().join("attempts");
        let home = attempts.join("1");
        fs::create_dir_all(&home).unwrap();
        let lock = File::create(home.join(LOCK)).unwrap();
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
        let mut by_environment = start(
            Command::new("setsid")
                .args(["sleep", "60"])
                .env(contract::OUTPUT, home.join("work/output")),
        );
        let held = Stdio::from(lock.try_clone().unwrap());
        let mut by_lock = start(Command::new("sleep").arg("60").env_clear().stdin(held));
        drop(lock);
        // A name that begins alike, a mention in another variable, an open file that is no lock.
        let beside = data.path().join("attempts-of-another/1");
        let other = File::create(home.join("input")).unwrap();
        let mut stranger = start(
            Command::new("sleep")
                .arg("60")
                .env(contract::OUTPUT, beside)
                .env("OLDPWD", &home)
                .stdin(Stdio::from(other)),
        );
        assert!(is_lock_held(&home).unwrap());
        // Exec takes a moment; until then the environment is ours.
        while fs::read(format!("/proc/{}/environ", by_environment.id()))
            .unwrap_or_default()
            .is_empty()
        {
            std::thread::yield_now();
        }
        let reaper =
            std::thread::spawn(move || (by_environment.wait().unwrap(), by_lock.wait().unwrap()));
        end(&attempts, Duration::from_secs(10)).unwrap();
        let (first, second) = reaper.join().unwrap();
        assert!(!first.success() && !second.success());
        assert!(!is_lock_held(&home).unwrap());
        assert!(is_alive(&mut stranger));
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
