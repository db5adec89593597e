//! Amounts of memory as Kubernetes writes them: `512Mi`, `2Gi`, `1000000`.

/// Parses an amount of memory to bytes. Accepts digits alone or followed by one of
/// `Ki Mi Gi Ti` (powers of 1024) or `k M G T` (powers of 1000). Whole numbers only; `None` for
/// anything else and for what exceeds 2^63 - 1.
pub fn bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(split);
    let factor: u64 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    let amount = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    i64::try_from(amount).is_ok().then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_kubernetes_writes_it() {
        assert_eq!(bytes("512Mi"), Some(512 << 20));
        assert_eq!(bytes("2Gi"), Some(2 << 30));
        assert_eq!(bytes("1000k"), Some(1_000_000));
        assert_eq!(bytes("7"), Some(7));
        for bad in ["", "Mi", "1.5Gi", "-1", "1e3", "1 Gi", "99999999999Ti", "1mi"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
