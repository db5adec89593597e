//! Blobs: bytes of any size that are sent beside a job, and that jobs name by their digest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::media_type;

/// Most files of one job.
pub const MAX_FILES: usize = 64;

/// Longest name of a file, in bytes.
pub const MAX_FILE_NAME_BYTES: usize = 128;

/// Most bytes of an input or of a file, for a function that does not say: 1 GiB.
pub const MAX_BYTES: u64 = 1 << 30;

/// Bytes that were sent before the job that names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlobRef {
    /// SHA-256 of the bytes: 64 hexadecimal digits in lower case.
    #[schemars(length(min = 64, max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// Their length.
    #[schemars(range(max = 1_099_511_627_776_u64))]
    pub bytes: u64,
    /// Their media type. Default `application/octet-stream`.
    #[serde(default = "bytes_type")]
    #[schemars(length(min = 3, max = 128))]
    pub media_type: String,
}

/// What of a blob is told to whoever has sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Blob {
    /// SHA-256 of its bytes: 64 hexadecimal digits in lower case.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

fn bytes_type() -> String {
    media_type::BYTES.into()
}

/// Whether a text is a digest as blobs have it.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Why no file of a job can have this name; `None` when one can.
pub fn file_name_problem(name: &str) -> Option<&'static str> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > MAX_FILE_NAME_BYTES || matches!(name, "." | "..") {
        Some("is no name of a file: 1 to 128 characters, and neither . nor ..")
    } else if !name.bytes().all(is_known) {
        Some("is no name of a file: only letters, digits, dots, underscores and hyphens")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_a_name_and_no_path() {
        for good in ["a", "big.csv", "A_1-b.tar.gz", "...", ".hidden", &"x".repeat(128)] {
            assert_eq!(file_name_problem(good), None, "{good}");
        }
        for bad in ["", ".", "..", "a/b", "/a", "..\\a", "a b", "ä", "a\0", &"x".repeat(129)] {
            assert!(file_name_problem(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        assert!(is_sha256(&"0a".repeat(32)));
        for bad in ["", &"0A".repeat(32), &"0a".repeat(31), &"0g".repeat(32), &"0a".repeat(33)] {
            assert!(!is_sha256(bad), "{bad}");
        }
    }
}
