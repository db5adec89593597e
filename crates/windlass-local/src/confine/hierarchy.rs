//! The groups of this server in one hierarchy.

use std::io;
use std::path::PathBuf;

use super::version::Version;
use super::{group, v2};

/// One hierarchy that is in use.
#[derive(Debug)]
pub(super) struct Hierarchy {
    /// The group that has them all.
    pub(super) root: PathBuf,
    /// It limits memory.
    pub(super) memory: bool,
    /// It limits CPUs.
    pub(super) cpus: bool,
    /// It limits processes and threads.
    pub(super) tasks: bool,
    /// That of version 2.
    pub(super) tree: Option<v2::Tree>,
}

impl Hierarchy {
    pub(super) fn version(&self) -> Version {
        if self.tree.is_some() { Version::V2 } else { Version::V1 }
    }

    /// Ends what runs in the groups, and removes them.
    pub(super) fn close(&mut self) -> io::Result<()> {
        match &mut self.tree {
            Some(tree) => tree.close(),
            None => group::end(&self.root, None),
        }
    }
}
