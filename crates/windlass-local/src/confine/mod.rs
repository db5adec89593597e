//! What holds an attempt to its CPUs and its memory, by what this machine lets the server use.
//!
//! | resource | first choice | then | else |
//! | --- | --- | --- | --- |
//! | memory | control groups of version 2 | of version 1 | the worker looks at its processes |
//! | CPUs | a cpuset of version 2, and affinity | of version 1, and affinity | affinity, which a function can change |
//! | processes | the group of version 2 that has the others | a freezer or other group of version 1, then a bare group of version 2 | who started them knows them |
//!
//! Each is chosen for itself, and what is in use was tried, not assumed. Nothing here fails the
//! server: a reason is kept for the log, and the next choice is taken.
//!
//! Groups are named `windlass-ID/NUMBER`, below the server's own group. They are used again, because
//! making them is much of the cost of starting a process, and limits are written only when they change.
//! Where groups of version 1 hold the resources, version 2 is left out, even though it kills as one
//! step: joining one waits for all CPUs, which takes milliseconds on a machine at rest.

mod cores;
mod group;
mod mounts;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::process::Pid;
use tracing::warn;
use windlass_core::assignment::Confinement;

pub(crate) use cores::Cores;
use mounts::{Place, Version, places};

/// Most bytes that a group may keep, when nothing runs in it, for the next attempt to lack: files in
/// `/dev/shm` belong to the group of who wrote them.
const MAX_KEPT_BYTES: u64 = 4 << 20;

/// A limit to see whether one can be set.
const PROBE_BYTES: u64 = 64 << 20;

/// Controllers of version 1 to find processes by, the best first: while they are frozen nothing
/// forks.
const FINDERS: [&str; 6] = ["freezer", "memory", "cpuset", "pids", "devices", "cpuacct"];

/// The name of a server with this data directory: the same for each, and no other has it.
pub(crate) fn id(data: &Path) -> io::Result<String> {
    let directory = fs::metadata(data)?;
    Ok(format!("{:x}-{:x}", directory.dev(), directory.ino()))
}

/// What is in use on this machine, and the groups of this server. They are removed with it.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// The one to find processes by is the first.
    hierarchies: Mutex<Vec<Hierarchy>>,
    rungs: Rungs,
    /// Why something better is not in use, and what could not be ended.
    notes: Vec<String>,
    idle: Mutex<Vec<Slot>>,
    made: AtomicU32,
}

/// The hierarchy for each resource.
#[derive(Clone, Copy, Debug, Default)]
struct Rungs {
    memory: Option<Version>,
    /// None also when nobody's CPUs are pinned.
    cpus: Option<Version>,
    pinning: bool,
    processes: Option<(Version, Option<&'static str>)>,
}

/// The groups of this server in one hierarchy.
#[derive(Debug)]
struct Hierarchy {
    root: PathBuf,
    memory: bool,
    cpus: bool,
    /// That of version 2.
    tree: Option<v2::Tree>,
}

impl Hierarchy {
    fn version(&self) -> Version {
        if self.tree.is_some() { Version::Two } else { Version::One }
    }

    fn close(&mut self) -> io::Result<()> {
        match &mut self.tree {
            Some(tree) => tree.close(),
            None => group::end(&self.root, None),
        }
    }
}

impl Ladder {
    /// Finds out what can be used, for the server of this [`id`], of which there is one at a time.
    /// What an earlier one has left is ended. It blocks for as long as that takes.
    pub(crate) fn find(id: &str, cores: &Cores) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let places = places(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        Self::of(&places, &format!("windlass-{id}"), cores)
    }

    fn of(places: &[Place], name: &str, cores: &Cores) -> Self {
        let mut notes = Vec::new();
        // What is frozen ends only there.
        let (freezers, others): (Vec<_>, Vec<_>) = places.iter().partition(|p| p.has("freezer"));
        for place in freezers.into_iter().chain(others) {
            for root in group::find(&place.mount, name) {
                let swept = match place.version {
                    Version::One => group::end(&root, None),
                    Version::Two => v2::sweep(&root, &place.own),
                };
                notes.extend(swept.err().map(|why| format!("an earlier server's groups: {why}")));
            }
        }
        let mut finder = Finder { places, name, found: Vec::new(), notes, cores };
        let rungs = finder.rungs();
        let Finder { found, notes, .. } = finder;
        let (idle, made) = (Mutex::default(), AtomicU32::new(0));
        Self { hierarchies: Mutex::new(found), rungs, notes, idle, made }
    }

