//! Who starts, with how many CPUs.
//!
//! Order: priority, then weighted fair share between queues by granted CPUs, then age. Not only the
//! head of a queue is looked at: a large job that waits blocks no smaller one that fits, until it
//! has waited [`RESERVE_AFTER_SECONDS`]; from then on what comes after it in its queue waits too, so
//! that it is not starved.
//!
//! This is the whole decision from a snapshot, `O(n log n)`.

use std::cmp::Reverse;

use jiff::Timestamp;

use crate::Cpus;

/// After this time, in seconds, a job that does not fit holds back the jobs behind it.
pub const RESERVE_AFTER_SECONDS: i64 = 60;

/// A queue and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// CPUs it may use at the same time; `None` for no quota.
    pub quota: Option<Cpus>,
    /// CPUs granted now.
    pub granted: Cpus,
    /// Its share beside other queues; at least 1.
    pub weight: u32,
}

/// A job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Index of its queue in the slice that `admit` is given.
    pub queue: usize,
    /// Higher first.
    pub priority: i32,
    /// When it was created: older first.
    pub since: Timestamp,
    /// Fewest CPUs to start with; at least 1.
    pub min: Cpus,
    /// CPUs wanted; at least `min`.
    pub max: Cpus,
}

/// CPUs free in all; `None` where somebody else, such as the Kubernetes scheduler, places them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity(pub Option<Cpus>);

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Index of the job in the slice that `admit` was given.
    pub waiting: usize,
    /// Its CPUs.
    pub cpus: Cpus,
}

/// Decides who starts now. Total and deterministic; the sum of the grants exceeds neither the free
/// capacity nor a queue's quota.
pub fn admit(
    queues: &[QueueState],
    waiting: &[Waiting],
    free: Capacity,
    now: Timestamp,
) -> Vec<Grant> {
    let mut queues = queues.to_vec();
    let mut free = free.0;
    let mut held = vec![false; queues.len()];
    let mut all_held = false;
    // One line a queue, best last, so that taking the best is a pop.
    let mut lines: Vec<Vec<usize>> = vec![Vec::new(); queues.len()];
    for (index, job) in waiting.iter().enumerate() {
        if let Some(line) = lines.get_mut(job.queue) {
            line.push(index);
        }
    }
    for line in &mut lines {
        line.sort_by_key(|&i| {
            (Reverse(Reverse(waiting[i].priority)), Reverse(waiting[i].since), Reverse(i))
        });
    }

    let mut grants = Vec::new();
    while free != Some(0) {
        let best = (0..lines.len())
            .filter_map(|queue| Some((queue, *lines[queue].last()?)))
            .min_by_key(|&(queue, index)| {
                let job = &waiting[index];
                (Reverse(job.priority), share(&queues[queue]), job.since, index)
            });
        let Some((queue, index)) = best else { break };
        lines[queue].pop();
        let (state, job) = (&mut queues[queue], &waiting[index]);
        let left = state.quota.map_or(Cpus::MAX, |quota| quota.saturating_sub(state.granted));
        let fits = job.max.min(left).min(free.unwrap_or(Cpus::MAX));
        if held[queue] || all_held {
            continue;
        }
        if fits >= job.min {
            state.granted = state.granted.saturating_add(fits);
            free = free.map(|cpus| cpus - fits);
            grants.push(Grant { waiting: index, cpus: fits });
        } else if now.duration_since(job.since).as_secs() >= RESERVE_AFTER_SECONDS {
            // Whatever it lacks is kept for it: its queue's quota, or the machine.
            if left < job.min {
                held[queue] = true;
            } else {
                all_held = true;
            }
        }
    }
    grants
}

