//! A machine with functions, and waiting for what happens on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use rustix::process::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_core::jobs::Submission;
use windlass_core::status::FailureReason;
use windlass_core::{Error, Function, Job, JobKey, JobSpec, Jobs as _, Phase};
use windlass_local::{Bounds, Config, Engine, Functions, Library, Logs, NAMESPACE, WorkerOptions};
use windlass_metrics::JobMetrics;

/// Longest time that any test waits for anything.
const BOUND: Duration = Duration::from_secs(60);

/// An engine with a directory of its own, which is also where its functions leave traces.
pub(crate) struct Machine {
    pub(crate) engine: Arc<Engine>,
    pub(crate) directory: TempDir,
}

/// A machine with so many CPUs and these functions, each a name and a shell script that may use
/// `$HERE`, the machine's directory. They are not retried.
pub(crate) fn machine(cpus: u32, functions: &[(&str, &str)]) -> Machine {
    let directory = tempfile::tempdir().unwrap();
    let functions = builtin(directory.path(), functions);
    machine_with(cpus, directory, functions)
}

fn builtin(here: &Path, functions: &[(&str, &str)]) -> Functions {
    let functions = functions.iter().map(|(name, script)| {
        function(name, here, json!({ "command": ["/bin/sh", "-c", script] }))
    });
    Functions::builtin(functions.collect())
}

pub(crate) fn machine_with(cpus: u32, directory: TempDir, functions: Functions) -> Machine {
    let data = directory.path().to_owned();
    machine_at(cpus, directory, functions, data)
}

/// A machine that is told of its directory by this path.
pub(crate) fn machine_at(
    cpus: u32,
    directory: TempDir,
    functions: Functions,
    data: PathBuf,
) -> Machine {
    machine_of(cpus, directory, Library::fixed(functions), data)
}

/// A machine that reads the manifests in `manifests` of its directory again when they change.
pub(crate) fn machine_with_manifests(cpus: u32, functions: &[(&str, &str)]) -> Machine {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("manifests")).unwrap();
    machine_with_manifests_in(cpus, directory, functions)
}

/// The same where there is such a directory.
pub(crate) fn machine_with_manifests_in(
    cpus: u32,
    directory: TempDir,
    functions: &[(&str, &str)],
) -> Machine {
    let manifests = directory.path().join("manifests");
    let library = Library::open(builtin(directory.path(), functions), vec![manifests]).unwrap();
    let data = directory.path().to_owned();
    machine_of(cpus, directory, library, data)
}

fn machine_of(cpus: u32, directory: TempDir, library: Library, data: PathBuf) -> Machine {
    let config = Config {
        cpus,
        functions: Arc::new(library),
        data,
        durable: true,
        bounds: Bounds {
            max_queued: 1_000_000,
            max_stored_bytes: 1 << 30,
            blob_quota: None,
            attempt_disk_bytes: Some(64 << 20),
            warm_memory_bytes: 1 << 30,
        },
        worker: WorkerOptions {
            program: program(),
            logs: Logs::Files,
            descriptors: None,
            grace: Duration::from_millis(300),
            run_as: None,
        },
        stop: None,
        // The functions of these tests leave traces in the data directory.
        hides_data: false,
        metrics: JobMetrics::default(),
        activity: Arc::default(),
    };
    Machine { engine: Engine::start(config).unwrap(), directory }
}

/// A function from the fields of its spec, with `$HERE`.
pub(crate) fn function(name: &str, here: &Path, mut spec: Value) -> Function {
    let defaults = json!({
        "retries": 0, "contentType": "text/plain", "env": [{ "name": "HERE", "value": here }],
    });
    for (field, value) in defaults.as_object().unwrap() {
        spec.as_object_mut().unwrap().entry(field).or_insert_with(|| value.clone());
    }
    Function::new(name, serde_json::from_value(spec).unwrap())
}

