//! What both versions of control groups have in common: files, processes, ends.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, kill_process};

/// How long killed processes may take to be gone. Those that wait for a disk take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// First and longest pause before a group is looked at again.
const PAUSES: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(5)];

/// Most processes and threads of one attempt, with those of its worker: more than a function needs for
/// its CPUs, and far less than fills the table of the machine.
pub(super) const MAX_TASKS: u32 = 4_096;

/// Writes a file that is there, at once. The error names it.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).truncate(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| named(path, error))
}

/// Reads a file. The error names it.
pub(super) fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map_err(|error| named(path, error))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Makes a group, unless it is there.
pub(super) fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(|error| named(group, error)),
    }
}

/// Limits the processes and threads of a group, in either version.
pub(super) fn limit_tasks(group: &Path) -> io::Result<()> {
    write(&group.join("pids.max"), &MAX_TASKS.to_string())
}

/// A process may be moved there.
pub(super) fn check_joinable(file: &Path) -> io::Result<()> {
    access(file, Access::WRITE_OK).map_err(|error| named(file, error.into()))
}

/// The groups directly below.
fn below(group: &Path) -> io::Result<Vec<PathBuf>> {
    // Two links and one for each directory: most groups need not be read.
    if fs::metadata(group)?.nlink() == 2 {
        return Ok(Vec::new());
    }
    let mut groups = Vec::new();
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            groups.push(entry.path());
        }
    }
    Ok(groups)
}

/// A group and all below it, the lowest first. What ends meanwhile is left out.
fn tree(group: &Path) -> io::Result<Vec<PathBuf>> {
    let mut groups = Vec::new();
    for child in unless_gone(below(group))?.unwrap_or_default() {
        groups.extend(tree(&child)?);
    }
    groups.push(group.to_owned());
    Ok(groups)
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // A file of a group that goes while it is open.
        Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The processes of a group and of those below it.
pub(super) fn processes(group: &Path) -> io::Result<Vec<Pid>> {
    let mut all = Vec::new();
    for group in tree(group)? {
        let path = group.join("cgroup.procs");
        let text = unless_gone(fs::read_to_string(&path)).map_err(|error| named(&path, error))?;
        // The kernel lists processes of other PID namespaces as 0.
        let text = text.unwrap_or_default();
        all.extend(text.lines().filter_map(|pid| Pid::from_raw(pid.trim().parse().ok()?)));
    }
    Ok(all)
}

/// Kills everything in a group and below it, and returns when nothing is left.
pub(super) fn kill(group: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let [mut pause, longest] = PAUSES;
    loop {
        let left = processes(group)?;
        if left.is_empty() {
            // Whoever joins it next is not to be frozen.
            return thaw(group);
        }
        if left.contains(&getpid()) {
            return Err(io::Error::other(format!("{}: this server is in it", group.display())));
        }
        if Instant::now() > deadline {
            let what = format!("{}: {} processes do not end", group.display(), left.len());
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        // As one step, where the kernel can: what forks meanwhile is killed as well.
        let killed = write(&group.join("cgroup.kill"), "1").or_else(|_| kill_each(group));
        thaw(group).and(killed)?;
        sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

/// Kills each process by itself. A freezer keeps them from forking until [`thaw`]; without one the next
/// round of [`kill`] finds what was forked.
fn kill_each(group: &Path) -> io::Result<()> {
    // Only a freezer group has that file.
    write(&group.join("freezer.state"), "FROZEN").unwrap_or_default();
    for process in processes(group)? {
        // It may have ended meanwhile.
        kill_process(process, Signal::KILL).unwrap_or_default();
    }
    Ok(())
}

/// Lets everything in a group and below it run: what is frozen does not die. Somebody may have frozen
/// a group below, too.
pub(super) fn thaw(group: &Path) -> io::Result<()> {
    for group in tree(group)?.iter().rev() {
        // The files of version 1, which only a freezer group has, and of version 2.
        for (file, running) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
            unless_gone(write(&group.join(file), running))?;
        }
    }
    Ok(())
}

/// Removes a group and those below it, in which nothing runs.
pub(super) fn remove(group: &Path) -> io::Result<()> {
    for group in tree(group)? {
        let deadline = Instant::now() + PATIENCE;
        let [mut pause, longest] = PAUSES;
        // The last process may be on its way out.
        while let Err(error) = unless_gone(fs::remove_dir(&group)) {
            let busy = error.kind() == io::ErrorKind::ResourceBusy;
            if !busy || Instant::now() > deadline || !processes(&group)?.is_empty() {
                return Err(named(&group, error));
            }
            sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }
    Ok(())
}

/// Ends what runs in the groups below this one, and removes them and it. `keep` is left alone, and
/// then so is what it is in. Every group is tried; the first error is returned.
pub(super) fn end(root: &Path, keep: Option<&Path>) -> io::Result<()> {
    let mut first = Ok(());
    for group in unless_gone(below(root))?.unwrap_or_default() {
        if Some(group.as_path()) != keep {
            first = first.and(kill(&group).and_then(|()| remove(&group)));
        }
    }
    if keep.is_some_and(Path::exists) {
        return first;
    }
    first.and_then(|()| kill(root)).and_then(|()| remove(root))
}

/// All groups of this name, wherever they are: an earlier server may have been in another group.
pub(super) fn find(mount: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut unread = vec![mount.to_owned()];
    while let Some(group) = unread.pop() {
        // What cannot be read is not ours.
        for child in below(&group).unwrap_or_default() {
            match child.file_name().is_some_and(|child| child == name) {
                true => found.push(child),
                false => unread.push(child),
            }
        }
    }
    found
}
