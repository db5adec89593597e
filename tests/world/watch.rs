//! The objects of one kind in one namespace, as a watch brings them.
//!
//! The watch lives on the test's own runtime: it goes on while the test awaits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::Api;

/// What is true of an object, in words that the test chooses.
pub type Marks = fn(&Value) -> Vec<&'static str>;

/// Says which change of an object, from the old to the new, may not be.
pub type Rule = fn(&Value, &Value) -> Option<String>;

/// A running watch. It ends with this value.
pub struct Watch {
    kind: &'static str,
    state: Arc<Mutex<Objects>>,
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

/// What the watch has brought.
#[derive(Default)]
pub struct Objects {
    /// The objects that there are, by name.
    pub live: BTreeMap<String, Value>,
    /// When what was first true of an object, by its name. A deleted one keeps its times.
    pub first: BTreeMap<String, BTreeMap<&'static str, Instant>>,
    /// Changes that no object may make, as the test's rule says.
    pub broken: Vec<String>,
    /// Changes in all.
    pub changes: u64,
    ready: bool,
}

impl Objects {
    /// Objects of which this was true at some time.
    pub fn count(&self, mark: &str) -> usize {
        self.first.values().filter(|marks| marks.contains_key(mark)).count()
    }

    /// When this was first true of the object.
    pub fn when(&self, name: &str, mark: &str) -> Option<Instant> {
        self.first.get(name)?.get(mark).copied()
    }

    /// When this was first true of the last object.
    pub fn last(&self, mark: &str) -> Option<Instant> {
        self.first.values().filter_map(|marks| marks.get(mark)).max().copied()
    }
}

impl Watch {
    /// Watches a kind (`windlass.dev/v1alpha1`, `ComputeJob`, `computejobs`) in a namespace; the rule says
    /// which change of an object is broken. Returns when what there is has been brought.
    pub async fn start(
        api: &Api,
        namespace: &str,
        (group, kind, plural): (&str, &'static str, &str),
        marks: Marks,
        rule: Rule,
    ) -> anyhow::Result<Self> {
        let (group, version) = group.split_once('/').unwrap_or(("", group));
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        let objects: kube::Api<DynamicObject> =
            kube::Api::namespaced_with(api.client(), namespace, &resource);
        let state = Arc::new(Mutex::new(Objects::default()));
        let changed = Arc::new(Notify::new());
        let events = watcher(objects, watcher::Config::default().timeout(50)).default_backoff();
        let task = tokio::spawn({
            let (state, changed) = (Arc::clone(&state), Arc::clone(&changed));
            async move {
                let mut events = Box::pin(events);
                let mut listed: Option<BTreeMap<String, Value>> = None;
                loop {
                    let event = match events.try_next().await {
                        Ok(Some(event)) => event,
                        Ok(None) => return,
                        // A failed watch is started again by the watcher, after a pause.
                        Err(_) => continue,
                    };
                    let now = Instant::now();
                    let mut state = lock(&state);
                    match event {
                        watcher::Event::Init => listed = Some(BTreeMap::new()),
                        watcher::Event::InitApply(object) => {
                            let (name, object) = plain(&object);
                            state.apply(&name, &object, now, marks, rule);
                            if let Some(listed) = &mut listed {
                                listed.insert(name, object);
                            }
                        }
                        watcher::Event::InitDone => {
                            if let Some(listed) = listed.take() {
                                let before = std::mem::replace(&mut state.live, listed);
                                for name in before.into_keys() {
                                    if !state.live.contains_key(&name) {
                                        state.gone(name, now);
                                    }
                                }
                            }
                            state.ready = true;
                        }
                        watcher::Event::Apply(object) => {
                            let (name, object) = plain(&object);
                            state.apply(&name, &object, now, marks, rule);
                            state.live.insert(name, object);
                        }
                        watcher::Event::Delete(object) => {
                            let (name, _) = plain(&object);
                            state.live.remove(&name);
                            state.gone(name, now);
                        }
                    }
                    drop(state);
                    changed.notify_waiters();
                }
            }
        });
        let watch = Self { kind, state, changed, task };
        watch
            .until("the watch has begun", Duration::from_secs(60), |objects| {
                objects.ready.then_some(())
            })
            .await?;
        Ok(watch)
    }

    /// What it has brought.
    pub fn objects(&self) -> MutexGuard<'_, Objects> {
        lock(&self.state)
    }