/// Granted CPUs by weight, comparable between queues without rounding.
fn share(queue: &QueueState) -> u64 {
    // Scaled so that whole-number division keeps the order of nearby shares.
    (u64::from(queue.granted) << 20) / u64::from(queue.weight.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn job(queue: usize, min: Cpus, max: Cpus) -> Waiting {
        Waiting { queue, priority: 0, since: at(0), min, max }
    }

    fn queue(quota: Option<Cpus>) -> QueueState {
        QueueState { quota, granted: 0, weight: 1 }
    }

    fn granted(grants: &[Grant]) -> Vec<(usize, Cpus)> {
        grants.iter().map(|g| (g.waiting, g.cpus)).collect()
    }

    #[test]
    fn higher_priority_starts_first_then_the_older() {
        let jobs = [
            Waiting { since: at(5), ..job(0, 1, 1) },
            Waiting { since: at(4), ..job(0, 1, 1) },
            Waiting { priority: 7, since: at(9), ..job(0, 1, 1) },
        ];
        let grants = admit(&[queue(None)], &jobs, Capacity(Some(2)), at(10));
        assert_eq!(granted(&grants), [(2, 1), (1, 1)]);
    }

    #[test]
    fn a_large_job_that_waits_blocks_no_smaller_one_that_fits() {
        let jobs = [job(0, 4, 4), Waiting { since: at(1), ..job(0, 1, 1) }];
        let grants = admit(&[queue(None)], &jobs, Capacity(Some(2)), at(10));
        assert_eq!(granted(&grants), [(1, 1)]);
    }

    #[test]
    fn a_large_job_that_waited_long_is_not_starved() {
        let jobs = [job(0, 4, 4), Waiting { since: at(1), ..job(0, 1, 1) }];
        let grants = admit(&[queue(None)], &jobs, Capacity(Some(2)), at(RESERVE_AFTER_SECONDS));
        assert_eq!(granted(&grants), []);
    }

    #[test]
    fn a_moldable_job_takes_what_is_free() {
        let grants = admit(&[queue(Some(3))], &[job(0, 1, 8)], Capacity(None), at(0));
        assert_eq!(granted(&grants), [(0, 3)]);
    }

    #[test]
    fn a_queue_of_twice_the_weight_gets_twice_the_cpus() {
        let queues = [queue(None), QueueState { weight: 2, ..queue(None) }];
        let jobs: Vec<_> = (0..60).map(|i| job(i % 2, 1, 1)).collect();
        let grants = admit(&queues, &jobs, Capacity(Some(30)), at(0));
        let second = grants.iter().filter(|g| jobs[g.waiting].queue == 1).count();
        assert_eq!((grants.len(), second), (30, 20));
    }

    prop_compose! {
        fn any_job(queues: usize)(
            queue in 0..queues, priority in -2..3, since in 0_i64..200, min in 1_u32..6, more in 0_u32..6,
        ) -> Waiting {
            Waiting { queue, priority, since: at(since), min, max: min + more }
        }
    }

    proptest! {
        #[test]
        fn grants_exceed_neither_capacity_nor_quota(
            quotas in prop::collection::vec((prop::option::of(0_u32..20), 0_u32..10, 1_u32..4), 3),
            jobs in prop::collection::vec(any_job(3), 0..40),
            free in prop::option::of(0_u32..30),
        ) {
            let queues: Vec<_> = quotas.iter()
                .map(|&(quota, granted, weight)| QueueState { quota, granted, weight }).collect();
            let grants = admit(&queues, &jobs, Capacity(free), at(200));
            let sum: Cpus = grants.iter().map(|g| g.cpus).sum();
            prop_assert!(free.is_none_or(|free| sum <= free));
            for (i, queue) in queues.iter().enumerate() {
                let mine: Cpus = grants.iter()
                    .filter(|g| jobs[g.waiting].queue == i).map(|g| g.cpus).sum();
                prop_assert!(mine == 0 || queue.quota.is_none_or(|q| queue.granted + mine <= q));
            }
            for grant in &grants {
                let job = &jobs[grant.waiting];
                prop_assert!((job.min..=job.max).contains(&grant.cpus));
            }
            let mut once: Vec<_> = grants.iter().map(|g| g.waiting).collect();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), grants.len());
        }

        #[test]
        fn while_nobody_is_held_back_no_cpu_idles_that_a_waiting_job_could_use(
            jobs in prop::collection::vec(any_job(1), 0..40), free in 0_u32..30,
        ) {
            let grants = admit(&[queue(None)], &jobs, Capacity(Some(free)), at(0));
            let left = free - grants.iter().map(|g| g.cpus).sum::<Cpus>();
            for (i, job) in jobs.iter().enumerate() {
                let started = grants.iter().any(|g| g.waiting == i);
                prop_assert!(started || job.min > left);
            }
        }
    }
}
