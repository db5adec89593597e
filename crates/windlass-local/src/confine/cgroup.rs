//! Control groups for attempts: made in advance of need and used again, because making one costs
//! more than starting a process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tracing::{info, warn};

/// How long the killed processes of a group may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// First and longest pause between two looks at a group.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(20)];

/// Largest limit that version 1 takes: above is none.
const UNLIMITED: u64 = i64::MAX.cast_unsigned();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// This server's groups.
#[derive(Debug)]
pub(super) struct Groups {
    version: Version,
    /// The directory of the memory groups; in version 2 of all.
    memory: PathBuf,
    /// The directory of the cpuset groups, where there are some.
    cpuset: Option<PathBuf>,
    made: u32,
    free: Vec<Slot>,
}

/// One group for one attempt at a time; in version 1 one for each resource.
#[derive(Debug)]
pub(super) struct Slot {
    version: Version,
    memory: PathBuf,
    cpuset: Option<PathBuf>,
    memory_bytes: Option<u64>,
    cpus: Vec<u32>,
}

impl Groups {
    /// Those of version 2, else of version 1; an error says why neither. What an earlier server of
    /// this name has left is ended and removed.
    pub(super) fn find(name: &str) -> Result<Self, String> {
        let found = version_two(name).or_else(|why_not_two| {
            version_one(name).map_err(|why_not_one| {
                format!("version 2: {why_not_two}; version 1: {why_not_one}")
            })
        })?;
        Ok(found)
    }

    pub(super) fn version(&self) -> &'static str {
        match self.version {
            Version::One => "v1",
            Version::Two => "v2",
        }
    }

    pub(super) fn has_cpuset(&self) -> bool {
        self.cpuset.is_some()
    }

    /// A group with these limits. No CPUs: any.
    pub(super) fn take(&mut self, cpus: &[u32], memory_bytes: u64) -> io::Result<Slot> {
        let same = |slot: &Slot| slot.memory_bytes == Some(memory_bytes) && slot.cpus == cpus;
        let index = self.free.iter().position(same).or(self.free.len().checked_sub(1));
        let mut slot = match index {
            Some(index) => self.free.swap_remove(index),
            None => self.make()?,
        };
        match slot.limit(cpus, memory_bytes) {
            Ok(()) => Ok(slot),
            Err(error) => {
                slot.remove();
                Err(error)
            }
        }
    }

    /// Takes a group back. One that cannot be emptied is not used again.
    pub(super) fn give_back(&mut self, slot: Slot) {
        match slot.empty() {
            Ok(()) => self.free.push(slot),
            Err(error) => warn!(group = %slot.memory.display(), %error, "a group is not empty"),
        }
    }

    fn make(&mut self) -> io::Result<Slot> {
        self.made += 1;
        let name = self.made.to_string();
        let memory = self.memory.join(&name);
        fs::create_dir(&memory)?;
        let cpuset = match (&self.cpuset, self.version) {
            (Some(_), Version::Two) => Some(memory.clone()),
            (Some(root), Version::One) => {
                let group = root.join(&name);
                make_cpuset(&group)?;
                Some(group)
            }
            (None, _) => None,
        };
        let version = self.version;
        Ok(Slot { version, memory, cpuset, memory_bytes: None, cpus: Vec::new() })
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for slot in self.free.drain(..) {
            slot.remove();
        }
        let roots = [Some(&self.memory), self.cpuset.as_ref()];
        for root in roots.into_iter().flatten() {
            sweep(root);
        }
    }
}

impl Slot {
    /// Files that take the worker's process id.
    pub(super) fn join(&self) -> Vec<String> {
        self.groups().map(|group| text(&group.join("cgroup.procs"))).collect()
    }

    /// Where the kernel counts what it killed for want of memory.
    pub(super) fn memory_events(&self) -> Option<String> {
        let name = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        Some(text(&self.memory.join(name)))
    }

    fn groups(&self) -> impl Iterator<Item = &PathBuf> {
        let other = self.cpuset.as_ref().filter(|cpuset| **cpuset != self.memory);
        std::iter::once(&self.memory).chain(other)
    }

    fn limit(&mut self, cpus: &[u32], memory_bytes: u64) -> io::Result<()> {
        if self.memory_bytes != Some(memory_bytes) {
            self.memory_bytes = None;
            match self.version {
                Version::One => limit_memory(&self.memory, memory_bytes.min(UNLIMITED))?,
                Version::Two => {
                    write(&self.memory.join("memory.max"), &memory_bytes.to_string())?;
                    // Memory on a disk is memory, too; not every kernel has swap.
                    let swap = self.memory.join("memory.swap.max");
                    if swap.exists() {
                        write(&swap, "0")?;
                    }
                }
            }
            self.memory_bytes = Some(memory_bytes);
        }
        if let Some(cpuset) = &self.cpuset
            && self.cpus != cpus
        {
            let list: Vec<_> = cpus.iter().map(u32::to_string).collect();
            let list = match list.is_empty() {
                // Any: those of the group above.
                true => read(&cpuset.join("../cpuset.cpus"))?,
                false => list.join(","),
            };
            write(&cpuset.join("cpuset.cpus"), list.trim())?;
            self.cpus = cpus.to_vec();
        }
        Ok(())
    }

