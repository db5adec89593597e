//! What a job lacks that cannot run now, if it waits for that: a function that is not there yet or is gone, or a queue
//! of its size.

use jiff::Timestamp;
use windlass_core::status::reasons;
use windlass_core::validate::validate_without_input;
use windlass_core::{Error, Job, JobLimits, name};

use super::fetch::Fetched;

/// What a job that needs CPUs lacks, if it waits for that: a reason and a sentence. `why` is the error of its validation.
pub(super) fn find_missing(
    job: &Job,
    fetched: &Fetched,
    why: &Error,
    now: Timestamp,
) -> Option<(&'static str, String)> {
    let is_refused = fetched.is_function_refused;
    match &fetched.function {
        _ if !fetched.needs_cpus => None,
        // The right may be revoked between two attempts.
        None if is_refused && !fetched.is_new => Some(refused(job)),
        None if !fetched.is_new => {
            let why = format!("function {:?} was there and is gone", job.spec.function);
            Some((reasons::FUNCTION_DELETED, why))
        }
        None => why_it_waits(job, is_refused, now),
        Some(_) if fetched.is_new => None,
        Some(function) => {
            // If its numbers are invalid without the queue as well, the job itself is to blame. A function that lost
            // its image is told as QueueTooSmall, too.
            validate_without_input(&job.spec, &function.spec, None).ok()?;
            Some((reasons::QUEUE_TOO_SMALL, why.to_string()))
        }
    }
}

/// Why a new job waits whose function is not there: as long as for a start. `None` when it has waited long enough, and
/// for a name that no function can have. With `is_refused` there is one for all namespaces, which this one may not use.
fn why_it_waits(job: &Job, is_refused: bool, now: Timestamp) -> Option<(&'static str, String)> {
    if name::problem(&job.spec.function).is_some() {
        return None;
    }
    let why = match is_refused {
        true => refused(job),
        false => {
            let why = format!("function {:?} is not there yet", job.spec.function);
            (reasons::FUNCTION_NOT_FOUND, why)
        }
    };
    let created = job.metadata.creation_timestamp.unwrap_or(now);
    let longest = JobLimits::without_function(&job.spec).start_deadline();
    (now.duration_since(created) < longest).then_some(why)
}

/// That the namespace of a job may not use the function for all that it names: a reason and a sentence.
fn refused(job: &Job) -> (&'static str, String) {
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

    use super::super::fetch_function::is_new;
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
