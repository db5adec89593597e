//! What an event costs while 1,000 to 1,000,000 jobs wait, on a machine that is full; and with 1,000,000 jobs in 10,000
//! queues, of which 100 each share the CPUs of a pool, without preemption and with it.
//!
//! `cargo bench -p windlass-core --bench admit`

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures and tells")]

use std::time::{Duration, Instant};

use jiff::Timestamp;
use windlass_core::{Admission, Capacity, Cpus, Grant, Preemption, Share, Waiting};

type Id = [u8; 16];

const CAPACITY: Cpus = 64;
const QUEUES: u64 = 32;
const EVENTS: usize = 100_000;
const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Pools, the queues of each, and the jobs that wait in all of them.
const POOLS: usize = 100;
const QUEUES_OF_POOL: u64 = 100;
const WAITING_IN_POOLS: usize = 1_000_000;

/// Numbers that are the same at each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

/// Submits, and knows who waits.
struct Users {
    random: Random,
    submitted: u64,
    waiting: Vec<Id>,
    queues: u64,
}

impl Users {
    fn new(queues: u64, capacity: usize) -> Self {
        Self { random: Random(1), submitted: 0, waiting: Vec::with_capacity(capacity), queues }
    }

    /// A job every millisecond, with an ID in the order of time like a version 7 UUID.
    fn submit(&mut self) -> (Id, Waiting) {
        self.submitted += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.submitted.to_be_bytes());
        id[8..].copy_from_slice(&self.random.below(u64::MAX).to_be_bytes());
        let min = [1, 1, 1, 2, 2, 4, 8, 16][self.random.below(8) as usize];
        let waiting = Waiting {
            queue: format!("queue-{}", self.random.below(self.queues)),
            priority: self.random.below(5) as i32 - 2,
            since: self.now(),
            sequence: 0,
            min,
            max: min << self.random.below(3),
        };
        (id, waiting)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.submitted as i64).expect("a time in 1970")
    }
}

/// What one event of a kind costs.
struct Cost {
    kind: &'static str,
    p50: Duration,
    p99: Duration,
    max: Duration,
    per_second: f64,
}

impl Cost {
    fn of(kind: &'static str, mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        let at = |part: usize| samples[(samples.len() - 1) * part / 100];
        let sum: Duration = samples.iter().sum();
        let per_second = samples.len() as f64 / sum.as_secs_f64();
        Self { kind, p50: at(50), p99: at(99), max: at(100), per_second }
    }
}

/// Resident memory in bytes; 0 where it cannot be told.
fn memory() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

fn timed<T>(samples: &mut Vec<Duration>, event: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let value = event();
    samples.push(began.elapsed());
    value
}

fn run(n: usize) -> Vec<Cost> {
    let mut users = Users::new(QUEUES, 2 * n);
    let before = memory();
    let mut admission: Admission<Id> = Admission::new(Capacity(Some(CAPACITY)));
    for queue in 0..QUEUES / 2 {
        let quota = (queue % 4 == 0).then_some(8);
        let share = Share { quota, weight: 1 + (queue % 3) as u32, ..Share::default() };
        admission.set_queue(&format!("queue-{queue}"), Some(share));
    }
    while admission.waiting() < n {
        let (id, waiting) = users.submit();
        users.waiting.push(id);
        admission.wait(id, waiting);
    }
    let bytes = memory().saturating_sub(before + users.waiting.len() * size_of::<Id>());

    let mut running: Vec<Grant<Id>> = Vec::new();
    while let Some(grant) = admission.next(users.now()) {
        running.push(grant);
    }
    let (mut wait, mut next, mut leave) = (Vec::new(), Vec::new(), Vec::new());
    let mut granted = 0;
    for _ in 0..EVENTS {
        // One job ends, and whoever may starts.
        if !running.is_empty() {
            let ended = users.random.below(running.len() as u64) as usize;
            let ended = running.swap_remove(ended);
            let now = users.now();
            timed(&mut next, || {
                admission.release(&ended.id);
                while let Some(grant) = admission.next(now) {
                    running.push(grant);
                    granted += 1;
                }
            });
        }
        // Two come, one goes: as many wait as before, but for those that started.
        for _ in 0..2 {
            let (id, waiting) = users.submit();
            users.waiting.push(id);
            timed(&mut wait, || admission.wait(id, waiting));
        }
        while admission.waiting() > n {
            let gone = users.random.below(users.waiting.len() as u64) as usize;
            let gone = users.waiting.swap_remove(gone);
            // It may have started already.
            if admission.granted(&gone).is_none() {
                timed(&mut leave, || admission.leave(&gone));
            }
        }
    }
    println!("{n:>9} waiting, {:>4} bytes each, {granted} granted", bytes / n);
    vec![Cost::of("wait", wait), Cost::of("next+release", next), Cost::of("leave", leave)]
}

/// Many pools, each with its own admission, as a cluster has them, and what runs in them.
struct Pools {
    users: Users,
    admissions: Vec<Admission<Id>>,
    running: Vec<Vec<Grant<Id>>>,
    /// Attempts that are ending for others.
    ending: Vec<Vec<Id>>,
}