    /// Why something better is not in use, and what could not be ended: for the log.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What holds one attempt. No CPUs: any.
    pub(crate) fn take(&self, cpus: &[u32], memory_bytes: u64) -> io::Result<Slot> {
        while let Some(mut slot) = self.take_idle(cpus, memory_bytes) {
            match slot.limit(cpus, memory_bytes) {
                Ok(()) => return Ok(slot),
                // It may keep more than the new limit.
                Err(error) => {
                    warn!(%error, "a control group is not used again");
                    slot.remove();
                }
            }
        }
        let mut slot = self.make()?;
        slot.limit(cpus, memory_bytes).inspect_err(|_| slot.remove())?;
        Ok(slot)
    }

    /// Takes it back. It is best empty, see [`Slot::kill`]: else this kills what is in it and waits.
    pub(crate) fn give_back(&self, slot: Slot) {
        // Without groups there is nothing to use again.
        if slot.groups.is_empty() {
            return;
        }
        // What cannot be emptied stays until the server closes.
        if let Err(error) = slot.kill() {
            warn!(%error, "a control group is not used again");
        } else if slot.kept() > MAX_KEPT_BYTES {
            slot.remove();
        } else {
            lock(&self.idle).push(slot);
        }
    }

    /// Ends what runs in this server's groups, and removes them. Repeating it tries again what could
    /// not be ended.
    pub(crate) fn close(&self) -> io::Result<()> {
        lock(&self.idle).clear();
        let mut first = Ok(());
        lock(&self.hierarchies).retain_mut(|hierarchy| match hierarchy.close() {
            Ok(()) => false,
            Err(error) => {
                if first.is_ok() {
                    first = Err(error);
                }
                true
            }
        });
        first
    }

    /// One that has the limits already, else the one used last.
    fn take_idle(&self, cpus: &[u32], memory_bytes: u64) -> Option<Slot> {
        let mut idle = lock(&self.idle);
        let same = |slot: &Slot| slot.memory_bytes == memory_bytes && slot.cpus == cpus;
        let index = idle.iter().rposition(same).or(idle.len().checked_sub(1))?;
        Some(idle.swap_remove(index))
    }

    fn make(&self) -> io::Result<Slot> {
        let number = self.made.fetch_add(1, Ordering::Relaxed).to_string();
        let mut slot = Slot { groups: Vec::new(), cpus: Vec::new(), memory_bytes: 0 };
        for hierarchy in lock(&self.hierarchies).iter() {
            let path = hierarchy.root.join(&number);
            let version = hierarchy.version();
            let made = match version {
                Version::One => v1::make_group(&path),
                Version::Two => group::make(&path),
            };
            let (memory, cpus) = (hierarchy.memory, hierarchy.cpus);
            let limits = ResourceLimits { memory, memory_bytes: None, cpus, on: None };
            slot.groups.push(Group { version, path, limits });
            made.inspect_err(|_| slot.remove())?;
        }
        Ok(slot)
    }
}

impl Drop for Ladder {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            warn!(%error, "control groups are left behind");
        }
    }
}

/// One line for the log.
impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rungs { memory, cpus, pinning, processes } = self.rungs;
        match memory {
            Some(version) => write!(f, "memory: cgroup {version}")?,
            None => write!(f, "memory: watched by the worker")?,
        }
        match (cpus, pinning) {
            (Some(version), _) => write!(f, "; CPUs: cgroup {version} cpuset and affinity")?,
            (None, true) => write!(f, "; CPUs: affinity")?,
            (None, false) => write!(f, "; CPUs: any, more are granted than there are")?,
        }
        match processes {
            Some((version, Some(name))) => write!(f, "; processes: cgroup {version} {name}"),
            Some((version, None)) => write!(f, "; processes: cgroup {version}"),
            None => write!(f, "; processes: no groups"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "v1",
            Self::Two => "v2",
        })
    }
}

/// What an attempt holds. It is given back to the [`Ladder`]; if it is not, its groups go with that.
#[derive(Debug)]
pub(crate) struct Slot {
    groups: Vec<Group>,
    cpus: Vec<u32>,
    memory_bytes: u64,
}

#[derive(Debug)]
struct Group {
    version: Version,
    path: PathBuf,
    limits: ResourceLimits,
}

