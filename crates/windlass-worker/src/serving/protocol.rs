//! The lines that go between a worker and a function that serves: version 2 of the contract.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;
use windlass_core::contract::SERVE_VERSION;

/// One job, as the function is told of it.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobLine<'a> {
    pub(super) job: &'a str,
    pub(super) attempt: u32,
    pub(super) parallelism: u32,
    pub(super) input: &'a str,
    pub(super) input_type: &'a str,
    pub(super) files: BTreeMap<String, String>,
    pub(super) output: &'a str,
    pub(super) output_type: &'a str,
    pub(super) progress: &'a str,
    pub(super) directory: &'a str,
    pub(super) deadline: String,
    pub(super) traceparent: Option<String>,
}

/// A job that is to end.
#[derive(Debug, Serialize)]
pub(super) struct CancelLine<'a> {
    pub(super) cancel: &'a str,
}

/// What the function says. Members that are not known are left alone: it may be newer.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    ready: Option<u32>,
    done: Option<String>,
    failed: Option<String>,
    cancelled: Option<String>,
    reason: Option<Reason>,
    message: Option<String>,
    #[serde(default)]
    processes: Vec<i32>,
    replace: Option<String>,
    replaced: Option<String>,
    result: Option<String>,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Reason {
    /// The input's: it would fail again.
    Input,
    /// The function's own: it would fail again.
    Exception,
    /// Any other: another attempt may do better.
    #[serde(other)]
    Error,
}

/// How a job has ended, as the function says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// With its result, unless that is in the output file.
    Done(Option<String>),
    /// The input can never work.
    BadInput(String),
    /// The function has raised an error of its own.
    Raised(String),
    Failed(String),
    Cancelled,
}

/// The answer to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) served: Served,
    /// Processes that the function keeps for the next job, beside its own.
    pub(super) processes: Vec<i32>,
    /// Why it should get no other job.
    pub(super) replace: Option<String>,
    /// Which of its processes it has replaced itself, and why.
    pub(super) replaced: Option<String>,
}

/// A line that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Ready,
    Answer(Answer),
}

/// Reads a line of a function that has this job, if any. The error is a sentence about the function.
pub(super) fn parse(line: &[u8], job: Option<&str>) -> Result<Said, String> {
    let begin = || String::from_utf8_lossy(&line[..line.len().min(100)]).trim_end().to_owned();
    let read: Line = serde_json::from_slice(line).map_err(|error| {
        format!("said what is no line of the contract ({error}): {:?}", begin())
    })?;
    if let Some(version) = read.ready {
        return match version {
            SERVE_VERSION => Ok(Said::Ready),
            _ => Err(format!("speaks version {version} of the contract; {SERVE_VERSION} is known")),
        };
    }
    let message = read.message.unwrap_or_default();
    let (named, served) = match (read.done, read.failed, read.cancelled) {
        (Some(name), None, None) => (name, Served::Done(read.result)),
        (None, Some(name), None) => match read.reason {
            Some(Reason::Input) => (name, Served::BadInput(message)),
            Some(Reason::Exception) => (name, Served::Raised(message)),
            Some(Reason::Error) | None => (name, Served::Failed(message)),
        },
        (None, None, Some(name)) => (name, Served::Cancelled),
        _ => return Err(format!("said neither ready, done, failed nor cancelled: {:?}", begin())),
    };
    if Some(named.as_str()) != job {
        return Err(format!("answered for the job {named:?}, which it does not have"));
    }
    let Line { processes, replace, replaced, .. } = read;
    Ok(Said::Answer(Answer { served, processes, replace, replaced }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_tolerantly_and_for_their_job_alone() {
        let answer = |served| {
            Ok(Said::Answer(Answer {
                served,
                processes: Vec::new(),
                replace: None,
                replaced: None,
            }))
        };
        assert_eq!(parse(b"{\"ready\": 2, \"new\": []}\n", None), Ok(Said::Ready));
        assert_eq!(parse(b"{\"done\":\"a\"}\n", Some("a")), answer(Served::Done(None)));
        assert_eq!(
            parse(br#"{"done":"a","result":"1\n"}"#, Some("a")),
            answer(Served::Done(Some("1\n".into())))
        );
        assert_eq!(
            parse(br#"{"failed":"a","reason":"input","message":"no"}"#, Some("a")),
            answer(Served::BadInput("no".into()))
        );
        assert_eq!(
            parse(br#"{"failed":"a","reason":"exception","message":"no"}"#, Some("a")),
            answer(Served::Raised("no".into()))
        );
        for line in ["{\"failed\":\"a\"}", "{\"failed\":\"a\",\"reason\":\"new\"}"] {
            assert_eq!(
                parse(line.as_bytes(), Some("a")),
                answer(Served::Failed("".into())),
                "{line}"
            );
        }
        assert_eq!(parse(br#"{"cancelled":"a"}"#, Some("a")), answer(Served::Cancelled));
        let kept = parse(br#"{"done":"a","processes":[7],"replace":"old"}"#, Some("a"));
        let expected = Answer {
            served: Served::Done(None),
            processes: vec![7],
            replace: Some("old".into()),
            replaced: None,
        };
        assert_eq!(kept, Ok(Said::Answer(expected)));
        for (line, job, words) in [
            ("{\"done\":\"b\"}", Some("a"), "\"b\""),
            ("{\"done\":\"a\"}", None, "does not have"),
            ("{\"done\":\"a\",\"failed\":\"a\"}", Some("a"), "neither"),
            ("{\"ready\":3}", None, "version 3"),
            ("hello", None, "no line"),
            ("{}", Some("a"), "neither"),
        ] {
            let error = parse(line.as_bytes(), job).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }
}
