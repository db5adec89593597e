//! Conditions and ranges of a GET (RFC 9110, 13 and 14): what a cache has already, and the rest of
//! a download that broke off.

use std::ops::Range;

use http::{HeaderMap, header};

use super::headers::single_value;

/// Which part of the bytes is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestedPart {
    /// All of them. Also for what may be ignored: several ranges, other units, a changed result.
    Whole,
    /// These; never empty.
    Some(Range<u64>),
    /// None that there are.
    Outside,
}

/// Whether `If-None-Match` has this tag.
pub(crate) fn has_etag(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == tag || known == "*")
}

/// The part that `Range` asks for, unless `If-Range` names other bytes.
pub(crate) fn requested_part(headers: &HeaderMap, tag: &str, total: u64) -> RequestedPart {
    let is_other = single_value(headers, header::IF_RANGE) != Some(tag);
    if headers.contains_key(header::IF_RANGE) && is_other {
        return RequestedPart::Whole;
    }
    single_value(headers, header::RANGE)
        .and_then(|range| single_range(range, total))
        .unwrap_or(RequestedPart::Whole)
}

/// `bytes=first-`, `bytes=first-last` or `bytes=-suffix`; `None` for anything else.
fn single_range(range: &str, total: u64) -> Option<RequestedPart> {
    let (first, last) = range.strip_prefix("bytes=")?.trim().split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // Digits that are too many for a number are beyond every end.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let bytes = match (first.is_empty(), last.is_empty()) {
        (true, _) => total.saturating_sub(number(last)?)..total,
        (false, true) => number(first)?..total,
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(total)
        }
    };
    Some(if bytes.is_empty() { RequestedPart::Outside } else { RequestedPart::Some(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood_and_anything_else_is_ignored() {
        let whole = RequestedPart::Whole;
        for (range, expected) in [
            ("bytes=0-3", RequestedPart::Some(0..4)),
            ("bytes=4-", RequestedPart::Some(4..10)),
            ("bytes=-3", RequestedPart::Some(7..10)),
            ("bytes=-99", RequestedPart::Some(0..10)),
            ("bytes=8-99999999999999999999999", RequestedPart::Some(8..10)),
            ("bytes=10-", RequestedPart::Outside),
            ("bytes=-0", RequestedPart::Outside),
            ("bytes=3-1", whole.clone()),
            ("bytes=0-1,4-5", whole.clone()),
            ("lines=0-1", whole.clone()),
            ("bytes=-", whole.clone()),
            ("bytes=+1-2", whole.clone()),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, range.parse().unwrap());
            assert_eq!(requested_part(&headers, "\"t\"", 10), expected, "{range}");
            headers.insert(header::IF_RANGE, "\"other\"".parse().unwrap());
            assert_eq!(requested_part(&headers, "\"t\"", 10), whole, "{range}");
        }
    }

    #[test]
    fn a_known_tag_is_found_in_a_list() {
        for (line, known) in
            [("\"a\", \"t\"", true), ("*", true), ("W/\"t\"", true), ("\"a\"", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, line.parse().unwrap());
            assert_eq!(has_etag(&headers, "\"t\""), known, "{line}");
        }
    }
}
