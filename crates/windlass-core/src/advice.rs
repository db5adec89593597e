//! What helps a job that waits or has failed, by the one word for why. `docs/operations.md` has the same.

use crate::status::{FailureReason, reasons};

/// What helps a job whose condition gives this reason, or that failed for it; `None` where there is nothing to do, and for
/// words that are not of this version.
pub fn advice(reason: &str) -> Option<&'static str> {
    let failure = FailureReason::ALL.into_iter().find(|failure| failure.as_str() == reason);
    failure.map(of_failure).or_else(|| of_condition(reason))
}

/// What helps where the word for why a pod does not start is one of the scheduler's or the kubelet's.
pub const OF_A_POD: &str = "mend what the message says of its pod, as for any pod";

fn of_condition(reason: &str) -> Option<&'static str> {
    Some(match reason {
        reasons::WAITING_FOR_CPUS => {
            "wait; CPUs that look free are kept for a larger job before it, once that has waited for a minute; \
             resume the queue if it is on hold; or raise spec.cpus of its ComputeQueue, if it has one"
        }
        reasons::FUNCTION_NOT_FOUND => "apply the function before the start deadline",
        reasons::FUNCTION_DELETED => {
            "apply it again, or on one machine put its manifest or --function back; the job continues within 30 s"
        }
        reasons::QUEUE_NOT_FOUND => "create the queue; the job then starts within seconds",
        reasons::QUEUE_TOO_SMALL => "raise the quota, or cancel",
        reasons::RETRYING => "wait for the next attempt",
        reasons::STARTING => "wait; on a cluster, kubectl describe pod says what it waits for",
        reasons::QUOTA_EXCEEDED => {
            "raise the ResourceQuota of the namespace, or wait until other pods have ended"
        }
        reasons::FAILED_CREATE => {
            "mend what the message names, such as a webhook or a service account that is missing"
        }
        reasons::FORBIDDEN => {
            "change the policy that the message names, or the controller's rights"
        }
        reasons::NAME_TAKEN => "delete that object",
        reasons::NODE_NOT_READY => {
            "bring the node back; with controller.deletedNodesAreFenced, delete its Node object if it is gone"
        }
        reasons::SUSPENDED => "resume the batch Job, or delete it",
        reasons::NODE_DELETED => {
            "bring the node back, or cancel; or set controller.deletedNodesAreFenced"
        }
        _ => return None,
    })
}

/// What helps after an attempt has failed for this reason.
pub fn of_failure(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::Invalid => "correct what the message names, and submit the job again",
        FailureReason::BadInput => "correct the input, and submit the job again",
        FailureReason::FunctionError | FailureReason::Crashed => {
            "read the attempt's log; correct the function or the input, and retry"
        }
        FailureReason::Killed => {
            "retry; if it happens again, see who ends it: the kernel's log, or the limits of the pod"
        }
        FailureReason::OutOfMemory => {
            "give the function more memory (memory.base and memory.perCpu), or the job a smaller input"
        }
        FailureReason::DiskExceeded => {
            "have the function write less, or raise serve --attempt-disk"
        }
        FailureReason::NoOutput => {
            "have the function write its result, and valid JSON where it is called that"
        }
        FailureReason::ResultTooLarge => {
            "raise the function's maxResultBytes; on a cluster, results.url names a store for large results"
        }
        FailureReason::ResultLost => "see in the log why no gateway was reached, and retry",
        FailureReason::Timeout => {
            "raise timeoutSeconds, ask for more CPUs, or make the input smaller"
        }
        FailureReason::CannotStart => "correct the function's command or image, and retry",
        FailureReason::StartDeadline => {
            "see what it waited for, and retry; startDeadlineSeconds says for how long it may wait"
        }
        FailureReason::Unschedulable => "more nodes, a smaller quota, or a smaller minParallelism",
        FailureReason::Preempted => {
            "wait: it keeps its place; a higher priority or another queue avoids it"
        }
        FailureReason::Lost => {
            "wait for the next attempt; if it happens often, look at the node or the server"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Where all is well, or over.
    const NOTHING_TO_DO: [&str; 5] = [
        reasons::GRANTED,
        reasons::RUNNING,
        reasons::ENDED,
        reasons::SUCCEEDED,
        reasons::CANCELLED,
    ];

    /// The words of `reasons`, as its source has them.
    fn words() -> Vec<&'static str> {
        let source = include_str!("status.rs").split("pub mod reasons {").nth(1).unwrap();
        let constants = source.split("\n}\n").next().unwrap().split("pub const ").skip(1);
        constants.map(|constant| constant.split('"').nth(1).unwrap()).collect()
    }

    #[test]
    fn each_reason_has_an_advice_unless_all_is_well() {
        assert!(words().len() > 15, "{:?}", words());
        for word in words() {
            assert_eq!(advice(word).is_none(), NOTHING_TO_DO.contains(&word), "{word}");
        }
        for failure in FailureReason::ALL {
            assert_eq!(advice(failure.as_str()), Some(of_failure(failure)));
        }
        assert_eq!(advice("SomethingElse"), None);
    }

    #[test]
    fn the_document_says_the_same() {
        let document = include_str!("../../../docs/operations.md");
        let mut told = BTreeMap::new();
        for row in document.lines().filter(|line| line.starts_with("| ")) {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let (Some(helps), [reason, ..]) =
                (cells.last(), &cells[cells.len().saturating_sub(3)..])
            else {
                continue;
            };
            told.insert(reason.trim_matches('`').to_owned(), helps.replace('`', ""));
        }
        let all = words().into_iter().chain(FailureReason::ALL.map(FailureReason::as_str));
        for (reason, advice) in all.filter_map(|reason| Some((reason, advice(reason)?))) {
            assert_eq!(told.get(reason).map(String::as_str), Some(advice), "{reason}");
        }
    }
}
