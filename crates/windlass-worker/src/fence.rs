//! Keeps a function out of the server's data directory, but for its own files there, by Landlock.
//!
//! Landlock can only allow. So everything is allowed that lies beside the path to the hidden directory:
//! all entries of `/` but one, all entries of that one but one, and so on down. From that follows what a
//! function cannot do either: add, remove or rename entries of the directories above the hidden one.
//! It may still list directories, run programs, and do as it likes in all others.
//!
//! With it come two rules of the kernel. No process of the function gains rights by starting a program
//! (`sudo`), and none may look into, mount beside or, from Linux 6.12, signal a process outside.
//!
//! All that lies beside is a few hundred files and directories, and opening them takes longer than
//! starting a small program. So a worker that waits for its order does it ahead. What has changed until
//! the order comes has it done again: an entry or a mount that is new has no rule.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What a function may do with a file that it was given to read.
const READ: BitFlags<AccessFs> = landlock::make_bitflags!(AccessFs::{ReadFile});

/// How long a directory has to be unchanged, so that its next change gives it another time: clocks of file
/// systems tick every few milliseconds.
const SETTLED: Duration = Duration::from_millis(100);

/// What was made ahead.
static AHEAD: Mutex<Option<Ahead>> = Mutex::new(None);

/// Rules for all that lies beside a directory, and what it looked like there.
struct Ahead {
    hidden: PathBuf,
    rules: RulesetCreated,
    surroundings: Surroundings,
    mounts: Mounts,
}

/// Directories as they are at one time: device, inode, and the time of the last change.
#[derive(PartialEq, Eq)]
struct Surroundings(Vec<(u64, u64, i64, i64)>);

/// All mounts, from one time on. The kernel tells each change; to read them all takes longer than starting a small
/// program.
struct Mounts(File);

/// A fence that is ready to be put around a process.
pub(crate) struct Fence(RulesetCreated);

