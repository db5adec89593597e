//! Control groups of version 2: one hierarchy, whose controllers are handed down group by group.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::getpid;

use super::cores::cpu_list;
use super::group::{self, check_joinable, make, read, remove, write};

/// Takes the id of a process, and `0` for the one that writes.
pub(super) const JOIN: &str = "cgroup.procs";

/// Where the kernel counts what it killed for want of memory.
pub(super) const MEMORY_EVENTS: &str = "memory.events";

/// How many bytes it holds.
pub(super) const MEMORY_USED: &str = "memory.current";

/// Those of them that stay when no process does, in its statistics.
pub(super) const MEMORY_KEPT: [&str; 2] = ["anon", "shmem"];

/// The group of a server that had to leave its own, below its groups.
const SERVER: &str = "server";

/// A server's groups, and what was changed for them.
#[derive(Debug)]
pub(super) struct Tree {
    own: PathBuf,
    pub(super) root: PathBuf,
    /// Controllers that were handed down for them.
    enabled: Vec<&'static str>,
    /// This process was moved: only a group without processes of its own hands controllers down.
    moved: bool,
}

impl Tree {
    /// Makes the group of this server.
    pub(super) fn open(own: &Path, name: &str) -> io::Result<Self> {
        // After an exec this process is where it moved itself.
        let left = Path::new(name).join(SERVER);
        let moved = own.ends_with(&left);
        let own = if moved { own.ancestors().nth(2).unwrap_or(own) } else { own };
        let tree = Self { own: own.to_owned(), root: own.join(name), enabled: Vec::new(), moved };
        check_joinable(&own.join(JOIN))?;
        make(&tree.root)?;
        Ok(tree)
    }

