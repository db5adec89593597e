//! The audit log of a run: one line for each write that the API server answered.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::Value;

/// Resources that are asked and not stored: a review, or the token of a pod, is an answer and no write.
const NOT_STORED: [&str; 7] = [
    "serviceaccounts/token",
    "tokenreviews",
    "subjectaccessreviews",
    "localsubjectaccessreviews",
    "selfsubjectaccessreviews",
    "selfsubjectrulesreviews",
    "selfsubjectreviews",
];

/// The log's file.
#[derive(Clone, Debug)]
pub struct Audit(pub PathBuf);

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

/// One write that the API server answered.
#[derive(Clone, Debug)]
pub struct Write {
    /// When the API server had read the request: before the write.
    pub received: Timestamp,
    /// When it had answered.
    pub answered: Timestamp,
    /// `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Who asked.
    pub user: String,
    /// Resource and subresource, such as `pods/status`.
    pub resource: String,
    /// Namespace, empty for none.
    pub namespace: String,
    /// Name; empty for a creation whose name the API server made up.
    pub name: String,
    /// Status code of the answer.
    pub code: u64,
    /// The request's body, where the log has it.
    pub request: Value,
    /// The answer's body, where the log has it.
    pub response: Value,
}

impl Write {
    /// Whether something was stored.
    pub fn took_effect(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Whether it is an Event, which nothing depends on and the API server forgets after an hour.
    pub fn is_event(&self) -> bool {
        self.resource == "events"
    }

    /// Whether it renews a Lease: the price of being there, not of a job.
    pub fn is_lease(&self) -> bool {
        self.resource == "leases"
    }
}

impl Audit {
    /// The end of the log as it is.
    pub fn mark(&self) -> anyhow::Result<Mark> {
        Ok(Mark(std::fs::metadata(&self.0).context("the audit log")?.len()))
    }

    /// The writes since then, without what is only asked. A line that is not whole yet is left out.
    pub fn since(&self, mark: Mark) -> anyhow::Result<Vec<Write>> {
        let mut file = BufReader::new(File::open(&self.0).context("the audit log")?);
        file.seek(SeekFrom::Start(mark.0))?;
        let (mut writes, mut line) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            file.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                return Ok(writes);
            }
            // A kill of the API server may leave half a line, and the next one goes on in it.
            let Ok(event) = serde_json::from_slice::<Value>(&line) else { continue };
            let write = write(&event).with_context(|| event.to_string())?;
            if !NOT_STORED.contains(&write.resource.as_str()) && !is_dry_run(&event) {
                writes.push(write);
            }
        }
    }

    /// Waits until nothing that `counts` was written for so long, and gives the writes since the mark.
    pub async fn quiet(
        &self,
        mark: Mark,
        quiet: Duration,
        limit: Duration,
        counts: impl Fn(&Write) -> bool,
    ) -> anyhow::Result<Vec<Write>> {
        let deadline = std::time::Instant::now() + limit;
        let (mut known, mut since) = (usize::MAX, std::time::Instant::now());
        loop {
            let writes = self.since(mark)?;
            let count = writes.iter().filter(|write| counts(write)).count();
            if count != known {
                (known, since) = (count, std::time::Instant::now());
            }
            if since.elapsed() >= quiet {
                return Ok(writes);
            }
            anyhow::ensure!(
                std::time::Instant::now() < deadline,
                "writes go on after {limit:?}; the last:\n{}",
                last(&writes, counts)
            );
            tokio::time::sleep(quiet.min(Duration::from_millis(500))).await;
        }
    }
}

/// Whether the API server was only asked what it would do.
fn is_dry_run(event: &Value) -> bool {
    event["requestURI"].as_str().is_some_and(|uri| uri.contains("dryRun="))
}

