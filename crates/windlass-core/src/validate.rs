//! Refusing what cannot be run, before anything is created.

mod inputs;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Problem};
use crate::function::{DEFAULT_START_DEADLINE_SECONDS, FunctionSpec, number};
use crate::job::{JobSpec, MAX_INPUT_BYTES};
use crate::labels::{self, Labels};
use crate::queue::QueueSpec;
use crate::{Cpus, name};

pub use inputs::{only_inline, refuse_blobs};

/// Attempts after the first, when neither the job nor its function says.
pub const DEFAULT_RETRIES: u32 = 2;

/// Most problems that are listed for one document; the rest is counted.
const MAX_PROBLEMS: usize = 64;

/// A job's bounds with every default filled in. Having one means that the job is valid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobLimits {
    /// CPUs wanted.
    pub parallelism: Cpus,
    /// Fewest CPUs to start with; at most `parallelism`.
    pub min_parallelism: Cpus,
    /// Attempts after the first.
    pub retries: u32,
    /// Longest run of one attempt, in seconds.
    pub timeout_seconds: u32,
    /// Largest result, in bytes.
    pub max_result_bytes: u64,
    /// Longest time from a grant to a running function, in seconds, where a cluster starts it.
    #[serde(default = "number::<DEFAULT_START_DEADLINE_SECONDS>")]
    pub start_deadline_seconds: u32,
}

impl JobLimits {
    /// Longest time from a grant to a running function.
    pub fn start_deadline(&self) -> SignedDuration {
        SignedDuration::from_secs(i64::from(self.start_deadline_seconds))
    }

    /// Bounds of a job whose function cannot be read any more: what runs may end, nothing more is
    /// started.
    pub fn without_function(spec: &JobSpec) -> Self {
        let parallelism = spec.parallelism.unwrap_or(1);
        Self {
            parallelism,
            min_parallelism: spec.min_parallelism.unwrap_or(parallelism).min(parallelism),
            retries: 0,
            timeout_seconds: spec.timeout_seconds.unwrap_or(3_600),
            max_result_bytes: u64::MAX,
            start_deadline_seconds: DEFAULT_START_DEADLINE_SECONDS,
        }
    }
}

/// Checks a job against its function and queue. All the problems are reported, each with a JSON
/// pointer into the spec.
pub fn validate(
    spec: &JobSpec,
    function: &FunctionSpec,
    queue: Option<&QueueSpec>,
) -> Result<JobLimits, Error> {
    let mut problems = Vec::new();
    let limits = bound(spec, function, queue, &mut problems);
    inputs::check(spec, function, &mut problems);
    let input_bytes = spec.input_bytes().len();
    if input_bytes > MAX_INPUT_BYTES {
        let message = format!("{input_bytes} bytes; at most {MAX_INPUT_BYTES} are allowed");
        problems.push(Problem::at("/input", message));
    } else if spec.input_blob.is_none() {
        against_schema(spec, function, &mut problems);
    }
    unless_wrong(limits, problems)
}

/// The bounds of a job whose input nobody looks at: what [`validate`] says of the rest of it. For a
/// job that waits in a line, of which the input is not kept.
pub fn validate_without_input(
    spec: &JobSpec,
    function: &FunctionSpec,
    queue: Option<&QueueSpec>,
) -> Result<JobLimits, Error> {
    let mut problems = Vec::new();
    unless_wrong(bound(spec, function, queue, &mut problems), problems)
}

fn unless_wrong(limits: JobLimits, problems: Vec<Problem>) -> Result<JobLimits, Error> {
    if problems.is_empty() { Ok(limits) } else { Err(Error::Invalid(problems)) }
}

