//! A media type, as a flag gives it.

use windlass_core::media_type::problem;

/// Reads a media type.
pub(crate) fn media_type(text: &str) -> Result<String, String> {
    match problem(text) {
        None => Ok(text.to_owned()),
        Some(why) => Err(why.to_owned()),
    }
}