    /// Waits until `probe` gives something of the objects.
    pub async fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        probe: impl Fn(&Objects) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            // Before the look, so that no change falls between look and wait.
            let change = self.changed.notified();
            if let Some(found) = probe(&self.objects()) {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                anyhow::bail!("not within {limit:?}: {what}\n{}", self.summary());
            }
            // The bound is looked at although nothing changes.
            tokio::time::timeout(Duration::from_secs(1), change).await.unwrap_or_default();
        }
    }

    /// How many objects there are, and of how many what was true.
    pub fn summary(&self) -> String {
        let objects = self.objects();
        let mut marks: BTreeMap<&str, usize> = BTreeMap::new();
        for mark in objects.first.values().flat_map(BTreeMap::keys) {
            *marks.entry(mark).or_default() += 1;
        }
        format!("{}: {} there, {marks:?}", self.kind, objects.live.len())
    }
}

impl Objects {
    fn gone(&mut self, name: String, now: Instant) {
        self.changes += 1;
        self.first.entry(name).or_default().entry("gone").or_insert(now);
    }

    fn apply(&mut self, name: &str, object: &Value, now: Instant, marks: Marks, rule: Rule) {
        self.changes += 1;
        if let Some(old) = self.live.get(name) {
            if old["metadata"]["uid"] != object["metadata"]["uid"] {
                self.first.remove(name);
            } else if let Some(broken) = rule(old, object) {
                self.broken.push(format!("{name}: {broken}"));
            }
        }
        let first = self.first.entry(name.to_owned()).or_default();
        for mark in marks(object) {
            first.entry(mark).or_insert(now);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<Objects>) -> MutexGuard<'_, Objects> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn plain(object: &DynamicObject) -> (String, Value) {
    let name = object.metadata.name.clone().unwrap_or_default();
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    (name, value)
}

/// Nothing is broken.
pub fn anything(_: &Value, _: &Value) -> Option<String> {
    None
}

/// ComputeJobs, for [`Watch::start`].
pub const COMPUTE_JOBS: (&str, &str, &str) = ("windlass.dev/v1alpha1", "ComputeJob", "computejobs");
/// Batch Jobs.
pub const BATCH_JOBS: (&str, &str, &str) = ("batch/v1", "Job", "jobs");
/// Pods.
pub const PODS: (&str, &str, &str) = ("v1", "Pod", "pods");

/// What is true of a ComputeJob: its phases, and `finished` for each of its ends.
pub fn compute_job_marks(job: &Value) -> Vec<&'static str> {
    let mut marks = vec!["there"];
    match job["status"]["phase"].as_str() {
        Some("Queued") => marks.push("queued"),
        Some("Starting") => marks.push("starting"),
        Some("Running") => marks.push("running"),
        Some("Succeeded") => marks.extend(["finished", "succeeded"]),
        Some("Failed") => marks.extend(["finished", "failed"]),
        Some("Cancelled") => marks.extend(["finished", "cancelled"]),
        _ => {}
    }
    marks
}

/// What is true of a batch Job.
pub fn batch_job_marks(job: &Value) -> Vec<&'static str> {
    let mut marks = vec!["there"];
    let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    if conditions.iter().any(|c| c["type"] == "Complete" && c["status"] == "True") {
        marks.push("complete");
    }
    marks
}

/// What is true of a pod: `terminal` when nothing of it may run.
pub fn pod_marks(pod: &Value) -> Vec<&'static str> {
    let mut marks = vec!["there"];
    match pod["status"]["phase"].as_str() {
        Some("Running") => marks.push("running"),
        Some("Succeeded" | "Failed") => marks.push("terminal"),
        _ => {}
    }
    marks
}