    /// Hands a controller down to the groups and tries it with one.
    pub(super) fn enable(
        &mut self,
        controller: &'static str,
        limit: impl FnOnce(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let has = |group: &Path, file| -> io::Result<bool> {
            Ok(read(&group.join(file))?.split_whitespace().any(|word| word == controller))
        };
        if !has(&self.own, "cgroup.controllers")? {
            let what = format!("no {controller} controller in {}", self.own.display());
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        if !has(&self.own, "cgroup.subtree_control")? {
            let plus = format!("+{controller}");
            let control = self.own.join("cgroup.subtree_control");
            if let Err(error) = write(&control, &plus) {
                if self.moved || error.kind() != io::ErrorKind::ResourceBusy {
                    return Err(error);
                }
                self.move_away()?;
                write(&control, &plus)?;
            }
            self.enabled.push(controller);
        }
        write(&self.root.join("cgroup.subtree_control"), &format!("+{controller}"))?;
        self.probe(limit)
    }

    /// Tries a group.
    pub(super) fn probe(&self, limit: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let probe = self.root.join("probe");
        make(&probe)?;
        let tried = limit(&probe).and_then(|()| {
            let kind = read(&probe.join("cgroup.type"))?;
            match kind.trim() {
                "domain" => check_joinable(&probe.join(JOIN)),
                kind => Err(io::Error::other(format!("{} is {kind}", probe.display()))),
            }
        });
        remove(&probe).and(tried)
    }

    /// Moves this process out of its own group, where it is alone.
    fn move_away(&mut self) -> io::Result<()> {
        let me = getpid();
        let there = read(&self.own.join(JOIN))?;
        if there.lines().any(|pid| pid.trim() != me.to_string()) {
            let what = format!(
                "{} has other processes, too; a unit with Delegate=yes has none",
                self.own.display()
            );
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
        }
        let server = self.root.join(SERVER);
        make(&server)?;
        self.moved = true;
        write(&server.join(JOIN), &me.to_string())
    }

    /// The group that this process moved to.
    pub(super) fn server(&self) -> Option<PathBuf> {
        self.moved.then(|| self.root.join(SERVER))
    }

    /// Ends what runs in the groups, and leaves everything as it was.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let server = self.server();
        let ended = group::end(&self.root, server.as_deref());
        let Some(server) = server.filter(|_| ended.is_ok()) else { return ended };
        for controller in self.enabled.drain(..) {
            for group in [&self.root, &self.own] {
                write(&group.join("cgroup.subtree_control"), &format!("-{controller}"))?;
            }
        }
        write(&self.own.join(JOIN), &getpid().to_string())?;
        self.moved = false;
        remove(&server).and_then(|()| remove(&self.root))
    }
}

/// Removes what an earlier server has left, but for the group that this process is in.
pub(super) fn remove_leftovers(root: &Path, own: &Path) -> io::Result<()> {
    let server = root.join(SERVER);
    if own == server {
        return group::end(root, Some(&server));
    }
    // A process that is there was about to join a group and ends by itself.
    if fs::remove_dir(&server).is_err() && server.exists() {
        return group::end(root, Some(&server));
    }
    group::end(root, None)
}

pub(super) fn limit_memory(group: &Path, bytes: u64) -> io::Result<()> {
    write(&group.join("memory.max"), &bytes.to_string())?;
    // Memory on a disk is memory, too. Not every kernel has swap.
    let swap = group.join("memory.swap.max");
    if swap.exists() { write(&swap, "0") } else { Ok(()) }
}

/// No CPUs: those of the group above.
pub(super) fn limit_cpus(group: &Path, cpus: &[u32]) -> io::Result<()> {
    write(&group.join("cpuset.cpus"), &(cpu_list(cpus) + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group whose files take everything.
    fn fake(own: &Path, controllers: &str, pids: &str) {
        for group in [own, &own.join("w"), &own.join("w/server")] {
            fs::create_dir_all(group).unwrap();
            fs::write(group.join("cgroup.controllers"), controllers).unwrap();
            fs::write(group.join("cgroup.subtree_control"), "").unwrap();
            fs::write(group.join("cgroup.procs"), pids).unwrap();
        }
    }

    #[test]
    fn a_controller_that_is_not_delegated_is_not_used() {
        let own = tempfile::tempdir().unwrap();
        fake(own.path(), "cpu pids\n", "");
        let mut tree = Tree::open(own.path(), "w").unwrap();
        let error = tree.enable("memory", |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("no memory controller"), "{error}");
        assert_eq!(read(&own.path().join("cgroup.subtree_control")).unwrap(), "");
    }

    #[test]
    fn only_a_server_alone_leaves_its_group() {
        let own = tempfile::tempdir().unwrap();
        let me = std::process::id().to_string();
        fake(own.path(), "memory\n", &format!("1\n{me}\n"));
        let mut tree = Tree::open(own.path(), "w").unwrap();
        assert_eq!(tree.move_away().unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert_eq!(tree.server(), None);
        fs::write(own.path().join("cgroup.procs"), &me).unwrap();
        tree.move_away().unwrap();
        assert_eq!(read(&own.path().join("w/server/cgroup.procs")).unwrap(), me);
    }

    #[test]
    fn a_server_that_moved_finds_its_own_group_again() {
        let own = tempfile::tempdir().unwrap();
        fake(own.path(), "memory\n", "");
        let tree = Tree::open(&own.path().join("w/server"), "w").unwrap();
        assert_eq!(tree.root, own.path().join("w"));
        assert_eq!(tree.server(), Some(own.path().join("w/server")));
    }

    #[test]
    fn memory_on_a_disk_is_not_extra() {
        let group = tempfile::tempdir().unwrap();
        let path = |name| group.path().join(name);
        fs::write(path("memory.max"), "max\n").unwrap();
        limit_memory(group.path(), 4096).unwrap();
        assert_eq!(read(&path("memory.max")).unwrap(), "4096");
        fs::write(path("memory.swap.max"), "max\n").unwrap();
        limit_memory(group.path(), 8192).unwrap();
        assert_eq!(read(&path("memory.swap.max")).unwrap(), "0");
    }
}
