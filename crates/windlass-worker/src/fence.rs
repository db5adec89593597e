//! Keeps a function out of the server's data directory, but for its own files there, by Landlock.
//!
//! Landlock can only allow. So everything is allowed that lies beside the path to the hidden directory:
//! all entries of `/` but one, all entries of that one but one, and so on down. From that follows what a
//! function cannot do either: add, remove or rename entries of the directories above the hidden one.
//! It may still list directories, run programs, and do as it likes in all others.
//!
//! With it come two rules of the kernel. No process of the function gains rights by starting a program
//! (`sudo`), and none may look into, mount beside or, from Linux 6.12, signal a process outside.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope,
};

/// What a function may do with a file that it was given to read.
const READ: BitFlags<AccessFs> = landlock::make_bitflags!(AccessFs::{ReadFile});

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
        let handled = handled(ABI::V5);
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(self::handled(ABI::V1))
            .map_err(|_| NoFence::NotInKernel)?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(handled)?
            .scope(Scope::Signal)?
            .create()?;
        for path in beside(hidden)?.iter().map(PathBuf::as_path).chain(usable.iter().copied()) {
            rules = allow(rules, path, handled)?;
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
