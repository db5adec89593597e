//! Names and phases, as they are written on the command line.

use windlass_core::Phase;

/// A name of an object.
pub(crate) fn name(text: &str) -> Result<String, String> {
    match windlass_core::name::problem(text) {
        Some(why) => Err(format!("{text:?} {why}")),
        None => Ok(text.to_owned()),
    }
}

/// A name of a job, alone or as `-o name` and kubectl write it.
pub(crate) fn job_name(text: &str) -> Result<String, String> {
    let alone = match text.split_once('/') {
        Some(("computejob.windlass.dev" | "computejob" | "computejobs" | "cjob", alone)) => alone,
        _ => text,
    };
    name(alone)
}

/// A phase, in any case of its letters.
pub(crate) fn phase(text: &str) -> Result<Phase, String> {
    let known = Phase::ALL.into_iter().find(|phase| phase.as_str().eq_ignore_ascii_case(text));
    let words = Phase::ALL.map(Phase::as_str).join(", ");
    known.ok_or_else(|| format!("there is no such phase; there are: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_may_be_named_as_kubectl_does() {
        for text in ["price-1", "cjob/price-1", "computejob.windlass.dev/price-1"] {
            assert_eq!(job_name(text).as_deref(), Ok("price-1"));
        }
        for text in ["", "pod/price-1", "Price", "cjob/", "a/b/c"] {
            assert!(job_name(text).is_err(), "{text}");
        }
    }
}
