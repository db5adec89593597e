//! What an event costs grows with the logarithm of the number of jobs and of queues, counted, not timed.

use std::cell::Cell;

use super::*;

thread_local! {
    static COMPARISONS: Cell<u64> = const { Cell::new(0) };
}

/// An ID that counts how often it is looked at.
#[derive(Clone, Debug)]
struct Counted(u32);

impl Ord for Counted {
    fn cmp(&self, other: &Self) -> Ordering {
        COMPARISONS.set(COMPARISONS.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Counted {}

fn counted<T>(event: impl FnOnce() -> T) -> (T, u64) {
    let before = COMPARISONS.get();
    let value = event();
    (value, COMPARISONS.get() - before)
}

/// Several queues, sizes and priorities; all of the same age, so that only the ID tells jobs apart.
fn mixed(id: u32) -> Waiting {
    let queue = ["a", "b", "c", "d"][(id % 4) as usize];
    Waiting { priority: (id / 4 % 3) as i32, ..job(queue, 1 << (id / 12 % 4), 8) }
}

/// The most comparisons of any of 1,000 waits, grants with their releases, and leaves among `n` jobs.
fn most_comparisons(n: u32) -> u64 {
    // Neither sorted nor the same at each run of the test: a Weyl sequence, with gaps for others.
    let scattered = |i: u32| i.wrapping_mul(0x9E37_79B1);
    let mut admission = Admission::new(Capacity(Some(64)));
    for i in 0..n {
        admission.wait(Counted(scattered(i)), mixed(i));
    }
    let mut running: Vec<_> = std::iter::from_fn(|| admission.next(at(1000))).collect();
    let mut most = 0;
    for i in n..n + 1000 {
        let id = Counted(scattered(i));
        most = most.max(counted(|| admission.wait(id.clone(), mixed(i))).1);
        let ended = running.swap_remove(i as usize % running.len());
        most = most.max(counted(|| admission.release(&ended.id)).1);
        while let (Some(grant), cost) = counted(|| admission.next(at(1000))) {
            most = most.max(cost);
            running.push(grant);
        }
        let gone = Counted(scattered(i / 2));
        most = most.max(counted(|| admission.leave(&gone)).1);
    }
    assert!(admission.waiting() > n as usize / 2);
    most
}

#[test]
fn a_hundred_times_the_jobs_cost_an_event_only_a_logarithm_more() {
    let (few, many) = (most_comparisons(1_000), most_comparisons(100_000));
    // ln 100,000 / ln 1,000 is 1.67; a node of a B-tree that is fuller makes some difference.
    assert!(many < few * 5 / 2, "{few} comparisons among 1,000 jobs, {many} among 100,000");
    assert!(many < 400, "{many} comparisons");
}

/// The most comparisons of any of 1,000 grants with the release before it, while jobs wait in so many queues.
fn most_comparisons_among(queues: u32) -> u64 {
    let mut admission = Admission::new(Capacity(Some(8)));
    for id in 0..4 * queues {
        admission.wait(Counted(id), job(&format!("queue-{}", id % queues), 1 + id % 3, 4));
    }
    let mut running: Vec<_> = std::iter::from_fn(|| admission.next(at(1000))).collect();
    let mut most = 0;
    for i in 4 * queues..4 * queues + 1000 {
        let ended = running.swap_remove(i as usize % running.len());
        let (started, cost) = counted(|| {
            admission.release(&ended.id);
            std::iter::from_fn(|| admission.next(at(1000))).collect::<Vec<_>>()
        });
        most = most.max(cost / (1 + started.len() as u64));
        running.extend(started);
        admission.wait(Counted(i), job(&format!("queue-{}", i % queues), 1 + i % 3, 4));
    }
    most
}

#[test]
fn a_hundred_times_the_queues_cost_a_grant_only_a_logarithm_more() {
    let (few, many) = (most_comparisons_among(20), most_comparisons_among(2000));
    // ln 2,000 / ln 20 is 2.54.
    assert!(many < few * 4, "{few} comparisons among 20 queues, {many} among 2,000");
}

/// The most comparisons of any of 1,000 looks for attempts to end, each after a release, grants and a wait, where so many
/// queues preempt and nobody may be ended.
fn most_comparisons_to_preempt(queues: u32) -> u64 {
    let mut admission = Admission::new(Capacity(Some(8)));
    let share = Share { preemption: Preemption::Reclaim, ..Share::default() };
    for queue in 0..queues {
        admission.set_queue(&format!("queue-{queue}"), Some(share));
    }
    for id in 0..4 * queues {
        admission.wait(Counted(id), job(&format!("queue-{}", id % queues), 1 + id % 3, 4));
    }
    let started = |admission: &mut Admission<Counted>| -> Vec<_> {
        std::iter::from_fn(|| admission.next(at(10))).collect()
    };
    let mut running = started(&mut admission);
    assert_eq!(admission.preempt(at(10)), None);
    let mut most = 0;
    for i in 4 * queues..4 * queues + 1000 {
        admission.release(&running.swap_remove(i as usize % running.len()).id);
        admission.wait(Counted(i), job(&format!("queue-{}", i % queues), 1 + i % 3, 4));
        running.extend(started(&mut admission));
        let (preempted, cost) = counted(|| admission.preempt(at(10)));
        assert_eq!(preempted, None);
        most = most.max(cost);
    }
    most
}

#[test]
fn a_hundred_times_the_queues_that_preempt_cost_a_look_only_a_logarithm_more() {
    let (few, many) = (most_comparisons_to_preempt(20), most_comparisons_to_preempt(2000));
    assert!(many < 4 * few.max(50), "{few} comparisons among 20 queues, {many} among 2,000");
}