/// Why there is no fence.
#[derive(Debug, thiserror::Error)]
pub enum NoFence {
    /// The kernel is older than 5.13, or was built or started without Landlock.
    #[error("the kernel has no Landlock")]
    NotInKernel,
    /// A directory above the hidden one cannot be listed, so that what lies beside cannot be allowed.
    #[error("{path} cannot be listed: {error}")]
    Unlisted {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The kernel refuses.
    #[error("{0}")]
    Refused(#[from] RulesetError),
}

/// Whether functions can be kept out of this directory, on this kernel and for this user.
pub fn can_hide(directory: &Path) -> Result<(), NoFence> {
    Fence::around(directory, &[], &[]).map(drop)
}

/// The directory that the functions of a worker will be kept out of, for one that has no order yet. They do not see it.
pub const HIDDEN: &str = "WINDLASS_HIDDEN_DIRECTORY";

/// Does ahead what takes long of the fence around the directory that the environment names.
pub(crate) fn prepare() {
    if let Some(hidden) = std::env::var_os(HIDDEN) {
        prepare_around(Path::new(&hidden));
    }
}

/// What hinders it is told when the fence is needed.
fn prepare_around(hidden: &Path) {
    let above = || hidden.ancestors().skip(1);
    if let Ok(mounts) = Mounts::watch()
        && let Ok(surroundings) = Surroundings::of_directories(above())
        && surroundings.are_settled()
        && let Ok(rules) = allow_beside(hidden)
    {
        let hidden = hidden.to_owned();
        *ahead() = Some(Ahead { hidden, rules, surroundings, mounts });
    }
}

fn ahead() -> std::sync::MutexGuard<'static, Option<Ahead>> {
    // It is replaced as a whole.
    AHEAD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rules that were made ahead for this directory, if nothing has changed since.
fn take_ahead(hidden: &Path) -> Option<RulesetCreated> {
    let ahead = ahead().take().filter(|ahead| ahead.hidden == hidden)?;
    let now = Surroundings::of_directories(hidden.ancestors().skip(1)).ok()?;
    (now == ahead.surroundings && !ahead.mounts.have_changed()).then_some(ahead.rules)
}

impl Surroundings {
    fn of_directories<'a>(directories: impl Iterator<Item = &'a Path>) -> io::Result<Self> {
        let state = |path: &Path| {
            let found = fs::metadata(path)?;
            Ok((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
        };
        Ok(Self(directories.map(state).collect::<io::Result<_>>()?))
    }

    /// Whether each later change can be told from these.
    fn are_settled(&self) -> bool {
        let until = SystemTime::now().checked_sub(SETTLED);
        let until = until.and_then(|until| until.duration_since(SystemTime::UNIX_EPOCH).ok());
        let is_old = |seconds: i64, nanoseconds: i64| {
            let (seconds, nanoseconds) = (u64::try_from(seconds), u32::try_from(nanoseconds));
            let changed = seconds.ok().zip(nanoseconds.ok());
            let changed = changed.map(|(seconds, nanos)| Duration::new(seconds, nanos));
            changed.zip(until).is_some_and(|(changed, until)| changed < until)
        };
        self.0.iter().all(|&(_, _, seconds, nanoseconds)| is_old(seconds, nanoseconds))
    }
}

impl Mounts {
    /// What this thread sees; all see the same.
    fn watch() -> io::Result<Self> {
        File::open("/proc/thread-self/mountinfo").map(Self)
    }

    /// Whether anything was mounted, moved or unmounted. What cannot be asked counts as a change.
    fn have_changed(&self) -> bool {
        let mut polled = [PollFd::new(self.0.as_fd(), PollFlags::POLLPRI)];
        poll(&mut polled, PollTimeout::ZERO) != Ok(0)
    }
}

/// What to say when a function fails because it could not write somewhere: that may be the fence's doing.
pub(crate) fn hint(stderr: &str, hidden: &str) -> Option<String> {
    let says = |words: &str| stderr.contains(words);
    let is_refused = says("ermission denied") || says("cross-device link");
    is_refused.then(|| {
        let above: Vec<_> = Path::new(hidden).ancestors().skip(1).collect();
        let above: Vec<_> = above.iter().map(|path| path.display().to_string()).collect();
        format!(
            "\nFunctions create nothing directly in {}, which are above the server's data directory: see --landlock.",
            above.join(", ")
        )
    })
}

impl Fence {
    /// Hides a directory, but for what of it may be used and what may be read.
    pub(crate) fn around(
        hidden: &Path,
        usable: &[&Path],
        readable: &[&Path],
    ) -> Result<Self, NoFence> {
        let mut rules = match take_ahead(hidden) {
            Some(rules) => rules,
            None => allow_beside(hidden)?,
        };
        for path in usable {
            rules = allow(rules, path, handled(ABI::V5))?;
        }
        for path in readable {
            rules = allow(rules, path, READ)?;
        }
        Ok(Self(rules))
    }

    /// Puts the process that calls it inside, and all that it starts.
    pub(crate) fn enter(self) -> io::Result<()> {
        self.0.restrict_self().map(drop).map_err(|_| io::Error::last_os_error())
    }
}

/// Reading and writing of files, and all changes of directories. Not: listing directories, running programs.
fn handled(abi: ABI) -> BitFlags<AccessFs> {
    let free = AccessFs::ReadDir | AccessFs::Execute | AccessFs::IoctlDev;
    AccessFs::from_all(abi) & !free
}

/// Rules that allow everything beside a directory.
fn allow_beside(hidden: &Path) -> Result<RulesetCreated, NoFence> {
    let handled = handled(ABI::V5);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(self::handled(ABI::V1))
        .map_err(|_| NoFence::NotInKernel)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(handled)?
        .scope(Scope::Signal)?
        .create()?;
    for path in beside(hidden)? {
        rules = allow(rules, &path, handled)?;
    }
    Ok(rules)
}

/// Allows what lies below a path. What has gone meanwhile needs no leave.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, NoFence> {
    match PathFd::new(path) {
        Ok(opened) => Ok(rules.add_rule(PathBeneath::new(opened, access))?),
        Err(_) => Ok(rules),
    }
}

/// Everything that lies beside the path to a directory: together it is all but the directory and those
/// above it. Links are left out, since one may lead into it; what they lead to elsewhere is here by itself.
fn beside(hidden: &Path) -> Result<Vec<PathBuf>, NoFence> {
    let mut found = Vec::new();
    for (below, above) in hidden.ancestors().zip(hidden.ancestors().skip(1)) {
        let unlisted = |error| NoFence::Unlisted { path: above.to_owned(), error };
        for entry in fs::read_dir(above).map_err(unlisted)? {
            let entry = entry.map_err(unlisted)?;
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if !is_link && entry.path() != below {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use nix::mount::{MsFlags, mount, umount};
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    /// Waits until what changes from now on can be told from what is there.
    fn settled(directory: &Path) -> Surroundings {
        loop {
            let now = Surroundings::of_directories([directory].into_iter()).unwrap();
            if now.are_settled() {
                return now;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_is_added_removed_or_renamed_beside_a_directory_is_seen() {
        let above = tempfile::tempdir().unwrap();
        let path = |name: &str| above.path().join(name);
        assert!(!Surroundings::of_directories([above.path()].into_iter()).unwrap().are_settled());
        let changes: [&dyn Fn() -> io::Result<()>; 4] = [
            &|| fs::create_dir(path("new")),
            &|| fs::rename(path("new"), path("other")),
            &|| std::os::unix::fs::symlink("/", path("link")),
            &|| fs::remove_dir(path("other")),
        ];
        for change in changes {
            let before = settled(above.path());
            assert!(before == settled(above.path()), "nothing has changed");
            change().unwrap();
            assert!(before != Surroundings::of_directories([above.path()].into_iter()).unwrap());
        }
    }

    #[test]
    fn what_is_mounted_or_unmounted_is_seen() {
        // In a thread of its own, whose mounts nobody else sees. Only root may do that.
        let seen = std::thread::spawn(|| {
            let above = tempfile::tempdir().unwrap();
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).ok()?;
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).ok()?;
            let changed = |change: &dyn Fn() -> nix::Result<()>| {
                let mounts = Mounts::watch().unwrap();
                assert!(!mounts.have_changed(), "nothing has changed");
                change().unwrap();
                mounts.have_changed()
            };
            let mounted =
                changed(&|| mount(none, above.path(), Some("tmpfs"), MsFlags::empty(), none));
            Some((mounted, changed(&|| umount(above.path()))))
        });
        if let Some(seen) = seen.join().unwrap() {
            assert_eq!(seen, (true, true));
        }
    }
}
