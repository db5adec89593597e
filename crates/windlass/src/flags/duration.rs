//! Lengths of time, as they are written on the command line.

use std::time::Duration;

/// Longest time: ten years.
const MAX_SECONDS: u64 = 10 * 366 * 86_400;

/// A length of time, such as 90d, 12h, 30m or 45s.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let refused = || "a number and one of s, m, h, d, and at most ten years".to_owned();
    let unit = text.chars().last().ok_or_else(refused)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(refused()),
    };
    let number: u64 = text.strip_suffix(unit).unwrap_or_default().parse().map_err(|_| refused())?;
    let seconds = number.checked_mul(factor).filter(|seconds| (1..=MAX_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        assert_eq!(duration("90d"), Ok(Duration::from_secs(90 * 86_400)));
        assert_eq!(duration("12h"), Ok(Duration::from_secs(12 * 3_600)));
        assert_eq!(duration("45s"), Ok(Duration::from_secs(45)));
        for bad in
            ["", "d", "0d", "-1d", "1.5h", "10", "10w", "10dd", "99999d", "99999999999999999999d"]
        {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
