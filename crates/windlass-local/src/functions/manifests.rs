//! Functions and queues from manifests, the same that `kubectl apply` takes, and functions that
//! somebody registers without one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use windlass_core::function::{EnvVar, RESERVED_NAME, RESERVED_PREFIX};
use windlass_core::parse::{self, Unread};
use windlass_core::warm::Warm;
use windlass_core::{
    API_VERSION, Function, FunctionSpec, GROUP, Problem, Queue, manifest, media_type, name,
};

use crate::bounded_file;

/// Most bytes of a file of manifests.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// What may run on this machine.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    functions: BTreeMap<String, Entry>,
    /// Each with where it was read.
    queues: BTreeMap<String, (Queue, PathBuf)>,
}

#[derive(Clone, Debug)]
struct Entry {
    function: Function,
    source: Source,
}

/// Where a function was defined.
#[derive(Clone, Debug)]
enum Source {
    /// In this program.
    Builtin,
    /// On the command line, in this working directory.
    CommandLine(PathBuf),
    /// In this file.
    Manifest(PathBuf),
}

impl Source {
    /// The working directory of its functions, if it has one.
    fn directory(&self) -> Option<&Path> {
        match self {
            Self::Builtin => None,
            Self::CommandLine(directory) => Some(directory),
            Self::Manifest(path) => path.parent(),
        }
    }