    /// Kills what is in it and returns when nothing is.
    fn empty(&self) -> io::Result<()> {
        self.groups().try_for_each(|group| empty(group))
    }

    fn remove(self) {
        for group in self.groups() {
            remove(group);
        }
    }
}

/// Version 1 counts memory, and memory with swap, of which the second must never be less.
fn limit_memory(group: &Path, bytes: u64) -> io::Result<()> {
    let (memory, both) =
        (group.join("memory.limit_in_bytes"), group.join("memory.memsw.limit_in_bytes"));
    let bytes = bytes.to_string();
    if !both.exists() {
        return write(&memory, &bytes);
    }
    // The order depends on whether it becomes more or less.
    if write(&memory, &bytes).is_err() {
        write(&both, &bytes)?;
        return write(&memory, &bytes);
    }
    write(&both, &bytes)
}

fn version_two(name: &str) -> Result<Groups, String> {
    let own = own_group(None).ok_or("not mounted")?;
    let controllers = read(&own.join("cgroup.controllers")).map_err(|error| error.to_string())?;
    let has = |controller: &str| controllers.split_whitespace().any(|word| word == controller);
    if !has("memory") {
        return Err("it does not control memory here".into());
    }
    let wanted = if has("cpuset") { "+memory +cpuset" } else { "+memory" };
    let root = own.join(name);
    sweep(&root);
    let failed = |error: io::Error| error.to_string();
    let control = own.join("cgroup.subtree_control");
    if write(&control, wanted).is_err() {
        // Only a group without processes of its own may have groups below it with limits.
        let procs = read(&own.join("cgroup.procs")).map_err(failed)?;
        let me = std::process::id().to_string();
        if procs.lines().any(|pid| pid != me) {
            return Err("other processes are in the server's own group".into());
        }
        let server = own.join(format!("{name}-server"));
        make(&server).map_err(failed)?;
        write(&server.join("cgroup.procs"), &me).map_err(failed)?;
        write(&control, wanted).map_err(failed)?;
    }
    make(&root).map_err(failed)?;
    write(&root.join("cgroup.subtree_control"), wanted).map_err(failed)?;
    let cpuset = has("cpuset").then(|| root.clone());
    let groups = Groups { version: Version::Two, memory: root, cpuset, made: 0, free: Vec::new() };
    tried(groups)
}

fn version_one(name: &str) -> Result<Groups, String> {
    let memory = own_group(Some("memory")).ok_or("memory is not mounted")?.join(name);
    sweep(&memory);
    make(&memory).map_err(|error| error.to_string())?;
    let cpuset = own_group(Some("cpuset")).map(|own| own.join(name)).filter(|cpuset| {
        sweep(cpuset);
        make_cpuset(cpuset)
            .map_err(|error| info!(%error, "CPUs are pinned by affinity alone"))
            .is_ok()
    });
    tried(Groups { version: Version::One, memory, cpuset, made: 0, free: Vec::new() })
}

/// A limit is set once, to see that it can be.
fn tried(mut groups: Groups) -> Result<Groups, String> {
    let slot = groups.take(&[], 1 << 30).map_err(|error| error.to_string())?;
    groups.give_back(slot);
    Ok(groups)
}

/// A cpuset group of version 1 takes nobody before it has CPUs and memory nodes.
fn make_cpuset(group: &Path) -> io::Result<()> {
    make(group)?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let above = read(&group.join("..").join(file))?;
        write(&group.join(file), above.trim())?;
    }
    Ok(())
}

/// This process's own group, of one controller of version 1 or of version 2.
fn own_group(controller: Option<&str>) -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    find_group(controller, &groups, &mounts)
}

/// The same, from the text of `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn find_group(controller: Option<&str>, groups: &str, mounts: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let mine = match controller {
            Some(name) => controllers.split(',').any(|controller| controller == name),
            None => controllers.is_empty(),
        };
        mine.then_some(path)
    })?;
    mounts.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split_whitespace();
        let (kind, options) = (system.next()?, system.nth(1)?);
        let right = match controller {
            Some(name) => kind == "cgroup" && options.split(',').any(|option| option == name),
            None => kind == "cgroup2",
        };
        let mut fields = mount.split_whitespace().skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // What is mounted may be a part of the whole, as in a container.
        let below = Path::new(own).strip_prefix(root).ok();
        right.then(|| below.map(|below| Path::new(point).join(below)))?
    })
}

