//! Which CPUs belong to whom: each to one attempt at a time.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use rustix::thread::{CpuSet, sched_getaffinity};
use windlass_core::Cpus;

/// The CPUs that nobody has, by physical core.
#[derive(Debug)]
pub(crate) struct Cores {
    /// Physical core of each CPU.
    core_of: BTreeMap<u32, u32>,
    /// How many CPUs each physical core has.
    sizes: BTreeMap<u32, usize>,
    /// Free CPUs of each physical core.
    free: BTreeMap<u32, Vec<u32>>,
    pinned: bool,
}

impl Cores {
    /// The CPUs that this process may use, for a server that grants so many.
    pub(crate) fn of_machine(cpus: Cpus) -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let core_of = (0..CpuSet::MAX_CPU)
            .filter(|&cpu| allowed.is_set(cpu))
            .map(|cpu| (cpu as u32, core(cpu as u32)))
            .collect();
        Ok(Self::new(core_of, cpus))
    }

    fn new(core_of: BTreeMap<u32, u32>, cpus: Cpus) -> Self {
        let mut free: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (&cpu, &core) in &core_of {
            free.entry(core).or_default().push(cpu);
        }
        let sizes = free.iter().map(|(&core, cpus)| (core, cpus.len())).collect();
        // Who grants more than there are lets them be shared.
        let pinned = cpus as usize <= core_of.len();
        Self { core_of, sizes, free, pinned }
    }

    pub(crate) fn are_pinned(&self) -> bool {
        self.pinned
    }

    /// So many CPUs: whole physical cores as far as possible, and else what is left of broken ones.
    /// Empty, for any CPU, when there are not as many.
    pub(crate) fn take(&mut self, count: Cpus) -> Vec<u32> {
        let count = count as usize;
        let free: usize = self.free.values().map(Vec::len).sum();
        if !self.pinned || free < count {
            return Vec::new();
        }
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            let missing = count - taken.len();
            let whole = |core: &u32, cpus: &[u32]| Some(&cpus.len()) == self.sizes.get(core);
            let best = self
                .free
                .iter()
                .filter(|(_, cpus)| !cpus.is_empty())
                .min_by_key(|(core, cpus)| {
                    let fits_whole = whole(core, cpus) && cpus.len() <= missing;
                    // A whole core that fits; else the one that is broken most; else the next.
                    (!fits_whole, cpus.len())
                })
                .map(|(&core, _)| core);
            let Some(cpus) = best.and_then(|core| self.free.get_mut(&core)) else { break };
            let some = cpus.len().min(missing);
            taken.extend(cpus.drain(..some));
        }
        taken
    }

    pub(crate) fn give_back(&mut self, cpus: &[u32]) {
        for cpu in cpus {
            if let Some(core) = self.core_of.get(cpu) {
                self.free.entry(*core).or_default().push(*cpu);
            }
        }
    }
}

/// The physical core of a CPU: the first of those that share it. Where that is not known, its own.
fn core(cpu: u32) -> u32 {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let siblings = fs::read_to_string(path).unwrap_or_default();
    siblings.split([',', '-', '\n']).next().and_then(|first| first.parse().ok()).unwrap_or(cpu)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// So many physical cores of two CPUs each, numbered as Linux does: the second halves last.
    fn cores(count: u32, cpus: Cpus) -> Cores {
        Cores::new((0..2 * count).map(|cpu| (cpu, cpu % count)).collect(), cpus)
    }

    #[test]
    fn a_job_of_two_gets_a_whole_core() {
        let mut cores = cores(4, 8);
        assert_eq!(cores.take(1), [0]);
        assert_eq!(cores.take(2), [1, 5]);
        // The rest of the broken core, before another is broken.
        assert_eq!(cores.take(1), [4]);
    }

    #[test]
    fn who_grants_more_cpus_than_there_are_pins_none() {
        let mut cores = cores(1, 3);
        assert!(!cores.are_pinned());
        assert_eq!(cores.take(2), [0_u32; 0]);
    }

    proptest! {
        #[test]
        fn no_cpu_has_two_owners_and_none_is_lost(
            steps in prop::collection::vec((1_u32..6, any::<prop::sample::Index>()), 0..60),
        ) {
            let mut cores = cores(4, 8);
            let mut held: Vec<Vec<u32>> = Vec::new();
            for (count, index) in steps {
                let taken = cores.take(count);
                prop_assert!(taken.is_empty() || taken.len() == count as usize);
                if taken.is_empty() && !held.is_empty() {
                    let back = held.swap_remove(index.index(held.len()));
                    cores.give_back(&back);
                } else if !taken.is_empty() {
                    held.push(taken);
                }
                let mut all: Vec<u32> = held.iter().flatten().copied().collect();
                all.extend(cores.free.values().flatten());
                all.sort_unstable();
                prop_assert_eq!(all, (0..8).collect::<Vec<_>>());
            }
        }
    }
}
