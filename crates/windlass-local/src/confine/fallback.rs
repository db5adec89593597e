//! The fallback chains: which mechanism holds which resource on this machine. A level is in use only
//! after it was tried.

use std::fmt;
use std::io;
use std::path::Path;

use super::cores::Cores;
use super::group;
use super::hierarchy::Hierarchy;
use super::mounts::CgroupMount;
use super::v1;
use super::v2;
use super::version::Version;

/// A limit to see whether one can be set.
const PROBE_BYTES: u64 = 64 << 20;

/// Controllers of version 1 to find processes by, the best first: while they are frozen nothing
/// forks.
const FINDERS: [&str; 6] = ["freezer", "memory", "cpuset", "pids", "devices", "cpuacct"];

/// The level that is in use for each resource.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Levels {
    /// None where the worker watches its memory.
    pub(super) memory: Option<Version>,
    /// None also when nobody's CPUs are pinned.
    pub(super) cpus: Option<Version>,
    pinning: bool,
    /// Where the number of processes and threads is limited.
    pub(super) tasks: Option<Version>,
    /// With the controller, in version 1.
    pub(super) processes: Option<(Version, Option<&'static str>)>,
}

/// One line for the log.
impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, cpus, pinning, tasks, processes } = self;
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
            Some((version, Some(name))) => write!(f, "; processes: cgroup {version} {name}")?,
            Some((version, None)) => write!(f, "; processes: cgroup {version}")?,
            None => write!(f, "; processes: no groups")?,
        }
        match tasks {
            Some(version) => write!(f, ", at most {} by cgroup {version}", group::MAX_TASKS),
            None => write!(f, ", any number"),
        }
    }
}

/// Tries one level after the other.
pub(super) struct FallbackChain<'a> {
    mounts: &'a [CgroupMount],
    /// Of this server's groups.
    name: &'a str,
    cores: &'a Cores,
    /// The hierarchies in use so far.
    found: Vec<Hierarchy>,
    notes: Vec<String>,
}

impl<'a> FallbackChain<'a> {
    pub(super) fn new(mounts: &'a [CgroupMount], name: &'a str, cores: &'a Cores) -> Self {
        Self { mounts, name, cores, found: Vec::new(), notes: Vec::new() }
    }

    /// What is in use, and why nothing better is. The hierarchy to find processes by is the first.
    pub(super) fn choose(mut self) -> (Levels, Vec<Hierarchy>, Vec<String>) {
        let mut levels = Levels { pinning: self.cores.are_pinned(), ..Levels::default() };
        let mut tree = self.open_v2();
        if let Some(tree) = &mut tree {
            self.try_v2(tree, &mut levels);
        }
        self.try_v1(&mut levels);
        if let Some(tree) = tree {
            self.keep_v2(tree, &mut levels);
        }
        (levels, self.found, self.notes)
    }

    fn open_v2(&mut self) -> Option<v2::Tree> {
        let mount = self.mounts.iter().find(|mount| mount.version == Version::V2)?;
        let tree = v2::Tree::open(&mount.own, self.name);
        tree.map_err(|why| self.notes.push(format!("cgroup v2: {why}"))).ok()
    }

    /// The first level: memory and CPUs by version 2.
    fn try_v2(&mut self, tree: &mut v2::Tree, levels: &mut Levels) {
        let limit = |group: &Path| Version::V2.limit_memory(group, PROBE_BYTES);
        if self.note("memory", tree.enable("memory", limit)) {
            levels.memory = Some(Version::V2);
        }
        let all = self.cores.all();
        let limit = |group: &Path| Version::V2.limit_cpus(group, &all);
        if levels.pinning && self.note("CPUs", tree.enable("cpuset", limit)) {
            levels.cpus = Some(Version::V2);
        }
        if levels.memory.is_some() || levels.cpus.is_some() {
            if self.note("pids", tree.enable("pids", group::limit_tasks)) {
                levels.tasks = Some(Version::V2);
            }
            levels.processes = Some((Version::V2, None));
        }
    }

    /// The second level: what version 2 does not hold.
    fn try_v1(&mut self, levels: &mut Levels) {
        if levels.memory.is_none() && self.try_controller("memory") {
            levels.memory = Some(Version::V1);
        }
        if levels.pinning && levels.cpus.is_none() && self.try_controller("cpuset") {
            levels.cpus = Some(Version::V1);
        }
        if levels.tasks.is_none() && self.try_controller("pids") {
            levels.tasks = Some(Version::V1);
        }
        if levels.processes.is_none() {
            let finder = FINDERS.into_iter().find(|name| self.try_controller(name));
            levels.processes = finder.map(|name| (Version::V1, Some(name)));
            // What is frozen ends only there.
            let root = finder.and_then(|name| Some(self.mount_of(name)?.own.join(self.name)));
            self.found.sort_by_key(|hierarchy| Some(&hierarchy.root) != root.as_ref());
        }
    }

    /// Keeps the groups of version 2 where they hold something. For processes a bare group is the last
    /// level.
    fn keep_v2(&mut self, mut tree: v2::Tree, levels: &mut Levels) {
        let is_bare = levels.processes.is_none() && self.note("processes", tree.probe(|_| Ok(())));
        if is_bare {
            levels.processes = Some((Version::V2, None));
        }
        let memory = levels.memory == Some(Version::V2);
        let cpus = levels.cpus == Some(Version::V2);
        if memory || cpus || is_bare {
            let root = tree.root.clone();
            let tasks = levels.tasks == Some(Version::V2);
            self.found.push(Hierarchy { root, memory, cpus, tasks, tree: Some(tree) });
        } else {
            let closed = tree.close();
            self.note("version 2", closed);
        }
    }

    fn mount_of(&self, controller: &str) -> Option<&CgroupMount> {
        self.mounts.iter().find(|mount| mount.has_controller(controller))
    }

    /// Tries a controller of version 1.
    fn try_controller(&mut self, controller: &str) -> bool {
        let Some(mount) = self.mount_of(controller) else { return false };
        let root = mount.own.join(self.name);
        let [memory, cpus, tasks] = ["memory", "cpuset", "pids"].map(|name| name == controller);
        let all = self.cores.all();
        let tried = v1::open(&root, |group| match controller {
            "memory" => Version::V1.limit_memory(group, PROBE_BYTES),
            "cpuset" => Version::V1.limit_cpus(group, &all),
            "pids" => group::limit_tasks(group),
            _ => Ok(()),
        });
        // One hierarchy may have several controllers.
        let same = self.found.iter_mut().find(|hierarchy| hierarchy.root == root);
        match (&tried, same) {
            (Ok(()), Some(same)) => {
                same.memory |= memory;
                same.cpus |= cpus;
                same.tasks |= tasks;
            }
            (Ok(()), None) => self.found.push(Hierarchy { root, memory, cpus, tasks, tree: None }),
            (Err(_), Some(_)) => {}
            // It may not have been made.
            (Err(_), None) => group::end(&root, None).unwrap_or_default(),
        }
        self.note(controller, tried)
    }

    /// Keeps why something cannot be used. Whether it can.
    fn note(&mut self, what: &str, tried: io::Result<()>) -> bool {
        let why = tried.err().map(|why| format!("{what}: {why}"));
        let is_fine = why.is_none();
        // A controller may have been tried for another resource.
        self.notes.extend(why.filter(|why| !self.notes.contains(why)));
        is_fine
    }
}