fn last(writes: &[Write], counts: impl Fn(&Write) -> bool) -> String {
    let lines = writes.iter().rev().filter(|write| counts(write)).take(10).map(|w| {
        format!("{} {} {} {}/{} -> {}", w.user, w.verb, w.resource, w.namespace, w.name, w.code)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn write(event: &Value) -> anyhow::Result<Write> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let (resource, sub) = (text(&object["resource"]), text(&object["subresource"]));
    Ok(Write {
        received: text(&event["requestReceivedTimestamp"]).parse().context("received")?,
        answered: text(&event["stageTimestamp"]).parse().context("answered")?,
        verb: text(&event["verb"]),
        user: text(&event["user"]["username"]),
        resource: if sub.is_empty() { resource } else { format!("{resource}/{sub}") },
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        request: event["requestObject"].clone(),
        response: event["responseObject"].clone(),
    })
}

/// Writes by user, verb and resource, most first.
pub fn by_kind<'a>(
    writes: impl IntoIterator<Item = &'a Write>,
) -> Vec<((String, String, String), usize)> {
    let mut counts: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for write in writes {
        let key = (write.user.clone(), write.verb.clone(), write.resource.clone());
        *counts.entry(key).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// CPUs of a queue that a batch Job of ours held: from its creation until its pod was terminal or gone.
#[derive(Clone, Debug)]
pub struct Held {
    /// Name of the batch Job.
    pub batch_job: String,
    /// UID of the ComputeJob.
    pub job_uid: String,
    /// Number of the attempt.
    pub attempt: String,
    /// Pods that there were, by name.
    pub pods: Vec<String>,
    /// Name of the queue.
    pub queue: String,
    /// CPUs.
    pub cpus: u64,
    /// From when.
    pub from: Timestamp,
    /// Until when; none when they are still held.
    pub until: Option<Timestamp>,
}

/// What was held in a namespace, from a log that has the bodies of writes to batch Jobs and pods.
///
/// An interval begins when the creation was received and ends when the write was received that told the
/// pod's end: whoever acts upon that end does so later, so that what follows never seems to overlap.
pub fn held(writes: &[Write], namespace: &str) -> anyhow::Result<Vec<Held>> {
    let mut all: Vec<Held> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut owners: HashMap<String, (usize, bool)> = HashMap::new();
    let mut ordered: Vec<&Write> =
        writes.iter().filter(|w| w.namespace == namespace && w.took_effect()).collect();
    ordered.sort_by_key(|write| write.received);
    for write in ordered {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match (write.resource.as_str(), write.verb.as_str()) {
            ("jobs", "create") => {
                let labels = &write.request["metadata"]["labels"];
                let Some(uid) = labels["windlass.dev/job-uid"].as_str() else { continue };
                index.insert(write.name.clone(), all.len());
                all.push(begun(write.name.clone(), uid, labels, write.received)?);
            }
            ("pods", "create") => {
                let pod = &write.response["metadata"];
                let labels = &pod["labels"];
                let owner = text(&pod["ownerReferences"][0]["name"]);
                let at = match (index.get(&owner), labels["windlass.dev/job-uid"].as_str()) {
                    (Some(&at), _) => at,
                    // Who created the batch Job was killed before it had an answer: the log has no
                    // success, the cluster has the batch Job.
                    (None, Some(uid)) => {
                        index.insert(owner.clone(), all.len());
                        all.push(begun(owner, uid, labels, write.received)?);
                        all.len() - 1
                    }
                    (None, None) => continue,
                };
                owners.insert(text(&pod["name"]), (at, true));
                all[at].pods.push(text(&pod["name"]));
                all[at].until = None;
            }
            ("pods" | "pods/status", "patch" | "update") if is_terminal(&write.response) => {
                end(&mut all, &mut owners, &write.name, write.received);
            }
            ("pods", "delete") => {
                let at_once = write.request["gracePeriodSeconds"] == 0
                    || write.response["metadata"]["deletionTimestamp"].is_null();
                if at_once {
                    end(&mut all, &mut owners, &write.name, write.received);
                }
            }
            // Without a pod it is the batch Job itself that is gone.
            ("jobs", "delete") => {
                if let Some(&at) = index.get(&write.name)
                    && all[at].pods.is_empty()
                {
                    all[at].until.get_or_insert(write.received);
                }
            }
            _ => {}
        }
    }
    Ok(all)
}

/// What a batch Job or its pod holds from now on, by its labels.
fn begun(batch_job: String, uid: &str, labels: &Value, from: Timestamp) -> anyhow::Result<Held> {
    let text = |name: &str| labels[name].as_str().unwrap_or_default().to_owned();
    Ok(Held {
        batch_job,
        job_uid: uid.to_owned(),
        attempt: text("windlass.dev/attempt"),
        queue: text("windlass.dev/queue"),
        cpus: text("windlass.dev/cpus").parse().context("no CPUs in the labels")?,
        from,
        until: None,
        pods: Vec::new(),
    })
}

/// A pod has ended; with the last one of its batch Job the CPUs are free.
fn end(all: &mut [Held], owners: &mut HashMap<String, (usize, bool)>, pod: &str, time: Timestamp) {
    let Some((at, alive)) = owners.get_mut(pod) else { return };
    let at = *at;
    *alive = false;
    if !owners.values().any(|(other, alive)| *other == at && *alive) {
        all[at].until.get_or_insert(time);
    }
}

fn is_terminal(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
        || pod["status"]["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|container| container["state"]["terminated"].is_object())
}

/// Most CPUs of a queue that were held at the same moment, and when.
pub fn most_held(all: &[Held], queue: &str) -> (u64, Option<Timestamp>) {
    let mut steps: Vec<(Timestamp, i64)> = Vec::new();
    for held in all.iter().filter(|held| held.queue == queue) {
        let cpus = i64::try_from(held.cpus).unwrap_or(i64::MAX);
        steps.push((held.from, cpus));
        steps.extend(held.until.map(|until| (until, -cpus)));
    }
    // What becomes free at an instant is free for what begins at it.
    steps.sort_unstable();
    let (mut now, mut most, mut when) = (0_i64, 0_i64, None);
    for (time, cpus) in steps {
        now += cpus;
        if now > most {
            (most, when) = (now, Some(time));
        }
    }
    (u64::try_from(most).unwrap_or_default(), when)
}

/// Attempts of one job whose intervals overlap.
pub fn overlaps(all: &[Held]) -> Vec<String> {
    let mut by_job: BTreeMap<&str, Vec<&Held>> = BTreeMap::new();
    for held in all {
        by_job.entry(&held.job_uid).or_default().push(held);
    }
    let mut found = Vec::new();
    for attempts in by_job.values_mut() {
        attempts.sort_by_key(|held| held.from);
        for pair in attempts.windows(2) {
            if pair[0].until.is_none_or(|until| until > pair[1].from) {
                found.push(format!("{} and {}", pair[0].batch_job, pair[1].batch_job));
            }
        }
    }
    found
}
