//! Whole CPUs for attempts: which of this machine's CPUs are whose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rustix::thread::{CpuSet, sched_getaffinity};
use windlass_core::Cpus;

/// Where the kernel tells which CPUs are on one core.
const CPUS: &str = "/sys/devices/system/cpu";

/// The CPUs that this process may run on, and which of them are free. Whoever grants more than there
/// are pins none: then the kernel shares them out.
#[derive(Debug)]
pub(crate) struct Cores {
    /// In the order in which they are filled: by package, then by their first CPU.
    cores: Vec<Core>,
    pinning: bool,
}

/// One physical core.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Core {
    package: u32,
    /// Its hardware threads.
    cpus: BTreeSet<u32>,
    free: BTreeSet<u32>,
}

impl Cores {
    /// Those of this process, for a server that grants so many.
    pub(crate) fn find(granted: Cpus) -> Self {
        let cpus = allowed();
        Self::new(cpus.iter().map(|&cpu| (cpu, topology(Path::new(CPUS), cpu))), granted)
    }

    /// From each CPU's number, and its package and the CPUs of its core.
    fn new(cpus: impl IntoIterator<Item = (u32, (u32, Vec<u32>))>, granted: Cpus) -> Self {
        let mut cores: BTreeMap<(u32, u32), BTreeSet<u32>> = BTreeMap::new();
        for (cpu, (package, siblings)) in cpus {
            let first = siblings.into_iter().min().unwrap_or(cpu);
            cores.entry((package, first)).or_default().insert(cpu);
        }
        let cores: Vec<_> = cores
            .into_iter()
            .map(|((package, _), cpus)| Core { package, free: cpus.clone(), cpus })
            .collect();
        let count: usize = cores.iter().map(|core| core.cpus.len()).sum();
        Self { cores, pinning: granted as usize <= count && count > 0 }
    }

    /// Attempts get CPUs of their own.
    pub(crate) fn are_pinned(&self) -> bool {
        self.pinning
    }

    /// All of them, whoever has them.
    pub(crate) fn all(&self) -> Vec<u32> {
        let mut all: Vec<_> = self.cores.iter().flat_map(|core| &core.cpus).copied().collect();
        all.sort_unstable();
        all
    }

    /// So many CPUs that nobody else has, in order: whole cores as far as they go, on one package if
    /// they fit there, and the package that they fill best. `None` when there are not so many free;
    /// none, which means any, when nobody's are pinned.
    pub(crate) fn acquire(&mut self, count: Cpus) -> Option<Vec<u32>> {
        if !self.pinning {
            return Some(Vec::new());
        }
        let mut free: BTreeMap<u32, usize> = BTreeMap::new();
        for core in &self.cores {
            *free.entry(core.package).or_default() += core.free.len();
        }
        let mut missing = count as usize;
        if free.values().sum::<usize>() < missing {
            return None;
        }
        let mut taken = Vec::with_capacity(missing);
        while missing > 0 {
            let fits = free.iter().filter(|(_, free)| **free >= missing).min_by_key(|(_, f)| **f);
            // Over as few packages as possible.
            let largest = free.iter().max_by_key(|(_, free)| **free);
            let (&package, &most) = fits.or(largest)?;
            free.remove(&package);
            self.acquire_in(package, missing.min(most), &mut taken);
            missing = (count as usize).saturating_sub(taken.len());
        }
        taken.sort_unstable();
        Some(taken)
    }

    /// Of one package, which has so many.
    fn acquire_in(&mut self, package: u32, mut count: usize, taken: &mut Vec<u32>) {
        let mut cores: Vec<_> =
            self.cores.iter_mut().filter(|core| core.package == package).collect();
        for core in &mut cores {
            if core.free.len() == core.cpus.len() && core.free.len() <= count {
                count -= core.free.len();
                taken.append(&mut core.free.iter().copied().collect());
                core.free.clear();
            }
        }
        // What is left of broken cores, before another one is broken.
        cores.sort_by_key(|core| core.free.len() == core.cpus.len());
        for core in cores {
            while count > 0
                && let Some(cpu) = core.free.pop_first()
            {
                count -= 1;
                taken.push(cpu);
            }
        }
    }

    /// Takes CPUs back. What is free, or not of this machine, changes nothing.
    pub(crate) fn release(&mut self, cpus: &[u32]) {
        for core in &mut self.cores {
            core.free.extend(cpus.iter().filter(|cpu| core.cpus.contains(cpu)));
        }
    }
}

/// The CPUs of this process's affinity; none when that cannot be known.
fn allowed() -> Vec<u32> {
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    let known = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu));
    known.filter_map(|cpu| u32::try_from(cpu).ok()).collect()
}

/// The package of a CPU and the CPUs of its core. Where the kernel does not say, one package and
/// cores of one CPU.
fn topology(cpus: &Path, cpu: u32) -> (u32, Vec<u32>) {
    let directory = cpus.join(format!("cpu{cpu}/topology"));
    let read = |name| std::fs::read_to_string(directory.join(name)).unwrap_or_default();
    let siblings = parse_list(&read("thread_siblings_list"));
    (read("physical_package_id").trim().parse().unwrap_or(0), siblings.unwrap_or_default())
}

