//! `Jobs` on one machine: what the gateway and the command line ask of the engine.

use std::io::{self, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::oneshot;
use tokio_util::io::ReaderStream;
use uuid::Uuid;
use windlass_core::jobs::{Filter, Page, Submission, Watch};
use windlass_core::live::Shown;
use windlass_core::plan::{AdmissionDecision, Observed};
use windlass_core::result::{ByteStream, Content, Stored, StoredResult, inline_bytes};
use windlass_core::status::JobResult;
use windlass_core::validate::validate_name;
use windlass_core::{
    Cpus, Error, Function, Job, JobKey, JobLimits, JobSpec, Jobs, Metadata, Problem, Queue, name,
    plan, validate,
};

use crate::driver::{Event, waits_for};
use crate::store::Watcher;
use crate::{Engine, Functions, follow};

/// Tries at a name that is made up.
const NAME_TRIES: u32 = 5;

/// Bytes of a large result that are read at a time.
const PIECE: usize = 128 * 1024;

/// The one namespace of a machine.
pub const NAMESPACE: &str = "default";

#[async_trait]
impl Jobs for Engine {
    async fn submit(&self, submission: Submission) -> Result<Job, Error> {
        if submission.namespace != NAMESPACE {
            return Err(Error::NotFound { kind: "Namespace", name: submission.namespace });
        }
        self.ready().await?;
        if let Some(name) = &submission.name {
            validate_name(name)?;
        }
        let functions = self.config.functions.current();
        // What no grant can ever meet is refused now, not queued for ever.
        let limits = limits(&functions, self.config.cpus, &submission.spec)?;
        self.has_room()?;
        let queue = functions.queue(submission.spec.queue()).map(|queue| queue.spec.max_queued);
        let place = self.places.take(submission.spec.queue(), queue)?;
        let made_up = submission.name.is_none();
        let annotations = submission.annotations();
        let name = submission.name.unwrap_or_else(|| generated_name(&submission.spec.function));
        let now = self.clock.now();
        let metadata = Metadata {
            name,
            namespace: NAMESPACE.into(),
            uid: Uuid::now_v7().to_string(),
            resource_version: "1".into(),
            generation: Some(1),
            creation_timestamp: Some(now),
            annotations,
            ..Metadata::default()
        };
        let mut job = Job::new(metadata, submission.spec);
        // It is told from the start that it waits, so that a deep queue costs one write a job.
        let admission =
            AdmissionDecision::Waiting { why: waits_for(&limits, self.config.cpus), place: None };
        let seen = Observed { admission, ..Observed::default() };
        job.status = plan(&job, &limits, &seen, now).status;
        let store = Arc::clone(&self.store);
        // In a task of its own: a caller who goes away meanwhile does not take its place back from a
        // job that is accepted all the same.
        let accepted = tokio::spawn(async move {
            let mut tries = 1;
            let accepted = loop {
                match store.insert(job.clone(), limits.clone()).await {
                    // Two of some ten thousand names that were made up may be the same.
                    Err(Error::Conflict(_)) if made_up && tries < NAME_TRIES => {
                        job.metadata.name = generated_name(&job.spec.function);
                        tries += 1;
                    }
                    other => break other?,
                }
            };
            place.keep();
            Ok::<_, Error>(accepted)
        });
        let job = accepted.await.map_err(|error| Error::Bug(error.to_string()))??;
        Ok(Arc::unwrap_or_clone(job))
    }

    async fn get(&self, key: &JobKey) -> Result<Job, Error> {
        self.find(key).await.map(Arc::unwrap_or_clone)
    }

    async fn list(&self, namespace: &str, filter: &Filter) -> Result<Page, Error> {
        if namespace == NAMESPACE {
            self.store.list(filter).await
        } else {
            Ok(Page { items: Vec::new(), continue_from: None })
        }
    }

    async fn cancel(&self, key: &JobKey) -> Result<Job, Error> {
        let uid = uid(&*self.find(key).await?)?;
        self.ask(|reply| Event::Cancel { uid, reply }).await?;
        self.find(key).await.map(Arc::unwrap_or_clone)
    }

    async fn delete(&self, key: &JobKey) -> Result<(), Error> {
        let job = self.find(key).await?;
        let uid = uid(&job)?;
        self.ask(|reply| Event::Delete { uid, reply }).await?;
        let (files, last) = (Arc::clone(&self.files), job.status.attempt.unwrap_or(0));
        let gone = tokio::task::spawn_blocking(move || files.forget(uid, last));
        gone.await.map_err(|error| Error::Bug(error.to_string()))
    }

    async fn watch(&self, key: &JobKey) -> Result<Box<dyn Watch>, Error> {
        check_namespace(key)?;
        Ok(Box::new(self.store.watch(&key.name).await?))
    }

    async fn result(&self, key: &JobKey) -> Result<StoredResult, Error> {
        let job = self.find(key).await?;
        let Some(result) = job.status.result.clone() else {
            return Err(Error::no_result(&job));
        };
        let content = match &result.location {
            None => {
                Content::Inline(inline_bytes(&result).ok_or_else(|| Error::damaged(key))?.into())
            }
            Some(location) => Content::Stored(Box::new(ResultFile(self.files.result(location)))),
        };
        let JobResult { bytes, content_type, sha256, .. } = result;
        Ok(StoredResult { bytes, content_type, sha256, content })
    }

    async fn logs(&self, key: &JobKey, limit: u64) -> Result<Vec<u8>, Error> {
        let job = self.find(key).await?;
        let Some(attempt) = job.status.attempt else { return Ok(Vec::new()) };
        let path = self.files.log(uid(&job)?, attempt);
        let read = tokio::task::spawn_blocking(move || {
            windlass_worker::read_log(&path, limit)
                .map_err(|error| Error::Bug(format!("{}: {error}", path.display())))
        });
        read.await.map_err(|error| Error::Bug(error.to_string()))?
    }

    async fn follow_logs(&self, key: &JobKey, tail: u64) -> Result<ByteStream, Error> {
        check_namespace(key)?;
        let changes = self.store.watch(&key.name).await?;
        follow::follow(changes, Arc::clone(&self.files), tail).await
    }

    async fn function(&self, _: &str, name: &str) -> Result<Function, Error> {
        let missing = || Error::NotFound { kind: Function::KIND, name: name.to_owned() };
        self.config.functions.current().get(name).cloned().ok_or_else(missing)
    }

    async fn functions(&self, _: &str) -> Result<Vec<Function>, Error> {
        Ok(self.config.functions.current().all().cloned().collect())
    }

    async fn queue(&self, _: &str, name: &str) -> Result<Option<Queue>, Error> {
        Ok(self.config.functions.current().queue(name).cloned())
    }

    async fn queues(&self, namespace: &str) -> Result<Vec<Queue>, Error> {
        if namespace != NAMESPACE {
            return Ok(Vec::new());
        }
        let mut queues: Vec<Queue> = self.config.functions.current().queues().cloned().collect();
        let names = queues.iter().map(|queue| queue.metadata.name.clone()).collect();
        let (reply, answer) = oneshot::channel();
        self.send(Event::Uses { queues: names, reply });
        let uses = answer.await.map_err(|_| stops())?;
        for (queue, used) in queues.iter_mut().zip(uses) {
            queue.status = Some(used);
        }
        Ok(queues)
    }

    async fn ready(&self) -> Result<(), Error> {
        if let Some(why) = &*self.broken.borrow() {
            return Err(Error::unavailable(format!("the store has failed: {why}")));
        }
        if self.ending.load(Ordering::SeqCst) || self.driver.is_closed() {
            return Err(stops());
        }
        Ok(())
    }
}

impl Engine {
    async fn find(&self, key: &JobKey) -> Result<Arc<Job>, Error> {
        check_namespace(key)?;
        self.store.get(&key.name).await
    }

    /// Asks the driver for something that it commits.
    async fn ask(
        &self,
        event: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Event,
    ) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.send(event(reply));
        answer.await.map_err(|_| stops())?
    }

    /// Whether what is kept may become more.
    fn has_room(&self) -> Result<(), Error> {
        let (stored, most) = (self.stored_bytes(), self.config.max_stored_bytes);
        if stored < most {
            return Ok(());
        }
        Err(Error::unavailable(format!(
            "jobs, results and logs take {stored} bytes, of {most} that they may; delete finished \
             jobs or wait until they expire"
        )))
    }

    /// Bytes that jobs, results and logs take.
    pub fn stored_bytes(&self) -> u64 {
        self.store.bytes() + self.files.bytes()
    }
}

