//! `Jobs` on one machine: what the gateway and the command line ask of the engine.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tokio::sync::watch;
use windlass_core::jobs::{Filter, Page, ResultBytes, Submission, Watch};
use windlass_core::report::{inline_bytes, sha256};
use windlass_core::validate::validate_name;
use windlass_core::{Error, Function, Job, JobKey, Jobs, Metadata, Queue, name};

use crate::driver::{Event, limits, now};
use crate::{Engine, apply, attempt};

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
        // What no grant can ever meet is refused now, not queued for ever.
        limits(&self.config, &submission.spec)?;
        let name = submission.name.unwrap_or_else(|| generated_name(&submission.spec.function));
        let metadata = Metadata {
            name,
            namespace: NAMESPACE.into(),
            uid: uuid::Uuid::now_v7().to_string(),
            resource_version: "1".into(),
            generation: Some(1),
            creation_timestamp: Some(now()),
            ..Metadata::default()
        };
        let job = self.store.insert(Job::new(metadata, submission.spec))?;
        self.send(Event::Changed { name: job.metadata.name.clone() });
        Ok(Arc::unwrap_or_clone(job))
    }

    async fn get(&self, key: &JobKey) -> Result<Job, Error> {
        self.find(key).map(Arc::unwrap_or_clone)
    }

    async fn list(&self, namespace: &str, filter: &Filter) -> Result<Page, Error> {
        if namespace == NAMESPACE {
            Ok(self.store.list(filter))
        } else {
            Ok(Page { items: Vec::new(), continue_from: None })
        }
    }

    async fn cancel(&self, key: &JobKey) -> Result<Job, Error> {
        self.find(key)?;
        let job = self.store.cancel(&key.name).ok_or_else(|| Error::no_job(&key.name))?;
        self.send(Event::Changed { name: key.name.clone() });
        Ok(Arc::unwrap_or_clone(job))
    }

    async fn delete(&self, key: &JobKey) -> Result<(), Error> {
        self.find(key)?;
        let job = self.store.remove(&key.name).ok_or_else(|| Error::no_job(&key.name))?;
        apply::forget_result(&self.config, &job);
        self.send(Event::Deleted { uid: job.metadata.uid.clone() });
        Ok(())
    }

    async fn watch(&self, key: &JobKey) -> Result<Box<dyn Watch>, Error> {
        self.find(key)?;
        let changes = self.store.watch(&key.name).ok_or_else(|| Error::no_job(&key.name))?;
        Ok(Box::new(StoreWatch { name: key.name.clone(), changes }))
    }

    async fn result(&self, key: &JobKey) -> Result<ResultBytes, Error> {
        let job = self.find(key)?;
        let Some(result) = job.status.result.clone() else {
            let phase = job.status.phase.map_or("new", windlass_core::Phase::as_str);
            return Err(Error::Conflict(format!(
                "job {:?} is {phase} and has no result",
                key.name
            )));
        };
        let bytes = match &result.location {
            None => inline_bytes(&result),
            Some(location) => {
                let path = attempt::results(&self.config.data).join(location);
                let expected = result.sha256.clone();
                // In a thread of its own: a result may be large.
                let read = tokio::task::spawn_blocking(move || {
                    let bytes = std::fs::read(&path)
                        .map_err(|error| Error::Bug(format!("{}: {error}", path.display())))?;
                    Ok::<_, Error>((sha256(&bytes) == expected).then_some(bytes))
                });
                read.await.map_err(|error| Error::Bug(error.to_string()))??
            }
        };
        let damaged = || Error::Bug(format!("the result of {key} is not what its digest says"));
        let bytes = bytes.ok_or_else(damaged)?;
        Ok(ResultBytes { bytes, content_type: result.content_type, sha256: result.sha256 })
    }

    async fn function(&self, _: &str, name: &str) -> Result<Function, Error> {
        let missing = || Error::NotFound { kind: Function::KIND, name: name.to_owned() };
        self.config.functions.get(name).cloned().ok_or_else(missing)
    }

    async fn functions(&self, _: &str) -> Result<Vec<Function>, Error> {
        Ok(self.config.functions.all().cloned().collect())
    }

    async fn queue(&self, _: &str, name: &str) -> Result<Option<Queue>, Error> {
        Ok(self.config.functions.queue(name).cloned())
    }

    async fn ready(&self) -> Result<(), Error> {
        if self.ending.load(Ordering::SeqCst) || self.driver.is_closed() {
            return Err(Error::unavailable("the server stops"));
        }
        Ok(())
    }
}

impl Engine {
    fn find(&self, key: &JobKey) -> Result<Arc<Job>, Error> {
        self.store
            .get(&key.name)
            .filter(|_| key.namespace == NAMESPACE)
            .ok_or_else(|| Error::no_job(&key.name))
    }
}

struct StoreWatch {
    name: String,
    changes: watch::Receiver<Arc<Job>>,
}

#[async_trait]
impl Watch for StoreWatch {
    async fn next(&mut self) -> Result<Job, Error> {
        match self.changes.changed().await {
            Ok(()) => Ok(Job::clone(&self.changes.borrow_and_update())),
            Err(_) => Err(Error::no_job(&self.name)),
        }
    }
}

/// A name for a job that was given none.
fn generated_name(function: &str) -> String {
    name::generated(function, &uuid::Uuid::new_v4().simple().to_string())
}
