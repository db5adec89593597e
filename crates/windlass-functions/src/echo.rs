//! `echo`: gives back its input at once, for smoke tests and for measuring what everything around a function costs.

use serde::Serialize;
use serde_json::{Map, Value};
use windlass_sdk::{Error, Run};

/// What came in, and what was granted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Echo {
    /// The input as it came.
    pub input: Map<String, Value>,
    /// CPUs granted.
    pub parallelism: usize,
    /// Operating-system threads of this process, from /proc/self/status; equal to the parallelism.
    pub threads: usize,
}

/// Gives back the input.
///
/// # Errors
/// When the kernel does not tell the number of threads (no /proc).
pub fn echo(input: Map<String, Value>, run: &Run) -> Result<Echo, Error> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let threads = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok())
        .ok_or_else(|| Error::failed("/proc/self/status does not tell the number of threads"))?;
    Ok(Echo { input, parallelism: run.parallelism(), threads })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_comes_back_in_order() {
        let input: Map<String, Value> =
            serde_json::from_str(r#"{"a": 1, "b": [true, null]}"#).unwrap();
        let echo = echo(input.clone(), &Run::detached(3)).unwrap();
        assert_eq!((echo.input, echo.parallelism), (input, 3));
        assert!(echo.threads >= 1);
    }
}
