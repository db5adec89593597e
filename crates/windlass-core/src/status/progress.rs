//! How far an attempt is, and what it used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

/// How far an attempt is, as its function tells.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, at least `done`.
    pub total: u64,
    /// `done / total`, from 0 to 1, rounded down to whole thousandths.
    pub fraction: f64,
    /// `fraction` for a table, such as `42%`.
    #[schemars(length(max = 8))]
    pub percent: String,
    /// What the function says it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Seconds until the end, from the rate since the function started. Absent before 1 %.
    pub estimated_remaining_seconds: Option<u64>,
}

impl Progress {
    /// Progress of `done` units out of `total` after `elapsed` seconds of running.
    pub fn new(done: u64, total: u64, message: &str, elapsed_seconds: f64) -> Self {
        let done = done.min(total);
        // u128: `done * 1000` of a hostile count must not overflow.
        let thousandths =
            (u128::from(done) * 1000).checked_div(u128::from(total)).unwrap_or(0) as u32;
        let estimated_remaining_seconds = (thousandths >= 10 && elapsed_seconds.is_finite())
            .then(|| elapsed_seconds.max(0.0) * (total - done) as f64 / done as f64)
            .map(|seconds| seconds.ceil() as u64);
        Self {
            done,
            total,
            fraction: f64::from(thousandths) / 1000.0,
            percent: format!("{}%", thousandths / 10),
            message: crate::error::clip(message.into(), 1024),
            estimated_remaining_seconds,
        }
    }
}

/// What an attempt used, from the kernel's accounting of the function's process and its children.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// Largest resident memory of one process, in bytes.
    pub peak_memory_bytes: u64,
    /// `cpuSeconds / (running time * parallelism)`: 1 is every granted CPU busy all the time.
    pub efficiency: f64,
    /// Bytes of its log that are kept with its result: 0 when the function said nothing. Absent where none are kept.
    pub log_bytes: Option<u64>,
}
