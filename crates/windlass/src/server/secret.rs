//! Secrets that are made up here.

use std::fs::File;
use std::io::Read as _;

/// Hex digits of a secret.
pub(super) const DIGITS: usize = 64;

/// 256 random bits in hex.
pub(super) fn random_secret() -> anyhow::Result<String> {
    let mut random = [0_u8; DIGITS / 2];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
