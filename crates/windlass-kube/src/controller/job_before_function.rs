//! A job that was created before its function: it waits for it as long as for a start.

use jiff::Timestamp;
use windlass_core::status::{ConditionType, reasons};
use windlass_core::{Job, JobLimits, name};

/// Whether nobody has found yet that the job can run. Its status may say that it waits for its function.
pub(super) fn is_new(job: &Job) -> bool {
    let admitted = job.status.condition(ConditionType::Admitted);
    job.status.phase.is_none()
        || job.status.attempt.is_none()
            && admitted.is_some_and(|admitted| admitted.reason == reasons::FUNCTION_NOT_FOUND)
}

/// Why a new job waits whose function is not there: a reason and a sentence. `None` when it has waited long enough, and
/// for a name that no function can have. With `is_refused` there is one for all namespaces, which this one may not use.
pub(super) fn why_it_waits(
    job: &Job,
    is_refused: bool,
    now: Timestamp,
) -> Option<(&'static str, String)> {
    if name::problem(&job.spec.function).is_some() {
        return None;
    }
    let created = job.metadata.creation_timestamp.unwrap_or(now);
    let longest = JobLimits::without_function(&job.spec).start_deadline();
    let waits = now.duration_since(created) < longest;
    waits.then(|| match is_refused {
        true => refused(job),
        false => {
            let why = format!("function {:?} is not there yet", job.spec.function);
            (reasons::FUNCTION_NOT_FOUND, why)
        }
    })
}

/// That the namespace of a job may not use the function for all that it names: a reason and a sentence.
pub(super) fn refused(job: &Job) -> (&'static str, String) {
    let (function, namespace) = (&job.spec.function, &job.metadata.namespace);
    let why = format!(
        "namespace {namespace:?} may not use the ClusterComputeFunction {function:?}: \
         system:serviceaccounts:{namespace} needs the verb use on it"
    );
    (reasons::FUNCTION_NOT_FOUND, why)
}

#[cfg(test)]
mod tests {
    use windlass_core::plan::AdmissionDecision;
    use windlass_core::{JobSpec, Metadata, Observed, plan};

    use super::*;
    use crate::test_times::at;

    #[test]
    fn it_waits_for_the_start_deadline_and_knows_from_its_status_that_it_is_new() {
        let metadata = Metadata { creation_timestamp: Some(at(0)), ..Metadata::default() };
        let mut job = Job::new(metadata, JobSpec { function: "f".into(), ..JobSpec::default() });
        let limits = JobLimits::without_function(&job.spec);
        let told = |job: &Job, reason, why| {
            let admission = AdmissionDecision::Blocked { reason, why, place: None };
            let observed = Observed { admission, ..Observed::default() };
            plan(job, &limits, &observed, at(1)).status
        };
        assert!(is_new(&job));
        let (reason, why) = why_it_waits(&job, false, at(599)).unwrap();
        job.status = told(&job, reason, format!("{why}, in other words"));
        assert!(is_new(&job), "it waits");
        assert_eq!(why_it_waits(&job, false, at(600)), None);
        job.status = told(&job, reasons::FUNCTION_DELETED, "it was there and is gone".into());
        assert!(!is_new(&job), "it was accepted");
        let refused = why_it_waits(&job, true, at(1)).unwrap();
        assert!(refused.1.contains("may not use the ClusterComputeFunction"), "{refused:?}");
        job.spec.function = "No Function".into();
        assert_eq!(why_it_waits(&job, false, at(1)), None, "nothing can have this name");
    }
}
