//! Whether functions can start where they say, and Python's be imported: told when the server starts and when a manifest
//! changes, not by each job.
//!
//! `python -m windlass.worker MODULE:FUNCTION` knows `--check`. Other programs have nothing of the kind.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};
use windlass_core::Function;
use windlass_core::assignment::Program;
use windlass_worker::dry_run;

use super::program::program_of;
use crate::config::Config;
use crate::functions::Functions;
use crate::process::{PASSED_VARIABLES, search_path};

/// The module of the Python client that runs a function.
const PYTHON_WORKER: &str = "windlass.worker";

/// It says whether the function is there, and how it is called.
const CHECK: &str = "--check";

/// What Python says where a module, and not the client, has the name.
const HIDDEN_CLIENT: [&str; 2] =
    ["finding module specification for 'windlass.worker'", "on 'windlass'"];

/// How long a check may take while somebody waits for the server, and while nobody does.
const LIMITS: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];

/// What is in the line that says how a function is called. An earlier client says nothing, and an import what it likes.
const HOW: &str = " is called ";

/// How much is read of the end of what a check says, in bytes.
const READ: u64 = 16 * 1024;

/// Most of what a check says that is told.
const MAX_LINES: usize = 5;

/// Whether a command is that of a function of the Python client.
pub fn is_python_worker(command: &[String]) -> bool {
    command.windows(2).any(|words| words == ["-m", PYTHON_WORKER])
}

/// What a check has found.
enum Checked {
    /// It can be called; how, where the check says so.
    Good(Option<String>),
    /// No job of it can succeed.
    Bad(String),
    /// Nobody knows.
    Unknown(String),
}

/// The first function of the command line that cannot be called, and why.
pub async fn wrong_function(config: &Config) -> Option<(String, String)> {
    // What is not there yet has nothing to hide.
    let data = std::fs::canonicalize(&config.data).ok();
    let hides_data = config.hides_data && data.is_some();
    let config = Config { hides_data, data: data.unwrap_or_default(), ..config.clone() };
    let functions = config.functions.current();
    // Together no longer than one may take, and no more at once than there are CPUs: each imports what the others do.
    let until = Instant::now() + LIMITS[0];
    let checks = functions.of_command_line().map(|function| {
        let program = program_of(&config, &functions, function);
        let path = config.worker.program.clone();
        async move {
            let found = match is_checked(function) {
                true => checked(program, &path, until).await,
                false => looked_up(&program, &search_path(&path)),
            };
            (&function.metadata.name, found)
        }
    });
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut unknown = BTreeMap::<String, Vec<&str>>::new();
    for (name, found) in at_once(cpus, checks).await {
        match found {
            Checked::Good(how) => tell_how(name, how),
            Checked::Bad(why) => return Some((name.clone(), why)),
            Checked::Unknown(why) => unknown.entry(why).or_default().push(name),
        }
    }
    for (why, names) in unknown {
        warn!(function = %names.join(", "), %why, "{UNKNOWN}");
    }
    None
}

/// What these find, in their order, and so many at once. One that hangs holds up no other, as long as others end.
async fn at_once<F: Future>(most: usize, checks: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let checks = checks.into_iter().enumerate();
    let numbered = checks.map(|(number, check)| async move { (number, check.await) });
    let mut found: Vec<_> = stream::iter(numbered).buffer_unordered(most).collect().await;
    found.sort_unstable_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, found)| found).collect()
}

/// The functions that cannot use the working directory that they say.
fn wrong_directories<'a>(
    config: &'a Config,
    functions: &'a Functions,
) -> impl Iterator<Item = (&'a Function, String)> {
    let hidden = config.hidden();
    functions.all().filter_map(move |function| {
        let name = &function.metadata.name;
        let why = functions.directory_problem(name).or_else(|| {
            function.spec.working_directory.as_ref()?;
            let directory = std::fs::canonicalize(functions.directory(name)?).ok()?;
            directory.starts_with(hidden.as_ref()?).then(|| {
                let directory = directory.display();
                format!(
                    "/spec/workingDirectory: {directory} is the server's, and no function reads it"
                )
            })
        })?;
        Some((function, why))
    })
}

/// Why nobody knows it of a function that was not looked at.
const NOT_CHECKED: &str = "not checked: others took the time";

/// What is said when a check says nothing.
const UNKNOWN: &str = "whether the function can be called is not known";

/// The checks of functions of manifests, off everybody's way.
#[derive(Default)]
pub(super) struct Checks {
    /// As what each was checked.
    seen: HashMap<String, Program>,
    /// The functions that cannot use their working directories, and why.
    misplaced: HashMap<String, String>,
    running: JoinSet<()>,
}

impl Checks {
    /// Checks what the manifests say now and did not say before.
    pub(super) fn begin(&mut self, config: &Arc<Config>) {
        // A command that runs one job and ends has that job tell.
        if !config.durable {
            return;
        }
        let functions = config.functions.current();
        let told = std::mem::take(&mut self.misplaced);
        for (function, why) in wrong_directories(config, &functions) {
            let name = &function.metadata.name;
            if told.get(name) != Some(&why) {
                warn!(function = %name, %why, "every job of this function will fail");
            }
            self.misplaced.insert(name.clone(), why);
        }
        let seen = std::mem::take(&mut self.seen);
        let mut new = Vec::new();
        for function in functions.of_manifests().filter(|function| is_checked(function)) {
            let name = &function.metadata.name;
            let program = program_of(config, &functions, function);
            if seen.get(name) != Some(&program) {
                new.push((name.clone(), program.clone()));
            }
            self.seen.insert(name.clone(), program);
        }
        while self.running.try_join_next().is_some() {}
        if !new.is_empty() {
            self.running.spawn(tell_wrong_ones(new, config.worker.program.clone()));
        }
    }
}

