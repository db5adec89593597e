//! A new job, before a world has it.

use std::collections::BTreeMap;

use crate::idempotency::REQUEST_ANNOTATION;
use crate::labels::{self, Labels};
use crate::{Error, Job, JobSpec, Metadata, Phase};

/// The annotation of a job that repeats another: the name of that one.
pub const RETRY_ANNOTATION: &str = "windlass.dev/retry-of";

/// A new job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Submission {
    /// Where.
    pub namespace: String,
    /// Its name, or none for one that is made up.
    pub name: Option<String>,
    /// What is wanted; already [validated](crate::validate).
    pub spec: JobSpec,
    /// The caller's labels; already checked, too.
    pub labels: Labels,
    /// The name of the job that it repeats.
    pub retry_of: Option<String>,
    /// The digest of the request, when the name is that of an [idempotency key](crate::idempotency).
    /// It stays with the job.
    pub request_sha256: Option<String>,
    /// Its caller is answered after its end: a world may begin with it before it is stored.
    pub is_waited_for: bool,
}

impl Submission {
    /// The annotations of the new job.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let request = self.request_sha256.iter().map(|digest| (REQUEST_ANNOTATION, digest));
        let retry = self.retry_of.iter().map(|name| (RETRY_ANNOTATION, name));
        request.chain(retry).map(|(key, value)| (key.to_owned(), value.clone())).collect()
    }

    /// A new job of the same spec and labels as one that has ended; `Conflict` while it has not.
    pub fn retry_of(job: &Job) -> Result<Self, Error> {
        let Metadata { name, namespace, .. } = &job.metadata;
        if !job.status.is_finished() {
            let phase = job.status.phase.map_or("new", Phase::as_str);
            let why = format!("job {name:?} is {phase}; only a job that has ended can be retried");
            return Err(Error::Conflict(why));
        }
        let mut labels = job.metadata.labels.clone();
        // Whoever writes objects may give such labels; no submission may.
        labels.retain(|key, _| !labels::is_reserved(key));
        Ok(Self {
            namespace: namespace.clone(),
            spec: JobSpec { cancel: false, ..job.spec.clone() },
            labels,
            retry_of: Some(name.clone()),
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_the_same_job_but_for_its_end() {
        let labels = [("team", "blue"), ("windlass.dev/x", "y")];
        let metadata = Metadata {
            name: "a".into(),
            namespace: "n".into(),
            labels: labels.map(|(key, value)| (key.into(), value.into())).into(),
            ..Metadata::default()
        };
        let spec =
            JobSpec { function: "f".into(), priority: 3, cancel: true, ..JobSpec::default() };
        let mut job = Job::new(metadata, spec);
        let Err(Error::Conflict(why)) = Submission::retry_of(&job) else { panic!() };
        assert!(why.contains("\"a\" is new"), "{why}");
        job.status.phase = Some(Phase::Running);
        assert!(matches!(Submission::retry_of(&job), Err(Error::Conflict(_))));
        job.status.phase = Some(Phase::Cancelled);
        let retry = Submission::retry_of(&job).unwrap();
        assert_eq!((retry.namespace.as_str(), &retry.name), ("n", &None));
        assert_eq!(retry.spec, JobSpec { cancel: false, ..job.spec });
        assert_eq!(retry.labels, Labels::from([("team".into(), "blue".into())]));
        assert_eq!(retry.annotations()[RETRY_ANNOTATION], "a");
    }
}
