//! Media types: what they look like, and which ones a function takes.

/// Longest media type, in bytes, with its parameters.
pub const MAX_BYTES: usize = 128;

/// The type of JSON.
pub const JSON: &str = "application/json";

/// The type of bytes of which nobody says what they are.
pub const BYTES: &str = "application/octet-stream";

/// The type without its parameters, in lower case.
pub fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Why a text is no media type; `None` when it is one, such as `text/csv; charset=utf-8`.
pub fn problem(text: &str) -> Option<&'static str> {
    if text.len() > MAX_BYTES {
        return Some("is longer than 128 characters");
    }
    let is_plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    match essence(text).split_once('/') {
        Some((kind, rest)) if is_plain && is_token(kind) && is_token(rest) => None,
        _ => Some("is no media type, such as image/png"),
    }
}

/// Why a text names no media types; `None` when it is a media type without parameters, `image/*`
/// or `*/*`.
pub fn range_problem(text: &str) -> Option<&'static str> {
    let is_range = match text.split_once('/') {
        Some(("*", "*")) => true,
        Some((kind, "*")) => is_token(kind),
        Some((kind, rest)) => is_token(kind) && is_token(rest),
        None => false,
    };
    let is_short = text.len() <= MAX_BYTES;
    (!is_range || !is_short).then_some("is no media type, such as image/png, image/* or */*")
}

/// Whether a media type is among those that a text names.
pub fn is_in(media_type: &str, range: &str) -> bool {
    let (found, range) = (essence(media_type), range.to_ascii_lowercase());
    match range.strip_suffix('*') {
        Some("*/") => true,
        Some(kind) => found.starts_with(kind),
        None => found == range,
    }
}

/// Whether a word may be a part of a media type (RFC 9110). A star is not: it stands for any.
fn is_token(word: &str) -> bool {
    let is_mark = |byte: u8| b"!#$%&'+-.^_`|~".contains(&byte);
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_has_two_words_and_maybe_parameters() {
        for good in ["image/png", "text/csv; charset=utf-8", "application/vnd.apache.arrow.stream"]
        {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in ["", "png", "image/", "/png", "*/*", "image/*", "a/b\nc: d", "a b/c", "ä/b"] {
            assert!(problem(bad).is_some(), "{bad:?}");
        }
        assert!(problem(&format!("a/{}", "b".repeat(127))).is_some());
    }

    #[test]
    fn a_range_names_one_type_or_many() {
        for (media_type, range, expected) in [
            ("image/png", "image/png", true),
            ("Image/PNG; q=1", "image/png", true),
            ("image/png", "image/*", true),
            ("image/png", "*/*", true),
            ("image/png", "image/jpeg", false),
            ("imagery/png", "image/*", false),
            ("text/csv", "image/*", false),
        ] {
            assert_eq!(range_problem(range), None);
            assert_eq!(is_in(media_type, range), expected, "{media_type} in {range}");
        }
        for bad in ["", "*", "*/png", "image", "image/png; q=1", "im*/png"] {
            assert!(range_problem(bad).is_some(), "{bad}");
        }
    }
}
