//! Names of objects and of attempts.

use crate::AttemptNumber;

/// Longest name of an object: a DNS label, because it becomes part of a pod's labels.
pub const MAX_NAME: usize = 63;

/// Says why `name` cannot name an object, or nothing. The rule is RFC 1123's DNS label: 1 to 63
/// lower-case letters, digits and `-`, with a letter or digit at both ends.
pub fn problem(name: &str) -> Option<&'static str> {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    match bytes {
        [] => Some("is empty; a name has 1 to 63 characters"),
        _ if bytes.len() > MAX_NAME => Some("is longer than 63 characters"),
        [first, .., last] if !edge(*first) || !edge(*last) => {
            Some("must begin and end with a lower-case letter or a digit")
        }
        [only] if !edge(*only) => Some("must be a lower-case letter or a digit"),
        _ if bytes.iter().all(|&b| edge(b) || b == b'-') => None,
        _ => Some("may have only lower-case letters, digits and '-'"),
    }
}

/// A name for a job that was given none: the function and eight characters of `random`, which the
/// caller draws. It tells what it is and is hard to meet twice.
pub fn generated(function: &str, random: &str) -> String {
    let head = function.get(..50.min(function.len())).unwrap_or(function).trim_end_matches('-');
    format!("{head}-{}", random.get(..8).unwrap_or(random))
}

/// Name of one attempt: of its `batch/v1` Job, or of its process tree on one machine.
///
/// Computed, never generated: the same job and attempt give the same name, so that a creation
/// which is repeated after a crash meets its own first try. The first eight hex digits of the
/// job's UID keep a deleted and recreated job of the same name apart.
pub fn attempt(job: &str, uid: &str, number: AttemptNumber) -> String {
    // 40 + 1 + 8 + 1 + 10 digits stay below 63.
    let head = job.get(..40.min(job.len())).unwrap_or(job).trim_end_matches('-');
    let short: String = uid.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    format!("{head}-{short}-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_dns_label_rule() {
        for good in ["a", "a1", "price-1", &"x".repeat(63)] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in ["", "-", "-a", "a-", "A", "a_b", "a.b", "ä", &"x".repeat(64)] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn generated_names_are_labels_for_the_longest_function_name() {
        assert_eq!(generated("price", "0123456789abcdef"), "price-01234567");
        let long = generated(&format!("{}-b", "f".repeat(49)), "0123456789abcdef");
        assert_eq!(problem(&long), None, "{long}");
    }

    #[test]
    fn attempt_names_are_labels_for_the_longest_job_name() {
        let uid = "0190b7a2-1111-7abc-8def-0123456789ab";
        let name = attempt(&"j".repeat(63), uid, u32::MAX);
        assert_eq!(problem(&name), None, "{name}");
        assert_eq!(attempt("price", uid, 2), "price-0190b7a2-2");
        assert_eq!(problem(&attempt(&format!("{}-b", "a".repeat(39)), uid, 1)), None);
    }
}
