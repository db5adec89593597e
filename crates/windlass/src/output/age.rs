//! Ages, in kubectl's form.

use jiff::Timestamp;

/// A time as kubectl shows it: its two largest units while it is short, one later.
pub(crate) fn age(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 && seconds % 60 > 0 {
        format!("{minutes}m{}s", seconds % 60)
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 && minutes % 60 > 0 {
        format!("{hours}h{}m", minutes % 60)
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 && hours % 24 > 0 {
        format!("{days}d{}h", hours % 24)
    } else {
        format!("{days}d")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_kubectls() {
        let zero = Timestamp::from_second(0).unwrap();
        for (seconds, expected) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (3_600, "60m"),
            (10_860, "3h1m"),
            (100_000, "27h"),
            (180_000, "2d2h"),
            (8_640_000, "100d"),
        ] {
            let to = Timestamp::from_second(seconds).unwrap();
            assert_eq!(age(zero, to), expected, "{seconds}");
        }
    }
}
