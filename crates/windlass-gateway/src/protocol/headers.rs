//! Headers that mean nothing when they are there twice.

use http::HeaderMap;
use http::header::AsHeaderName;

/// The value of a header that is there exactly once, and is text.
pub(crate) fn single_value(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => line.to_str().ok(),
        _ => None,
    }
}
