//! How writes, reads and watches fail, and how late they are.

use std::time::Duration;

use super::State;

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteFault {
    /// It has no effect, and is answered with this code.
    Refused(u16),
    /// It has its effect, and the answer is lost.
    Unanswered,
    /// The controller dies before it.
    DeathBefore,
    /// The controller dies after it took effect, before the answer.
    DeathAfter,
}

/// How reads and watches fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadFaults {
    /// Each answer comes up to so many milliseconds late.
    pub(crate) late: u64,
    /// So many watches end with 410: the version that they would go on from is too old.
    pub(crate) too_old: u32,
    /// The events of the watch of pods come so many milliseconds later still.
    pub(crate) late_pods: u64,
    /// So many reads are refused with 500, at random times.
    pub(crate) refused_reads: u32,
    /// Makes each run another one.
    pub(crate) seed: u64,
}

impl ReadFaults {
    /// Only late.
    pub(crate) fn late(late: u64, seed: u64) -> Self {
        Self { late, too_old: 0, late_pods: 0, refused_reads: 0, seed }
    }
}

/// A number below this one: xorshift64, by Marsaglia.
pub(crate) fn random_below(seed: &mut u64, below: u64) -> u64 {
    *seed |= 1;
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed % below.max(1)
}

impl State {
    /// How late the next answer comes.
    pub(super) fn read_delay(&mut self) -> Duration {
        let faults = self.read_faults.as_mut();
        Duration::from_millis(
            faults.map_or(0, |faults| random_below(&mut faults.seed, faults.late)),
        )
    }

    /// How long a request, an answer or an event is on its way.
    pub(super) fn travel_time(&mut self) -> Duration {
        Duration::from_millis(random_below(&mut self.random, 3))
    }

    /// Whether a read is refused now.
    pub(super) fn refuses_read(&mut self) -> bool {
        let Some(faults) = &mut self.read_faults else { return false };
        let refused = faults.refused_reads > 0 && random_below(&mut faults.seed, 4) == 0;
        faults.refused_reads -= u32::from(refused);
        refused
    }

    /// Whether a watch ends now.
    pub(super) fn expires_watch(&mut self) -> bool {
        let Some(faults) = &mut self.read_faults else { return false };
        let ends = faults.too_old > 0 && random_below(&mut faults.seed, 8) == 0;
        faults.too_old -= u32::from(ends);
        ends
    }
}