/// What a group limits, and to what, as far as that is known.
#[derive(Debug)]
struct ResourceLimits {
    memory: bool,
    memory_bytes: Option<u64>,
    cpus: bool,
    on: Option<Vec<u32>>,
}

impl Slot {
    /// What its worker is told. The kernel's count of kills goes on from attempt to attempt: it is
    /// read before the function starts, too. Writing `0` into a file joins its writer, and costs
    /// least.
    pub(crate) fn confinement(&self) -> Confinement {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let join = |group: &Group| match group.version {
            Version::One => text(group.path.join(v1::JOIN)),
            Version::Two => text(group.path.join(v2::JOIN)),
        };
        let events = |group: &Group| match group.version {
            Version::One => text(group.path.join(v1::MEMORY_EVENTS)),
            Version::Two => text(group.path.join(v2::MEMORY_EVENTS)),
        };
        Confinement {
            join: self.groups.iter().map(join).collect(),
            memory_events: self.groups.iter().find(|group| group.limits.memory).map(events),
            cpus: self.cpus.clone(),
            memory_bytes: self.memory_bytes,
        }
    }

    /// The processes in it, whoever started them. Unsupported where there are no groups.
    pub(crate) fn processes(&self) -> io::Result<Vec<Pid>> {
        self.check_groups()?;
        let mut all = Vec::new();
        // A worker may have joined some of them only.
        for group in &self.groups {
            all.extend(group::processes(&group.path)?);
        }
        all.sort_unstable_by_key(|process| process.as_raw_nonzero());
        all.dedup();
        Ok(all)
    }

    /// Kills what is in it, the worker as well, and returns when nothing is. That may block for
    /// seconds. Unsupported where there are no groups.
    pub(crate) fn kill(&self) -> io::Result<()> {
        self.check_groups()?;
        self.groups.iter().try_for_each(|group| group::kill(&group.path))
    }

    fn check_groups(&self) -> io::Result<()> {
        match self.groups.is_empty() {
            true => Err(io::ErrorKind::Unsupported.into()),
            false => Ok(()),
        }
    }

    /// Writes the limits that are others.
    fn limit(&mut self, cpus: &[u32], memory_bytes: u64) -> io::Result<()> {
        for Group { version, path, limits } in &mut self.groups {
            if limits.memory && limits.memory_bytes != Some(memory_bytes) {
                limits.memory_bytes = None;
                limit_memory(*version, path, memory_bytes)?;
                limits.memory_bytes = Some(memory_bytes);
            }
            if limits.cpus && limits.on.as_deref() != Some(cpus) {
                limits.on = None;
                limit_cpus(*version, path, cpus)?;
                limits.on = Some(cpus.to_vec());
            }
        }
        (self.cpus, self.memory_bytes) = (cpus.to_vec(), memory_bytes);
        Ok(())
    }

    /// Bytes that it holds and that the kernel cannot take from it when the next attempt needs them.
    /// What it can, such as the files that were read, saves the next attempt from reading them.
    fn kept(&self) -> u64 {
        let kept = |Group { version, path, .. }: &Group| -> Option<u64> {
            let (used, stat) = match version {
                Version::One => (v1::MEMORY_USED, v1::MEMORY_KEPT),
                Version::Two => (v2::MEMORY_USED, v2::MEMORY_KEPT),
            };
            let used: u64 = group::read(&path.join(used)).ok()?.trim().parse().ok()?;
            if used <= MAX_KEPT_BYTES {
                // Adding up the statistics takes longer.
                return Some(used);
            }
            let text = group::read(&path.join("memory.stat")).ok()?;
            let lines = text.lines().filter_map(|line| line.split_once(' '));
            let kept = lines.filter(|(name, _)| stat.contains(name));
            Some(kept.filter_map(|(_, bytes)| bytes.parse::<u64>().ok()).sum())
        };
        self.groups.iter().filter(|group| group.limits.memory).filter_map(kept).sum()
    }

    /// Removes its groups, in which nothing runs. What cannot be removed goes with the ladder.
    fn remove(&self) {
        for group in &self.groups {
            if let Err(error) = group::remove(&group.path) {
                warn!(%error, "a control group is left for now");
            }
        }
    }
}

fn limit_memory(version: Version, group: &Path, bytes: u64) -> io::Result<()> {
    match version {
        Version::One => v1::limit_memory(group, bytes),
        Version::Two => v2::limit_memory(group, bytes),
    }
}

