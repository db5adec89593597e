//! `Jobs` on one machine: what the gateway and the command line ask of the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use tokio::sync::oneshot;
use tracing::debug;
use uuid::Uuid;
use windlass_core::estimate::Estimates;
use windlass_core::history::{History, HistoryReport};
use windlass_core::jobs::{Filter, MachineCapacity, Page, Submission, Watch, check_uid, result_of};
use windlass_core::live::Shown;
use windlass_core::log_tail::{LogRange, WantedLog, wanted_attempt};
use windlass_core::result::{ByteStream, StoredResult};
use windlass_core::usage_over_time::{UsageOverTime, used_by};
use windlass_core::{AttemptNumber, Error, Function, Job, JobKey, Jobs, Queue};

use super::stored_file::StoredFile;
use super::{logs, submit};
use crate::config::NAMESPACE;
use crate::engine::Engine;
use crate::event::Event;
use crate::store::{JobWatcher, job_uid, stopped};

#[async_trait]
impl Jobs for Engine {
    async fn submit(&self, submission: Submission) -> Result<Job, Error> {
        submit::submit(self, submission).await
    }

    async fn get(&self, key: &JobKey) -> Result<Job, Error> {
        self.find(key).await.map(Arc::unwrap_or_clone)
    }

    async fn list(&self, namespace: &str, filter: &Filter) -> Result<Page, Error> {
        if namespace == NAMESPACE {
            self.ctx.store.list(filter).await
        } else {
            Ok(Page { items: Vec::new(), continue_from: None })
        }
    }

    async fn cancel(&self, key: &JobKey, uid: Option<&str>) -> Result<Job, Error> {
        let job = self.find(key).await?;
        check_uid(&job, uid)?;
        let uid = job_uid(&job)?;
        self.request(|reply| Event::CancelRequested { uid, reply }).await?;
        self.find(key).await.map(Arc::unwrap_or_clone)
    }

    async fn delete(&self, key: &JobKey, uid: Option<&str>) -> Result<(), Error> {
        let job = self.find(key).await?;
        check_uid(&job, uid)?;
        let uid = job_uid(&job)?;
        self.request(|reply| Event::DeleteRequested { uid, reply }).await?;
        let (files, last) = (Arc::clone(&self.ctx.files), job.status.attempt.unwrap_or(0));
        let removed = tokio::task::spawn_blocking(move || files.remove_job(uid, last));
        removed.await.map_err(|error| Error::Bug(error.to_string()))
    }

    async fn watch(&self, key: &JobKey) -> Result<Box<dyn Watch>, Error> {
        check_namespace(key)?;
        Ok(Box::new(self.ctx.store.watch(&key.name).await?))
    }

    async fn result(&self, key: &JobKey, partial: bool) -> Result<StoredResult, Error> {
        let job = self.find(key).await?;
        let result = result_of(&job, partial)?;
        StoredResult::of_status(key, result, |location| {
            Ok(Box::new(StoredFile(self.ctx.files.result(location))))
        })
    }

    async fn logs(&self, key: &JobKey, wanted: WantedLog) -> Result<Vec<u8>, Error> {
        let job = self.find(key).await?;
        let Some(attempt) = wanted_attempt(&job, wanted.attempt)? else { return Ok(Vec::new()) };
        let path = self.ctx.files.log(job_uid(&job)?, attempt);
        let read = tokio::task::spawn_blocking(move || {
            windlass_worker::read_log(&path, wanted.range)
                .map_err(|error| Error::Bug(format!("{}: {error}", path.display())))
        });
        read.await.map_err(|error| Error::Bug(error.to_string()))?
    }

    async fn usage(&self, job: &Job) -> Result<UsageOverTime, Error> {
        let Some(attempt) = job.status.attempt else { return Ok(UsageOverTime::default()) };
        self.usage_of(job_uid(job)?, attempt).await
    }

    async fn follow_logs(&self, key: &JobKey, range: LogRange) -> Result<ByteStream, Error> {
        check_namespace(key)?;
        let changes = self.ctx.store.watch(&key.name).await?;
        logs::follow(changes, Arc::clone(&self.ctx.files), range).await
    }

    async fn function(&self, _: &str, name: &str) -> Result<Function, Error> {
        let missing = || Error::NotFound { kind: Function::KIND, name: name.to_owned() };
        self.ctx.config.functions.current().get(name).cloned().ok_or_else(missing)
    }

    async fn functions(&self, _: &str) -> Result<Vec<Function>, Error> {
        Ok(self.ctx.config.functions.current().all().cloned().collect())
    }

    async fn queue(&self, namespace: &str, name: &str) -> Result<Option<Queue>, Error> {
        let functions = self.ctx.config.functions.current();
        Ok(functions.queue(name).filter(|_| namespace == NAMESPACE).cloned())
    }

