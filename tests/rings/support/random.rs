//! Instants by chance, which can be had again.

use std::time::Duration;

/// A linear congruential generator (Knuth, MMIX): instants, not secrets.
pub(crate) struct Random(u64);

impl Random {
    /// By WINDLASS_SEED, or this process; printed, so that it can be had again.
    pub(crate) fn of_environment() -> Self {
        let given = std::env::var("WINDLASS_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
        println!("seed {seed}");
        Self(seed)
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// Milliseconds from `low` to `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low + self.below(high - low))
    }
}