/// A spec from its fields.
pub(crate) fn spec(function: &str, fields: Value) -> JobSpec {
    let mut all = json!({ "function": function });
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

/// The submission of a job. Without a name one is made up.
fn submission(name: &str, spec: JobSpec) -> Submission {
    let name = Some(name.to_owned()).filter(|name| !name.is_empty());
    let namespace = NAMESPACE.into();
    Submission { namespace, name, spec, ..Submission::default() }
}

pub(crate) fn key(name: &str) -> JobKey {
    JobKey::new(NAMESPACE, name)
}

impl Machine {
    pub(crate) async fn submit(&self, name: &str, spec: JobSpec) -> Result<Job, Error> {
        self.engine.submit(submission(name, spec)).await
    }

    /// Calls a function: its job begins before it is stored.
    pub(crate) async fn call(&self, name: &str, spec: JobSpec) -> Result<Job, Error> {
        self.engine.submit(Submission { is_waited_for: true, ..submission(name, spec) }).await
    }

    /// Submits a job of this function with no fields under a name of its own.
    pub(crate) async fn start(&self, function: &str) -> String {
        self.submit("", spec(function, json!({}))).await.unwrap().metadata.name
    }

    /// Waits until the job is as it should be.
    pub(crate) async fn until(&self, name: &str, is: impl Fn(&Job) -> bool) -> Job {
        let mut last = None;
        let wait = async {
            let mut watch = self.engine.watch(&key(name)).await.unwrap();
            loop {
                let job = watch.next().await.unwrap();
                if is(&job) {
                    return job;
                }
                last = Some(job);
            }
        };
        match tokio::time::timeout(BOUND, wait).await {
            Ok(job) => job,
            Err(_) => panic!("not within {BOUND:?}: {last:#?}"),
        }
    }

    pub(crate) async fn finished(&self, name: &str) -> Job {
        self.until(name, |job| job.status.is_finished()).await
    }

    pub(crate) async fn running(&self, name: &str) -> Job {
        self.until(name, |job| job.status.phase == Some(Phase::Running)).await
    }

    /// The result of a job, once it has succeeded.
    pub(crate) async fn result(&self, name: &str) -> Whole {
        let job = self.finished(name).await;
        assert_eq!(job.status.phase, Some(Phase::Succeeded), "{:#?}", job.status);
        let result = self.engine.result(&key(name), false).await.unwrap();
        let (content_type, sha256) = (result.content_type.clone(), result.sha256.clone());
        let whole = 0..result.bytes;
        let pieces: Vec<_> = result.read(whole).await.unwrap().try_collect().await.unwrap();
        Whole { bytes: pieces.concat(), content_type, sha256 }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Process ids that a function has written to this file, see [`tell_pids`].
    pub(crate) async fn pids(&self, name: &str) -> Vec<u32> {
        let path = self.path(name);
        let read = || fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'));
        let text = eventually("the function tells its pids", read).await;
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Files that attempts have left, but for their logs. A worker that waits for its order has
    /// nothing of any attempt.
    pub(crate) fn left(&self) -> Vec<PathBuf> {
        let files = ["attempts", "results"].map(|name| fs::read_dir(self.path(name)).unwrap());
        let paths = files.into_iter().flatten().map(|entry| entry.unwrap().path());
        let has_record = |path: &Path| {
            fs::read(path.join("attempt.json")).is_ok_and(|text| text.trim_ascii() != b"null")
        };
        paths.filter(|path| path.is_file() || has_record(path)).collect()
    }
}

/// A script's part that writes its own pid and that of its last child to a file.
pub(crate) fn tell_pids(file: &str) -> String {
    format!("echo $$ $! > $HERE/{file}.new; mv $HERE/{file}.new $HERE/{file};")
}

/// Why a job, or its latest failed attempt, failed.
pub(crate) fn failure(job: &Job) -> (FailureReason, String) {
    let failure = job.status.failure.as_ref().unwrap_or_else(|| panic!("{:#?}", job.status));
    (failure.reason, failure.message.clone())
}

/// Waits until there is something that nobody announces.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    match tokio::time::timeout(BOUND, wait).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: not within {BOUND:?}"),
    }
}

/// Whether a process runs. One that only waits to be reaped does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The state follows the name, which is in parentheses and may itself hold some.
    !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X']))
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Pid {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    Pid::from_raw(parent.trim().parse().unwrap()).unwrap()
}

/// The example beside this test's program.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).map(|path| path.join("examples/windlass")).unwrap();
    assert!(program.exists(), "{} is not built", program.display());
    program
}

/// A result that was read to its end.
pub(crate) struct Whole {
    pub(crate) bytes: Vec<u8>,
    pub(crate) content_type: String,
    pub(crate) sha256: String,
}