impl Pools {
    /// Pools of which every tenth queue has a guarantee and ends attempts for it, and the others those of their own.
    fn new(preempts: bool) -> Self {
        let admission = || Admission::new(Capacity(Some(CAPACITY)));
        let mut admissions: Vec<_> = std::iter::repeat_with(admission).take(POOLS).collect();
        for admission in &mut admissions {
            for queue in 0..QUEUES_OF_POOL {
                let (weight, guaranteed) = (1 + (queue % 3) as u32, (queue % 10 == 0).into());
                let preemption = match (preempts, guaranteed) {
                    (false, _) => Preemption::None,
                    (true, 0) => Preemption::LowerPriority,
                    (true, _) => Preemption::Reclaim,
                };
                let share = Share { quota: Some(32), weight, guaranteed, preemption };
                admission.set_queue(&format!("queue-{queue}"), Some(share));
            }
        }
        let mut users = Users::new(QUEUES_OF_POOL, 0);
        for number in 0..WAITING_IN_POOLS {
            let (id, waiting) = users.submit();
            admissions[number % POOLS].wait(id, waiting);
        }
        let (running, ending) = (vec![Vec::new(); POOLS], vec![Vec::new(); POOLS]);
        Self { users, admissions, running, ending }
    }

    /// What is granted to those that wait, and whom they end. How many grants, and how many victims.
    fn turn(&mut self, pool: usize) -> (usize, usize) {
        let (now, before) = (self.users.now(), self.running[pool].len());
        let mut victims = 0;
        loop {
            self.running[pool].extend(std::iter::from_fn(|| self.admissions[pool].next(now)));
            let Some(preempted) = self.admissions[pool].preempt(now) else { break };
            victims += preempted.victims.len();
            self.ending[pool].extend(preempted.victims);
        }
        (self.running[pool].len() - before, victims)
    }

    /// An attempt to end: one that ends for another, if there is one.
    fn end(&mut self, pool: usize) -> Option<Id> {
        let running = &mut self.running[pool];
        if let Some(id) = self.ending[pool].pop() {
            running.retain(|grant| grant.id != id);
            return Some(id);
        }
        let count = running.len() as u64;
        (count > 0).then(|| running.swap_remove(self.users.random.below(count) as usize).id)
    }
}

/// Releases in one of many pools, with the grants that follow, and those whom they end: all of a release, and its time
/// by its grants. One release of a large job lets many small ones start.
fn run_pools(preempts: bool) -> [Cost; 2] {
    let mut pools = Pools::new(preempts);
    let started: usize = (0..POOLS).map(|pool| pools.turn(pool).0).sum();
    let (mut samples, mut granted, mut victims) = (Vec::new(), 0, 0);
    let mut of_grants = Vec::new();
    for event in 0..EVENTS {
        let pool = event % POOLS;
        let Some(ended) = pools.end(pool) else { continue };
        let turn = timed(&mut samples, || {
            pools.admissions[pool].release(&ended);
            pools.turn(pool)
        });
        of_grants.extend(samples.last().map(|took| *took / turn.0.max(1) as u32));
        granted += turn.0;
        victims += turn.1;
        let (id, waiting) = pools.users.submit();
        pools.admissions[pool].wait(id, waiting);
    }
    println!("{started} run in {POOLS} pools; then {granted} granted, {victims} ended for others");
    let kinds = if preempts { ["with preempt", "by grant"] } else { ["next+release", "by grant"] };
    [Cost::of(kinds[0], samples), Cost::of(kinds[1], of_grants)]
}

fn main() {
    // Only when asked for: test runners start every target.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let all: Vec<Vec<Cost>> = SIZES.into_iter().map(run).collect();
    let pools = [false, true].map(run_pools);
    println!();
    println!(
        "{:>9}  {:<12} {:>10} {:>10} {:>10} {:>12}",
        "waiting", "event", "p50", "p99", "max", "events/s"
    );
    for (n, costs) in SIZES.into_iter().zip(&all) {
        for Cost { kind, p50, p99, max, per_second } in costs {
            println!(
                "{n:>9}  {kind:<12} {:>10} {:>10} {:>10} {per_second:>12.0}",
                format!("{p50:.2?}"),
                format!("{p99:.2?}"),
                format!("{max:.2?}"),
            );
        }
    }
    for Cost { kind, p50, p99, max, per_second } in pools.into_iter().flatten() {
        println!(
            "{WAITING_IN_POOLS:>9}  {kind:<12} {:>10} {:>10} {:>10} {per_second:>12.0}  in {POOLS} pools of {QUEUES_OF_POOL} queues",
            format!("{p50:.2?}"),
            format!("{p99:.2?}"),
            format!("{max:.2?}"),
        );
    }
    println!();
    if let [few, .., many] = &all[..] {
        for (few, many) in few.iter().zip(many) {
            let p50 = many.p50.as_secs_f64() / few.p50.as_secs_f64();
            let p99 = many.p99.as_secs_f64() / few.p99.as_secs_f64();
            let mean = few.per_second / many.per_second;
            println!("1M / 1k  {:<12} p50 {p50:.2}, p99 {p99:.2}, mean {mean:.2}", few.kind);
        }
    }
}
