//! The functions and queues of a running server: the last good text of each manifest is in force.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};

use super::holds::Known;
use super::manifests::{Functions, LoadError, files_of, read};

/// The functions and queues of a server, read again when their files change.
#[derive(Debug)]
pub struct Library {
    builtin: Functions,
    paths: Vec<PathBuf>,
    /// The last good text of each file.
    good: Mutex<BTreeMap<PathBuf, String>>,
    known: RwLock<Known>,
    /// Whoever holds a queue or resumes it has this meanwhile.
    pub(crate) changing_holds: tokio::sync::Mutex<()>,
}

impl Library {
    /// The built-in functions, with those of the command line, and the manifests at these paths, all
    /// of which must be good.
    pub fn open(builtin: Functions, paths: Vec<PathBuf>) -> Result<Self, LoadError> {
        let mut functions = builtin.clone();
        let mut good = BTreeMap::new();
        for path in &paths {
            let io = |error| LoadError::Io { path: path.clone(), error };
            for file in files_of(path).map_err(io)? {
                let io = |error| LoadError::Io { path: file.clone(), error };
                let text = read(&file).map_err(io)?;
                functions.load_text(&file, &text)?;
                good.insert(file, text);
            }
        }
        let (good, known) = (Mutex::new(good), RwLock::new(Known::new(functions)));
        Ok(Self { builtin, paths, good, known, changing_holds: tokio::sync::Mutex::default() })
    }

    /// These functions, for good.
    pub fn fixed(functions: Functions) -> Self {
        let known = RwLock::new(Known::new(functions.clone()));
        Self {
            builtin: functions,
            paths: Vec::new(),
            good: Mutex::default(),
            known,
            changing_holds: tokio::sync::Mutex::default(),
        }
    }

    /// What holds now.
    pub fn current(&self) -> Arc<Functions> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).current()
    }

    /// The same for what was said by the API.
    fn change_known(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the API had said of queues before this server started.
    pub(crate) fn set_holds(&self, holds: BTreeMap<String, bool>) {
        self.change_known().set_holds(holds);
    }

    /// What is to be kept when the API holds or resumes this queue, if it is there: nothing where its manifest says the
    /// same.
    pub(crate) fn hold_to_keep(&self, queue: &str, hold: bool) -> Option<Option<bool>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).to_keep(queue, hold)
    }

    /// The API has said this of a queue, or what it had said is forgotten.
    pub(crate) fn set_hold(&self, queue: &str, hold: Option<bool>) {
        self.change_known().set_hold(queue, hold);
    }

    /// The queues of which nothing needs to be kept any more, because their manifests say the same.
    pub(crate) fn take_settled_holds(&self) -> Vec<(String, bool)> {
        self.change_known().take_settled()
    }

    /// Where the manifests are.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Reads all files again. The last good text of a file that is wrong now stays in force; what is
    /// wrong is returned.
    pub(crate) fn reload(&self) -> Vec<LoadError> {
        let mut problems = Vec::new();
        let mut functions = self.builtin.clone();
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        let mut still_good = BTreeMap::new();
        for path in &self.paths {
            let files = files_of(path).unwrap_or_else(|error| {
                problems.push(LoadError::Io { path: path.clone(), error });
                // Not there now, for example while it is replaced.
                good.keys().filter(|file| file.starts_with(path)).cloned().collect()
            });
            for file in files {
                let text = read(&file).map_err(|error| LoadError::Io { path: file.clone(), error });
                let loaded = text.and_then(|text| {
                    functions.load_text(&file, &text)?;
                    Ok(text)
                });
                match loaded {
                    Ok(text) => drop(still_good.insert(file, text)),
                    Err(problem) => {
                        problems.push(problem);
                        if let Some(text) = good.remove(&file) {
                            // It was good; only with what another file says now it may not be.
                            problems.extend(functions.load_text(&file, &text).err());
                            still_good.insert(file, text);
                        }
                    }
                }
            }
        }
        *good = still_good;
        self.change_known().set_read(functions);
        problems
    }
}
