//! `windlass keys`: who else than its admin may call a server on one machine.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::keys::Right;

/// Give other services keys of their own to the server on this machine, or take them back.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key and print it, this once
    Create(Create),
    /// Show the keys that there are, but for their secrets
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Take a key back; a running server refuses it within a second
    Revoke {
        /// Its name
        name: String,
        #[command(flatten)]
        data: Data,
    },
}

/// Make a key and print it, this once.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  export WINDLASS_TOKEN=$(windlass keys create web --verbs create,get,watch --expires 90d)")]
pub(crate) struct Create {
    /// Its name, for `list` and `revoke`
    pub(crate) name: String,
    /// What its holder may do with jobs; `metrics` lets it read /metrics
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "VERB,...",
        default_value = "get,list,watch,create,patch,delete"
    )]
    pub(crate) verbs: Vec<Right>,
    /// Namespace of those jobs; a server on one machine has only `default`
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    pub(crate) namespace: String,
    /// When it ends, such as 90d, 12h, 30m or 45s from now [default: when it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) expires: Option<Duration>,
    #[command(flatten)]
    pub(crate) data: Data,
}

/// Where the server keeps its data.
#[derive(Debug, Args)]
pub(crate) struct Data {
    /// Data directory of the server [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Longest life of a key that ends: ten years.
const MAX_SECONDS: u64 = 10 * 366 * 86_400;

fn duration(text: &str) -> Result<Duration, String> {
    let refused = || "a number and one of s, m, h, d, and at most ten years".to_owned();
    let unit = text.chars().last().ok_or_else(refused)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(refused()),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| refused())?;
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
        for bad in ["", "d", "0d", "-1d", "1.5h", "10", "10w", "99999d", "99999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