async fn tell_wrong_ones(functions: Vec<(String, Program)>, windlass: PathBuf) {
    for (function, program) in functions {
        match checked(program, &windlass, Instant::now() + LIMITS[1]).await {
            Checked::Good(how) => tell_how(&function, how),
            Checked::Bad(why) => {
                warn!(%function, %why, "every job of this function will fail: it cannot be called");
            }
            Checked::Unknown(why) => warn!(%function, %why, "{UNKNOWN}"),
        }
    }
}

fn is_checked(function: &Function) -> bool {
    is_python_worker(&[&function.spec.command[..], &function.spec.args].concat())
}

/// Whether the program of a function is there.
fn looked_up(program: &Program, search_path: &OsStr) -> Checked {
    let name = &program.command[0];
    let own_path = program.env.iter().rfind(|variable| variable.name == "PATH");
    let search_path = own_path.map_or(search_path, |variable| OsStr::new(&variable.value));
    let here = program.directory.as_ref().map(PathBuf::from).unwrap_or_default();
    let is_program = |path: &Path| {
        std::fs::metadata(here.join(path))
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    match name.contains('/') {
        true if is_program(Path::new(name)) => Checked::Good(None),
        true => Checked::Bad(format!("{name:?}: there is no such program")),
        false if std::env::split_paths(search_path).any(|path| is_program(&path.join(name))) => {
            Checked::Good(None)
        }
        false => Checked::Bad(format!(
            "{name:?}: there is no such program on the PATH{}",
            if is_python_target(name) {
                format!(
                    "; the program of a Python function is \"python -m {PYTHON_WORKER} {name}\""
                )
            } else {
                String::new()
            }
        )),
    }
}

/// Whether it is `module:function`, as other programs take it.
fn is_python_target(name: &str) -> bool {
    let is_name = |part: &str| {
        part.split('.').all(|word| {
            !word.is_empty() && word.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
        })
    };
    name.split_once(':').is_some_and(|(module, function)| is_name(module) && is_name(function))
}

/// The time until then may be short, or over, where others are checked before.
async fn checked(mut program: Program, windlass: &Path, until: Instant) -> Checked {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Checked::Unknown(NOT_CHECKED.to_owned());
    }
    program.command.push(CHECK.into());
    let work = match TempDir::with_prefix("windlass-check-") {
        Ok(work) => work,
        // That is no fault of the function, and jobs need none there.
        Err(error) => return Checked::Unknown(format!("TMPDIR: {error}")),
    };
    let output = async {
        let path = search_path(windlass);
        let mut process = dry_run(&program, work.path(), path, &PASSED_VARIABLES)?;
        // What the import has started may keep it open.
        let said = tempfile::tempfile()?;
        process.stdout(said.try_clone()?).stderr(Stdio::piped());
        let output = process.spawn()?.wait_with_output().await?;
        Ok::<_, io::Error>((output, said))
    };
    match tokio::time::timeout_at(until, output).await {
        Err(_) => Checked::Unknown(format!(
            "it is not imported within {:.0} s: that takes long, or it starts what belongs below \
             `if __name__ == \"__main__\":`",
            left.as_secs_f64()
        )),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            Checked::Bad(format!("{:?}: {error}", program.command[0]))
        }
        Ok(Err(error)) => Checked::Unknown(error.to_string()),
        Ok(Ok((output, said))) => verdict(&output, said),
    }
}

fn verdict(output: &Output, stdout: File) -> Checked {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.trim_end().lines().collect();
    let end = lines[lines.len().saturating_sub(MAX_LINES)..].join("\n");
    match output.status.code() {
        Some(0) => Checked::Good(how_called(stdout).unwrap_or_default()),
        // The client of this Python is older.
        Some(2) if end.ends_with(&format!("unrecognized arguments: {CHECK}")) => {
            Checked::Good(None)
        }
        Some(_) if HIDDEN_CLIENT.iter().all(|part| end.contains(part)) => Checked::Bad(format!(
            "{end}\na file windlass.py hides the Python client: give it another name"
        )),
        Some(_) => Checked::Bad(end),
        None => Checked::Unknown(format!("the check ended with {}", output.status)),
    }
}

/// What a check says of it, below whatever the import of the function has printed.
fn how_called(mut stdout: File) -> io::Result<Option<String>> {
    let begin = stdout.metadata()?.len().saturating_sub(READ);
    stdout.seek(SeekFrom::Start(begin))?;
    let mut said = Vec::new();
    stdout.take(READ).read_to_end(&mut said)?;
    let said = String::from_utf8_lossy(&said);
    Ok(said.lines().last().filter(|line| line.contains(HOW)).map(str::to_owned))
}

/// Whether each item is an argument or all together are is seen by the wrong results alone, when it is not told.
fn tell_how(function: &str, how: Option<String>) {
    if let Some(how) = how {
        info!(%function, %how, "can be called");
    }
}

#[cfg(test)]
mod tests;