/// Ends and removes a group and those below it, of an earlier server or of this one.
fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        sweep(&entry.path());
    }
    remove(root);
}

fn remove(group: &Path) {
    let removed = empty(group).and_then(|()| {
        let started = Instant::now();
        loop {
            match fs::remove_dir(group) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                // A killed process leaves its group a moment after it was reaped.
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error())
                        && started.elapsed() < PATIENCE =>
                {
                    std::thread::sleep(PAUSES[0]);
                }
                removed => return removed,
            }
        }
    });
    if let Err(error) = removed {
        warn!(group = %group.display(), %error, "a control group is left behind");
    }
}

/// Kills what is in one group and returns when nothing is.
fn empty(group: &Path) -> io::Result<()> {
    let started = Instant::now();
    let mut pause = PAUSES[0];
    loop {
        let procs = match read(&group.join("cgroup.procs")) {
            Ok(procs) => procs,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if procs.is_empty() {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("processes {procs:?} cannot be ended")));
        }
        let kill = group.join("cgroup.kill");
        if kill.exists() {
            write(&kill, "1")?;
        } else {
            // The numbers are of this moment; whoever has one was put into our group.
            let pids = procs.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?));
            pids.for_each(|pid| kill_process(pid, Signal::KILL).unwrap_or_default());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSES[1]);
    }
}

fn make(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    const MOUNTS_ONE: &str = "\
31 24 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 24 0:28 /pod /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
33 24 0:29 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
    const GROUPS_ONE: &str = "4:memory:/a/b\n3:cpuset:/pod/c\n0::/";

    #[test]
    fn the_own_group_is_found_below_its_mount() {
        let find = |controller| find_group(controller, GROUPS_ONE, MOUNTS_ONE);
        assert_eq!(find(Some("memory")), Some("/sys/fs/cgroup/memory/a/b".into()));
        assert_eq!(find(Some("cpuset")), Some("/sys/fs/cgroup/cpuset/c".into()));
        assert_eq!(find(None), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(find(Some("pids")), None);
    }

    /// The groups of this machine, or why there are none.
    fn groups(name: &str) -> Option<Groups> {
        let name = format!("windlass-test-{name}-{}", std::process::id());
        match Groups::find(&name) {
            Ok(groups) => Some(groups),
            Err(why) => {
                eprintln!("not tested: {why}");
                None
            }
        }
    }

    fn in_slot(slot: &Slot, script: &str) -> Command {
        let joins: String = slot.join().iter().map(|file| format!("echo $$ > {file}; ")).collect();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{joins}{script}")]).stderr(Stdio::null());
        command
    }

    #[test]
    fn what_takes_too_much_memory_is_killed_and_counted() {
        let Some(mut groups) = groups("memory") else { return };
        let slot = groups.take(&[], 64 << 20).unwrap();
        let events = slot.memory_events().unwrap();
        let count = || {
            let text = read(Path::new(&events)).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            line.unwrap().trim().parse::<u64>().unwrap()
        };
        let before = count();
        let hungry = "exec python3 -c 'x = bytearray(512 << 20)'";
        let status = in_slot(&slot, hungry).status().unwrap();
        assert_eq!(status.signal(), Some(9), "{status:?}");
        assert_eq!(count(), before + 1);
        // The same group with more memory.
        groups.give_back(slot);
        let slot = groups.take(&[], 1 << 30).unwrap();
        assert!(in_slot(&slot, hungry).status().unwrap().success());
        groups.give_back(slot);
    }

    #[test]
    fn a_cpuset_cannot_be_left_by_affinity() {
        let Some(mut groups) = groups("cpuset").filter(Groups::has_cpuset) else { return };
        let slot = groups.take(&[0], 1 << 30).unwrap();
        let escape = "taskset -p ffff $$ > /dev/null 2>&1; exec nproc";
        let output = in_slot(&slot, escape).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1");
        groups.give_back(slot);
    }

    #[test]
    fn what_has_left_its_session_is_killed_and_nothing_is_left_behind() {
        let Some(mut groups) = groups("sweep") else { return };
        let roots = [Some(groups.memory.clone()), groups.cpuset.clone()];
        let slot = groups.take(&[], 1 << 30).unwrap();
        let mut child = in_slot(&slot, "exec setsid sleep 300").spawn().unwrap();
        let procs = slot.memory.join("cgroup.procs");
        while read(&procs).unwrap().is_empty() {
            std::thread::yield_now();
        }
        let reaper = std::thread::spawn(move || child.wait().unwrap());
        // As if the server had been killed: its next start sweeps.
        sweep(&groups.memory);
        assert_eq!(reaper.join().unwrap().signal(), Some(9));
        drop(groups);
        for root in roots.into_iter().flatten() {
            assert!(!root.exists(), "{}", root.display());
        }
    }
}