fn bound(
    spec: &JobSpec,
    function: &FunctionSpec,
    queue: Option<&QueueSpec>,
    problems: &mut Vec<Problem>,
) -> JobLimits {
    let mut refuse = |pointer: &str, message: String| problems.push(Problem::at(pointer, message));

    if let Some(why) = name::problem(&spec.function) {
        refuse("/function", format!("{:?} {why}", spec.function));
    }
    if let Some(why) = spec.queue.as_deref().and_then(name::problem) {
        refuse("/queue", format!("{:?} {why}", spec.queue()));
    }
    let queue_max = queue.map_or(Cpus::MAX, QueueSpec::max_parallelism);
    let parallelism =
        spec.parallelism.unwrap_or_else(|| function.parallelism.default.min(queue_max));
    if let Some(takes) = narrower(spec, function, queue_max, parallelism) {
        refuse("/parallelism", format!("{parallelism} is not allowed; {takes}"));
    }
    let min_parallelism = spec.min_parallelism.unwrap_or(parallelism);
    if spec.min_parallelism.is_some() && (min_parallelism < 1 || min_parallelism > parallelism) {
        refuse(
            "/minParallelism",
            format!("{min_parallelism} is not allowed; from 1 to parallelism, {parallelism}"),
        );
    }
    if !(-1000..=1000).contains(&spec.priority) {
        refuse("/priority", format!("{} is not allowed; from -1000 to 1000", spec.priority));
    }
    let retries = spec.retries.or(function.retries).unwrap_or(DEFAULT_RETRIES);
    if retries > 100 {
        refuse("/retries", format!("{retries} is not allowed; from 0 to 100"));
    }
    let longest = function.timeout_seconds.max;
    let timeout_seconds =
        spec.timeout_seconds.unwrap_or(function.timeout_seconds.default.min(longest));
    if timeout_seconds < 1 || timeout_seconds > longest {
        refuse("/timeoutSeconds", format!("{timeout_seconds} is not allowed; from 1 to {longest}"));
    }
    if spec.ttl_seconds_after_finished > 31_536_000 {
        refuse("/ttlSecondsAfterFinished", "at most 31536000, a year".into());
    }
    JobLimits {
        parallelism: parallelism.min(queue_max).max(min_parallelism),
        min_parallelism,
        retries,
        timeout_seconds,
        max_result_bytes: function.max_result_bytes,
        start_deadline_seconds: function.start_deadline_seconds,
    }
}

/// What the function, or else the queue, takes instead of so many CPUs.
fn narrower(
    spec: &JobSpec,
    function: &FunctionSpec,
    queue_max: Cpus,
    parallelism: Cpus,
) -> Option<String> {
    let max = function.parallelism.max;
    if parallelism < 1 || parallelism > max {
        return Some(format!("function {:?} takes 1 to {max} CPUs", spec.function));
    }
    let least = spec.min_parallelism.unwrap_or(parallelism);
    (least > queue_max).then(|| format!("queue {:?} takes at most {queue_max} CPUs", spec.queue()))
}

/// Checks the name that a caller gives to a new job.
pub fn validate_name(name: &str) -> Result<(), Error> {
    match name::problem(name) {
        Some(why) => Err(Error::Invalid(vec![Problem::at("/name", format!("{name:?} {why}"))])),
        None => Ok(()),
    }
}

/// Checks the labels that a caller gives to a new job.
pub fn validate_labels(labels: &Labels) -> Result<(), Error> {
    let problems = labels::problems(labels);
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
}

fn against_schema(spec: &JobSpec, function: &FunctionSpec, problems: &mut Vec<Problem>) {
    let Some(schema) = &function.input_schema else {
        return;
    };
    let schema = serde_json::Value::Object(schema.clone());
    let validator = match crate::schema::validator(&schema) {
        Ok(validator) => validator,
        Err(error) => {
            let message =
                format!("function {:?} has an unusable inputSchema: {error}", spec.function);
            problems.push(Problem::at("/function", message));
            return;
        }
    };
    let input = serde_json::Value::Object(spec.input.clone());
    let mut more = 0_usize;
    for error in validator.iter_errors(&input) {
        if problems.len() < MAX_PROBLEMS {
            problems
                .push(Problem::at(format!("/input{}", error.instance_path()), error.to_string()));
        } else {
            more += 1;
        }
    }
    if more > 0 {
        problems.push(Problem::at("/input", format!("and {more} more problems")));
    }
}