    async fn queues(&self, namespace: &str) -> Result<Vec<Queue>, Error> {
        if namespace != NAMESPACE {
            return Ok(Vec::new());
        }
        let mut queues: Vec<Queue> =
            self.ctx.config.functions.current().queues().cloned().collect();
        let names = queues.iter().map(|queue| queue.metadata.name.clone()).collect();
        let (reply, answer) = oneshot::channel();
        self.ctx.events.send(Event::QueueStatusRequested { queues: names, reply });
        let statuses = answer.await.map_err(|_| stopped())?;
        for (queue, status) in queues.iter_mut().zip(statuses) {
            queue.status = Some(status);
        }
        Ok(queues)
    }

    async fn hold_queue(&self, key: &JobKey, hold: bool) -> Result<Queue, Error> {
        let missing = || Error::NotFound { kind: Queue::KIND, name: key.name.clone() };
        if key.namespace != NAMESPACE {
            return Err(missing());
        }
        let library = &self.ctx.config.functions;
        let changing = library.changing_holds.lock().await;
        let kept = library.hold_to_keep(&key.name, hold).ok_or_else(missing)?;
        self.ctx.store.hold(&key.name, kept).await?;
        library.set_hold(&key.name, kept);
        self.ctx.events.send(Event::QueuesChanged);
        drop(changing);
        let queues = self.queues(NAMESPACE).await?;
        queues.into_iter().find(|queue| queue.metadata.name == key.name).ok_or_else(missing)
    }

    async fn capacity(&self, namespace: &str) -> Result<MachineCapacity, Error> {
        if namespace != NAMESPACE {
            return Ok(MachineCapacity::default());
        }
        let (used, used_by) = self.cpus_in_use().await?;
        let (cpus, used) = (Some(self.ctx.config.cpus), Some(used));
        Ok(MachineCapacity { cpus, used, used_by, shared: None })
    }

    async fn history(&self, namespace: &str) -> Result<HistoryReport, Error> {
        let now = self.ctx.clock.now();
        Ok(match namespace {
            NAMESPACE => self.ctx.store.history(now),
            _ => History::default().report(None, now),
        })
    }

    async fn estimates(&self, namespace: &str) -> Result<Estimates, Error> {
        match namespace {
            NAMESPACE => Ok(Estimates::clone(&*self.estimator.latest().await?)),
            _ => Ok(Estimates { since: None, complete: true, items: Vec::new() }),
        }
    }

    async fn ready(&self) -> Result<(), Error> {
        self.check_ready()
    }
}

impl Engine {
    /// What an attempt has used over its time.
    async fn usage_of(&self, uid: Uuid, attempt: AttemptNumber) -> Result<UsageOverTime, Error> {
        let path = self.ctx.files.log(uid, attempt);
        let read = tokio::task::spawn_blocking(move || {
            windlass_worker::read_usage(&path)
                .map_err(|error| Error::Bug(format!("{}: {error}", path.display())))
        });
        read.await.map_err(|error| Error::Bug(error.to_string()))?
    }

    /// CPUs that attempts use, by the latest sample of each, and those of each job; none of one whose samples cannot be
    /// read. The controller says which run: the store would pass over all jobs.
    async fn cpus_in_use(&self) -> Result<(f64, BTreeMap<String, f64>), Error> {
        let (reply, answer) = oneshot::channel();
        self.ctx.events.send(Event::LiveAttemptsRequested { reply });
        let live = answer.await.map_err(|_| stopped())?;
        let read = live.into_iter().map(async |(uid, attempt)| {
            let usage = self.usage_of(uid, attempt).await;
            let usage =
                usage.inspect_err(|error| debug!(%error, "samples of a running job are left out"));
            Some((uid.to_string(), usage.ok()?))
        });
        let readable: Vec<_> = join_all(read).await.into_iter().flatten().collect();
        let each = used_by(readable.iter().map(|(uid, usage)| (uid.as_str(), usage)));
        let used = readable.iter().filter_map(|(_, usage)| usage.cpus_now());
        // Not `sum`: that of none is -0.
        Ok((used.fold(0.0, |sum, cpus| sum + cpus), each))
    }

    async fn find(&self, key: &JobKey) -> Result<Arc<Job>, Error> {
        check_namespace(key)?;
        self.ctx.store.get(&key.name).await
    }

    /// Asks the controller for something that it commits before it answers.
    async fn request(
        &self,
        event: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Event,
    ) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.ctx.events.send(event(reply));
        answer.await.map_err(|_| stopped())?
    }
}

fn check_namespace(key: &JobKey) -> Result<(), Error> {
    if key.namespace == NAMESPACE { Ok(()) } else { Err(Error::no_job(&key.name)) }
}

#[async_trait]
impl Watch for JobWatcher {
    async fn next(&mut self) -> Result<Job, Error> {
        self.changed().await.map(|shown| Job::clone(&shown.job))
    }

    async fn next_shown(&mut self) -> Result<Shown, Error> {
        self.changed().await
    }
}
