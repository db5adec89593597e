//! Labels of jobs, and selectors of jobs by their labels, as Kubernetes has them.
//!
//! The grammar of a selector is the one of `kubectl get -l`, but for `>` and `<`: they compare
//! integers, which labels of jobs are not. Both worlds read it here, so that both take the same.

mod selector;

use std::collections::BTreeMap;

use crate::error::{Problem, clip};
use crate::{GROUP, name};

pub use selector::{MAX_SELECTOR_BYTES, Selector};

/// Labels, as objects have them.
pub type Labels = BTreeMap<String, String>;

/// Most labels of a job.
pub const MAX_LABELS: usize = 64;

/// Longest value, and longest name in a key, in bytes.
pub const MAX_PART_BYTES: usize = 63;

/// Longest prefix of a key, in bytes.
const MAX_PREFIX_BYTES: usize = 253;

/// All that is wrong with the labels of a new job, each with a JSON pointer to its label.
pub fn problems(labels: &Labels) -> Vec<Problem> {
    if labels.len() > MAX_LABELS {
        let why = format!("{} labels; at most {MAX_LABELS} are allowed", labels.len());
        return vec![Problem::at("/labels", why)];
    }
    let mut found = Vec::new();
    for (key, value) in labels {
        // In a JSON pointer `~` and `/` are written otherwise.
        let escaped = clip(key.replace('~', "~0").replace('/', "~1"), 512);
        let at = format!("/labels/{escaped}");
        if let Some(why) = key_problem(key) {
            found.push(Problem::at(at.clone(), format!("the key {why}")));
        } else if is_reserved(key) {
            found.push(Problem::at(at.clone(), format!("keys under {GROUP}/ are Windlass's own")));
        }
        if let Some(why) = value_problem(value) {
            found.push(Problem::at(at, format!("the value {why}")));
        }
    }
    found
}

/// Reads `a=b,c=d`. Otherwise says what is wrong. Of a key that is there twice the last value counts, as with `kubectl`.
pub fn parse(text: &str) -> Result<Labels, String> {
    let mut labels = Labels::new();
    for pair in text.split(',') {
        let shown = || clip(pair.to_owned(), 64);
        let Some((key, value)) = pair.split_once('=') else {
            return Err(format!("{:?} is not KEY=VALUE", shown()));
        };
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

/// Whether this key is one that Windlass alone may give.
pub fn is_reserved(key: &str) -> bool {
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    prefix == GROUP || prefix.strip_suffix(GROUP).is_some_and(|rest| rest.ends_with('.'))
}

/// Says why this cannot be a key: an optional prefix, which is a DNS name, a slash and a name.
fn key_problem(key: &str) -> Option<String> {
    let (prefix, last) = match key.split_once('/') {
        Some((prefix, last)) => (Some(prefix), last),
        None => (None, key),
    };
    let part = |part: &str| name::problem(part).is_some();
    match prefix {
        Some(prefix) if prefix.len() > MAX_PREFIX_BYTES => {
            return Some(format!("has a prefix of more than {MAX_PREFIX_BYTES} characters"));
        }
        Some(prefix) if prefix.split('.').any(part) => {
            return Some("has a prefix that is no DNS name, such as example.com".into());
        }
        _ => {}
    }
    if last.is_empty() {
        return Some("has no name".into());
    }
    word_problem(last).map(|why| format!("has a name that {why}"))
}

/// Says why this cannot be a value.
fn value_problem(value: &str) -> Option<&'static str> {
    if value.is_empty() { None } else { word_problem(value) }
}

fn word_problem(word: &str) -> Option<&'static str> {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = word.as_bytes();
    if bytes.len() > MAX_PART_BYTES {
        Some("is longer than 63 characters")
    } else if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b)) {
        Some("may have only letters, digits, '-', '_' and '.'")
    } else if !edge(bytes.first()) || !edge(bytes.last()) {
        Some("must begin and end with a letter or a digit")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn labels_are_taken_as_kubernetes_takes_them() {
        let (long, dns) = ("x".repeat(63), vec!["p".repeat(62); 4].join("."));
        for (key, value) in [
            ("app", "web"),
            ("app", ""),
            ("App_2.x-y", "A.b_c-1"),
            ("example.com/team", "blue"),
            (long.as_str(), long.as_str()),
            (&format!("{dns}/{long}"), "1"),
            ("notwindlass.dev/a", "b"),
        ] {
            assert_eq!(problems(&labels(&[(key, value)])), [], "{key}={value}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_the_label() {
        let long = "x".repeat(64);
        for (key, value, pointer, word) in [
            ("", "v", "/labels/", "no name"),
            ("-a", "v", "/labels/-a", "begin and end"),
            ("a b", "v", "/labels/a b", "only letters"),
            ("a/b/c", "v", "/labels/a~1b~1c", "only letters"),
            ("/a", "v", "/labels/~1a", "DNS name"),
            ("Upper.com/a", "v", "/labels/Upper.com~1a", "DNS name"),
            ("example.com/", "v", "/labels/example.com~1", "no name"),
            ("a~", "v", "/labels/a~0", "only letters"),
            ("ok", "a b", "/labels/ok", "the value may have only"),
            ("ok", "a.", "/labels/ok", "the value must begin"),
            ("ok", &long, "/labels/ok", "longer than 63"),
            ("windlass.dev/job", "v", "/labels/windlass.dev~1job", "own"),
            ("x.windlass.dev/a", "v", "/labels/x.windlass.dev~1a", "own"),
        ] {
            let found = problems(&labels(&[(key, value)]));
            assert_eq!(found.len(), 1, "{key}: {found:?}");
            assert_eq!(found[0].pointer, pointer);
            assert!(found[0].message.contains(word), "{key}: {found:?}");
        }
        let many: Labels = (0..65).map(|n| (format!("k{n}"), String::new())).collect();
        assert_eq!(problems(&many)[0].pointer, "/labels");
    }

    #[test]
    fn pairs_are_read() {
        assert_eq!(parse("a=b,c="), Ok(labels(&[("a", "b"), ("c", "")])));
        assert_eq!(parse("a=b,a=c"), Ok(labels(&[("a", "c")])), "as with kubectl");
        for bad in ["", "a", "a=b,", ",a=b"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
