//! Secrets that are made up here.

use std::fs::File;
use std::io::{self, Read as _};

use windlass_core::result::hex;

/// Hex digits of a secret.
pub const SECRET_DIGITS: usize = 64;

/// 256 random bits in hex.
///
/// # Errors
/// When the system gives no random numbers.
pub fn random_secret() -> io::Result<String> {
    let mut random = [0_u8; SECRET_DIGITS / 2];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(hex(&random))
}