    /// Whether a worker can be told of its directory.
    fn check(&self) -> Result<(), String> {
        match self.directory() {
            Some(directory) if directory.to_str().is_none() => {
                Err(format!("the path of {} is not UTF-8", directory.display()))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("this program"),
            Self::CommandLine(_) => f.write_str("--function"),
            Self::Manifest(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why manifests cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or directory cannot be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A document is wrong.
    #[error("{}: {problem}", path.display())]
    Document {
        /// Of which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl Functions {
    /// The built-in functions.
    pub fn builtin(functions: Vec<Function>) -> Self {
        let entry = |function: Function| {
            (function.metadata.name.clone(), Entry { function, source: Source::Builtin })
        };
        Self { functions: functions.into_iter().map(entry).collect(), queues: BTreeMap::new() }
    }

    /// Adds a function of the command line, which runs in this working directory. It may take the
    /// place of a built-in one; the sentence says what else is wrong with it.
    pub fn register(&mut self, function: Function, directory: PathBuf) -> Result<(), String> {
        self.insert(function, Source::CommandLine(directory))
    }

    /// One for all namespaces gives way to any other, whichever comes first.
    fn insert(&mut self, function: Function, source: Source) -> Result<(), String> {
        let name = checked_name(&function.metadata.name)?;
        if function.spec.command.is_empty() {
            return Err("/spec/command: is empty".into());
        }
        check_env(&function.spec.env)?;
        check_pass_env(&function.spec)?;
        check_input_types(&function.spec.input_types)?;
        if let Some(why) = function.spec.warm.as_ref().and_then(Warm::problem) {
            return Err(format!("/spec/warm: {why}"));
        }
        source.check()?;
        let other = self.functions.get(&name);
        if let Some(other) = other.filter(|other| !matches!(other.source, Source::Builtin)) {
            match (function.is_for_all(), other.function.is_for_all()) {
                (true, false) => return Ok(()),
                (false, true) => {}
                _ => return Err(format!("function {name:?} is defined in {} too", other.source)),
            }
        }
        self.functions.insert(name, Entry { function, source });
        Ok(())
    }

    /// Adds the manifests of a file, or of all `.yaml`, `.yml` and `.json` files of a directory. A
    /// function may take the place of a built-in one or of one for all namespaces, and of no other. Other kinds of resources in the
    /// files are left alone.
    pub fn load(&mut self, path: &Path) -> Result<(), LoadError> {
        let io = |error| LoadError::Io { path: path.to_owned(), error };
        if !fs::metadata(path).map_err(io)?.is_dir() {
            return self.load_file(path);
        }
        files_of(path).map_err(io)?.iter().try_for_each(|file| self.load_file(file))
    }

    fn load_file(&mut self, path: &Path) -> Result<(), LoadError> {
        let io = |error| LoadError::Io { path: path.to_owned(), error };
        let text = read(path).map_err(io)?;
        self.load_text(path, &text)
    }

    /// All of a file or nothing.
    pub(super) fn load_text(&mut self, path: &Path, text: &str) -> Result<(), LoadError> {
        let io = |error| LoadError::Io { path: path.to_owned(), error };
        // Absolute, so that a function finds its files whatever the working directory is.
        let source = std::path::absolute(path).map_err(io)?;
        let wrong = |problem| LoadError::Document { path: path.to_owned(), problem };
        let mut whole = self.clone();
        for document in documents(text).map_err(wrong)? {
            whole.add(document, &source).map_err(wrong)?;
        }
        *self = whole;
        Ok(())
    }

    fn add(&mut self, document: Value, source: &Path) -> Result<(), String> {
        let field = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        match field("apiVersion") {
            API_VERSION => {}
            other if other.starts_with(&format!("{GROUP}/")) => {
                return Err(format!("/apiVersion: {other:?} is not known; use {API_VERSION:?}"));
            }
            // Somebody else's, such as a Service in the same file.
            _ => return Ok(()),
        }
        match field("kind") {
            // All are those of the one namespace.
            Function::KIND | Function::CLUSTER_KIND => {
                let problems = manifest::function_problems(&document);
                let function: Function = parse::value_of(document).map_err(reasons)?;
                self.insert(function, Source::Manifest(source.to_owned()))?;
                within_bounds(problems)?;
            }
            Queue::KIND => {
                let problems = manifest::queue_problems(&document);
                let queue: Queue = parse::value_of(document).map_err(reasons)?;
                within_bounds(problems)?;
                let name = checked_name(&queue.metadata.name)?;
                if let Some((_, other)) = self.queues.get(&name) {
                    return Err(format!("queue {name:?} is defined in {} too", other.display()));
                }
                self.queues.insert(name, (queue, source.to_owned()));
            }
            _ => {}
        }
        Ok(())
    }

    /// A function by its name.
    pub fn get(&self, name: &str) -> Option<&Function> {
        self.functions.get(name).map(|entry| &entry.function)
    }

    /// All queues in the order of their names.
    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.values().map(|(queue, _)| queue)
    }

    /// All functions in the order of their names.
    pub fn all(&self) -> impl Iterator<Item = &Function> {
        self.functions.values().map(|entry| &entry.function)
    }

    /// Those of the command line.
    pub(crate) fn of_command_line(&self) -> impl Iterator<Item = &Function> {
        self.from(|source| matches!(source, Source::CommandLine(_)))
    }

    /// Those of manifests.
    pub(crate) fn of_manifests(&self) -> impl Iterator<Item = &Function> {
        self.from(|source| matches!(source, Source::Manifest(_)))
    }

    fn from(&self, is_wanted: fn(&Source) -> bool) -> impl Iterator<Item = &Function> {
        self.functions
            .values()
            .filter(move |entry| is_wanted(&entry.source))
            .map(|entry| &entry.function)
    }

    /// Says whether a queue is on hold, if it is there.
    pub(super) fn set_hold(&mut self, name: &str, hold: bool) {
        if let Some((queue, _)) = self.queues.get_mut(name) {
            queue.spec.hold = hold;
        }
    }

    /// A queue by its name.
    pub fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.get(name).map(|(queue, _)| queue)
    }

    /// The directory in which a function starts: what it says itself, by default that of its manifest, or where it
    /// was registered.
    pub(crate) fn directory(&self, name: &str) -> Option<PathBuf> {
        let Entry { function, source } = self.functions.get(name)?;
        let own = function.spec.working_directory.as_ref().map(PathBuf::from);
        match (source.directory(), own) {
            (Some(base), Some(own)) => Some(base.join(own)),
            (base, own) => own.or_else(|| base.map(Path::to_owned)),
        }
    }

    /// Why a function cannot start in the working directory that it says, as far as that is known now.
    pub fn directory_problem(&self, name: &str) -> Option<String> {
        self.functions.get(name)?.function.spec.working_directory.as_ref()?;
        let directory = self.directory(name)?;
        let why = match fs::metadata(&directory) {
            Ok(found) if found.is_dir() => return None,
            Ok(_) => "is no directory".to_owned(),
            Err(error) => error.to_string(),
        };
        Some(format!("/spec/workingDirectory: {}: {why}", directory.display()))
    }
}

/// The text of a file of manifests.
pub(super) fn read(path: &Path) -> io::Result<String> {
    bounded_file::read(path, MAX_FILE_BYTES)
}

/// The manifests of a directory, or the file itself.
pub(super) fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// The documents of a YAML text (JSON is YAML), without the empty ones.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

fn checked_name(text: &str) -> Result<String, String> {
    match name::problem(text) {
        Some(why) => Err(format!("/metadata/name: {text:?} {why}")),
        None => Ok(text.to_owned()),
    }
}

/// Refuses what names no media types: nobody could send such an input.
fn check_input_types(types: &[String]) -> Result<(), String> {
    for (number, text) in types.iter().enumerate() {
        if let Some(why) = media_type::range_problem(text) {
            return Err(format!("/spec/inputTypes/{number}: {text:?} {why}"));
        }
    }
    Ok(())
}

/// Refuses names that are no variable's, and those of the contract, which are not the function's to
/// say: another server, or a fence, would believe them.
fn check_env(env: &[EnvVar]) -> Result<(), String> {
    for (number, EnvVar { name, value }) in env.iter().enumerate() {
        if let Some(why) = variable_problem(name) {
            return Err(format!("/spec/env/{number}/name: {why}"));
        }
        if value.contains('\0') {
            return Err(format!("/spec/env/{number}/value: has a zero byte"));
        }
    }
    Ok(())
}

/// Refuses, beside the same, what would be said twice and what no worker can be told.
fn check_pass_env(spec: &FunctionSpec) -> Result<(), String> {
    for (number, name) in spec.pass_env.iter().enumerate() {
        let why = match variable_problem(name) {
            Some(why) => why,
            None if spec.env.iter().any(|own| own.name == *name) => {
                format!("{name} is in env, too")
            }
            None if matches!(std::env::var(name), Err(std::env::VarError::NotUnicode(_))) => {
                format!("the value of {name} is not UTF-8")
            }
            None => continue,
        };
        return Err(format!("/spec/passEnv/{number}: {why}"));
    }
    Ok(())
}

fn variable_problem(name: &str) -> Option<String> {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let mut bytes = name.bytes();
    let is_name = bytes.next().is_some_and(is_letter)
        && bytes.all(|byte| is_letter(byte) || byte.is_ascii_digit());
    if !is_name {
        return Some(format!("{name:?} is no name: letters, digits and `_`, a digit not first"));
    }
    name.starts_with(RESERVED_PREFIX).then(|| RESERVED_NAME.to_owned())
}

/// What nothing else has been said against may still break the bounds of the definitions.
fn within_bounds(problems: Vec<Problem>) -> Result<(), String> {
    if problems.is_empty() { Ok(()) } else { Err(reasons(Unread::Misshapen(problems))) }
}

fn reasons(unread: Unread) -> String {
    match unread {
        Unread::Malformed(why) => why,
        Unread::Misshapen(problems) => {
            problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
        }
    }
}
