//! The functions and queues of a running server: the last good text of each manifest is in force.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::manifests::{Functions, LoadError, files_of, read};

/// The functions and queues of a server, read again when their files change.
#[derive(Debug)]
pub struct Library {
    builtin: Functions,
    paths: Vec<PathBuf>,
    /// The last good text of each file.
    good: Mutex<BTreeMap<PathBuf, String>>,
    current: RwLock<Arc<Functions>>,
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
        let (good, current) = (Mutex::new(good), RwLock::new(Arc::new(functions)));
        Ok(Self { builtin, paths, good, current })
    }

    /// These functions, for good.
    pub fn fixed(functions: Functions) -> Self {
        let current = RwLock::new(Arc::new(functions.clone()));
        Self { builtin: functions, paths: Vec::new(), good: Mutex::default(), current }
    }

    /// What holds now.
    pub fn current(&self) -> Arc<Functions> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
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
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(functions);
        problems
    }
}