/// Reads a list of CPUs such as `0-3,8`.
fn parse_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(cpus)
}

/// A list of CPUs as the kernel reads it.
pub(super) fn cpu_list(cpus: &[u32]) -> String {
    cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Cores of `threads` CPUs, numbered as Linux does: the second threads after all first ones.
    fn machine(packages: u32, cores: u32, threads: u32, granted: Cpus) -> Cores {
        let all = packages * cores;
        let cpu = |cpu: u32| {
            let core = cpu % all;
            (cpu, (core / cores, (0..threads).map(|thread| core + thread * all).collect()))
        };
        Cores::new((0..all * threads).map(cpu), granted)
    }

    #[test]
    fn two_cpus_are_one_core_and_broken_cores_are_filled_first() {
        let mut cores = machine(1, 4, 2, 8);
        assert_eq!(cores.acquire(1).unwrap(), [0]);
        assert_eq!(cores.acquire(2).unwrap(), [1, 5]);
        assert_eq!(cores.acquire(1).unwrap(), [4]);
        assert_eq!(cores.acquire(3).unwrap(), [2, 3, 6]);
        assert_eq!(cores.acquire(2), None);
        assert_eq!(cores.acquire(1).unwrap(), [7]);
        cores.release(&[2, 3, 6]);
        assert_eq!(cores.acquire(2).unwrap(), [2, 6]);
    }

    #[test]
    fn what_fits_in_one_package_is_in_one_package() {
        let mut cores = machine(2, 4, 1, 8);
        assert_eq!(cores.acquire(1).unwrap(), [0]);
        // The other package has room for all of it.
        assert_eq!(cores.acquire(4).unwrap(), [4, 5, 6, 7]);
        assert_eq!(cores.acquire(3).unwrap(), [1, 2, 3]);
        cores.release(&[0, 1, 4, 5, 6]);
        assert_eq!(cores.acquire(5).unwrap(), [0, 1, 4, 5, 6]);
    }

    #[test]
    fn whoever_grants_more_than_there_are_pins_none() {
        let mut cores = machine(1, 2, 1, 3);
        assert!(!cores.are_pinned());
        for _ in 0..5 {
            assert_eq!(cores.acquire(2), Some(Vec::new()));
        }
    }

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(parse_list("0-2,8\n"), Some(vec![0, 1, 2, 8]));
        assert_eq!(parse_list("\n"), Some(Vec::new()));
        assert_eq!(parse_list("x"), None);
        assert_eq!(cpu_list(&[3, 4]), "3,4");
    }

    #[test]
    fn this_machine_has_cpus_and_each_is_on_one_core() {
        let all = allowed();
        assert_eq!(Cores::find(1).all(), all);
        assert!(!all.is_empty());
    }

    proptest! {
        #[test]
        fn no_cpu_has_two_owners_and_none_is_lost(
            packages in 1_u32..4, each in 1_u32..5, threads in 1_u32..3,
            steps in prop::collection::vec((0_u32..9, any::<prop::sample::Index>()), 0..60),
        ) {
            let count = packages * each * threads;
            let mut cores = machine(packages, each, threads, count);
            let mut held: Vec<Vec<u32>> = Vec::new();
            for (wanted, index) in steps {
                let free: usize = cores.cores.iter().map(|core| core.free.len()).sum();
                match cores.acquire(wanted) {
                    Some(taken) => {
                        prop_assert_eq!(taken.len(), wanted as usize);
                        held.push(taken);
                    }
                    None => {
                        prop_assert!(free < wanted as usize);
                        if !held.is_empty() {
                            let back = held.swap_remove(index.index(held.len()));
                            cores.release(&back);
                            // Repeating it changes nothing.
                            cores.release(&back);
                        }
                    }
                }
                let mut all: Vec<u32> = held.iter().flatten().copied().collect();
                all.extend(cores.cores.iter().flat_map(|core| &core.free));
                all.sort_unstable();
                prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
            }
        }

        #[test]
        fn a_free_machine_breaks_at_most_one_core(
            packages in 1_u32..4, each in 1_u32..5, threads in 1_u32..3, wanted in 1_u32..20,
        ) {
            let mut cores = machine(packages, each, threads, packages * each * threads);
            if let Some(taken) = cores.acquire(wanted) {
                let broken = |core: &&Core| !core.free.is_empty() && core.free != core.cpus;
                prop_assert!(cores.cores.iter().filter(broken).count() <= 1);
                let package = |cpu: &u32| cpu % (packages * each) / each;
                let used: BTreeSet<_> = taken.iter().map(package).collect();
                prop_assert_eq!(used.len(), wanted.div_ceil(each * threads) as usize);
            }
        }
    }
}
