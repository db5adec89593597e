//! Amounts of bytes, as they are written on the command line.

/// An amount of bytes, such as 512Mi, 10Gi or 1000000.
pub(crate) fn quantity(text: &str) -> Result<u64, String> {
    let bytes = windlass_core::quantity::bytes(text);
    bytes.ok_or_else(|| "it is no quantity such as 512Mi, 10Gi or 1000000".to_owned())
}