fn check_namespace(key: &JobKey) -> Result<(), Error> {
    if key.namespace == NAMESPACE { Ok(()) } else { Err(Error::no_job(&key.name)) }
}

/// The bounds of a job on this machine.
fn limits(functions: &Functions, cpus: Cpus, spec: &JobSpec) -> Result<JobLimits, Error> {
    let Some(function) = functions.get(&spec.function) else {
        return Err(Error::NotFound { kind: Function::KIND, name: spec.function.clone() });
    };
    let queue = functions.queue(spec.queue()).map(|queue| &queue.spec);
    let mut limits = validate(spec, &function.spec, queue)?;
    if spec.parallelism.is_none() {
        // The function's default is for machines of any size.
        limits.parallelism = limits.parallelism.min(cpus);
        limits.min_parallelism = limits.min_parallelism.min(limits.parallelism);
    }
    if limits.min_parallelism > cpus {
        let asked = limits.min_parallelism;
        let pointer =
            if spec.min_parallelism.is_some() { "/minParallelism" } else { "/parallelism" };
        let message = format!("{asked} is not allowed; this server has {cpus} CPUs");
        return Err(Error::Invalid(vec![Problem::at(pointer, message)]));
    }
    limits.parallelism = limits.parallelism.min(cpus);
    Ok(limits)
}

fn stops() -> Error {
    Error::unavailable("the server stops")
}

pub(crate) fn uid(job: &Job) -> Result<Uuid, Error> {
    Uuid::parse_str(&job.metadata.uid).map_err(|error| Error::Bug(error.to_string()))
}

#[async_trait]
impl Watch for Watcher {
    async fn next(&mut self) -> Result<Job, Error> {
        Watcher::next(self).await.map(|shown| Job::clone(&shown.job))
    }

    async fn next_shown(&mut self) -> Result<Shown, Error> {
        Watcher::next(self).await
    }
}

/// A name for a job that was given none.
fn generated_name(function: &str) -> String {
    name::generated(function, &Uuid::new_v4().simple().to_string())
}

/// The file of a large result.
struct ResultFile(PathBuf);

#[async_trait]
impl Stored for ResultFile {
    async fn read(self: Box<Self>, range: Range<u64>) -> Result<ByteStream, Error> {
        let lost = |error: io::Error| Error::Bug(format!("{}: {error}", self.0.display()));
        let mut file = tokio::fs::File::open(&self.0).await.map_err(lost)?;
        file.seek(SeekFrom::Start(range.start)).await.map_err(lost)?;
        let part = file.take(range.end - range.start);
        Ok(Box::pin(ReaderStream::with_capacity(part, PIECE)))
    }
}
