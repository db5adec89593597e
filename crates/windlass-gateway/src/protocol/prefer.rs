//! `Prefer: wait=N` (RFC 7240).

use std::time::Duration;

use http::HeaderMap;

/// How long the caller wants to wait for the end of the job, at most `longest`. A preference that
/// cannot be read is no preference.
pub(crate) fn wait_of(headers: &HeaderMap, longest: Duration) -> Option<Duration> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .find_map(wait_seconds)
        .map(|wanted| Duration::from_secs(wanted).min(longest))
}

fn wait_seconds(preference: &str) -> Option<u64> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    let digits = value.trim().trim_matches('"');
    let is_wait = name.trim().eq_ignore_ascii_case("wait");
    (is_wait && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_is_found_among_other_preferences_and_bounded() {
        for (line, expected) in [
            ("wait=10", Some(10)),
            ("return=representation, wait = \"7\"; x=y", Some(7)),
            ("Wait=99999", Some(3_600)),
            ("wait=0", Some(0)),
            ("wait", None),
            ("wait=-1", None),
            ("wait=", None),
            ("wait=99999999999999999999", None),
            ("respond-async", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", line.parse().unwrap());
            let waits = wait_of(&headers, Duration::from_secs(3_600));
            assert_eq!(waits.map(|w| w.as_secs()), expected, "{line}");
        }
    }
}