fn limit_cpus(version: Version, group: &Path, cpus: &[u32]) -> io::Result<()> {
    match version {
        // There a group without CPUs takes nobody, but every new one has those of the group above.
        Version::One if cpus.is_empty() => v1::make_group(group),
        Version::One => v1::limit_cpus(group, cpus),
        Version::Two => v2::limit_cpus(group, cpus),
    }
}

/// Tries one choice after the other.
struct Finder<'a> {
    places: &'a [Place],
    name: &'a str,
    found: Vec<Hierarchy>,
    notes: Vec<String>,
    cores: &'a Cores,
}

impl Finder<'_> {
    fn rungs(&mut self) -> Rungs {
        let pinning = self.cores.are_pinned();
        let mut two = self.open_two();
        let (mut memory, mut cpus) = (false, false);
        if let Some(tree) = &mut two {
            let limit = |group: &Path| limit_memory(Version::Two, group, PROBE_BYTES);
            memory = self.note("memory", tree.enable("memory", limit));
            let all = self.cores.all();
            let limit = |group: &Path| limit_cpus(Version::Two, group, &all);
            cpus = pinning && self.note("CPUs", tree.enable("cpuset", limit));
        }
        let chosen = |two: bool| two.then_some(Version::Two);
        let mut rungs =
            Rungs { memory: chosen(memory), cpus: chosen(cpus), pinning, processes: None };
        if memory || cpus {
            rungs.processes = Some((Version::Two, None));
        }
        if !memory && self.try_one("memory") {
            rungs.memory = Some(Version::One);
        }
        if pinning && !cpus && self.try_one("cpuset") {
            rungs.cpus = Some(Version::One);
        }
        if rungs.processes.is_none() {
            let one = FINDERS.into_iter().find(|name| self.try_one(name));
            rungs.processes = one.map(|name| (Version::One, Some(name)));
            // What is frozen ends only there.
            let finder = one.and_then(|name| Some(self.place_of(name)?.own.join(self.name)));
            self.found.sort_by_key(|hierarchy| Some(&hierarchy.root) != finder.as_ref());
        }
        if let Some(mut tree) = two {
            // The last choice.
            let bare = rungs.processes.is_none() && self.note("processes", tree.probe(|_| Ok(())));
            if bare {
                rungs.processes = Some((Version::Two, None));
            }
            if memory || cpus || bare {
                let root = tree.root.clone();
                self.found.push(Hierarchy { root, memory, cpus, tree: Some(tree) });
            } else {
                let closed = tree.close();
                self.note("version 2", closed);
            }
        }
        rungs
    }

    fn open_two(&mut self) -> Option<v2::Tree> {
        let place = self.places.iter().find(|place| place.version == Version::Two)?;
        let tree = v2::Tree::open(&place.own, self.name);
        tree.map_err(|why| self.notes.push(format!("cgroup v2: {why}"))).ok()
    }

    fn place_of(&self, controller: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.has(controller))
    }

    /// Tries a controller of version 1.
    fn try_one(&mut self, controller: &str) -> bool {
        let Some(place) = self.place_of(controller) else { return false };
        let root = place.own.join(self.name);
        let (memory, cpus) = (controller == "memory", controller == "cpuset");
        let all = self.cores.all();
        let tried = v1::open(&root, |group| match controller {
            "memory" => limit_memory(Version::One, group, PROBE_BYTES),
            "cpuset" => limit_cpus(Version::One, group, &all),
            _ => Ok(()),
        });
        // One hierarchy may have several controllers.
        let same = self.found.iter_mut().find(|hierarchy| hierarchy.root == root);
        match (&tried, same) {
            (Ok(()), Some(same)) => {
                same.memory |= memory;
                same.cpus |= cpus;
            }
            (Ok(()), None) => self.found.push(Hierarchy { root, memory, cpus, tree: None }),
            (Err(_), Some(_)) => {}
            // It may not have been made.
            (Err(_), None) => group::end(&root, None).unwrap_or_default(),
        }
        self.note(controller, tried)
    }

    /// Keeps why something cannot be used.
    fn note(&mut self, what: &str, tried: io::Result<()>) -> bool {
        let why = tried.err().map(|why| format!("{what}: {why}"));
        let fine = why.is_none();
        // A controller may have been tried for another resource.
        self.notes.extend(why.filter(|why| !self.notes.contains(why)));
        fine
    }
}

/// Nothing panics while it holds one of these.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
