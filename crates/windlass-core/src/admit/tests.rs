//! One event at a time gives what a look at everything would.

mod cost;
mod model;
mod preemption;
mod preemption_scan;
mod threads;

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn job(queue: &str, min: Cpus, max: Cpus) -> Waiting {
    Waiting { queue: queue.to_owned(), priority: 0, since: at(0), sequence: 0, min, max }
}

/// These jobs wait in this order, each with its index as its ID.
fn line(capacity: Option<Cpus>, jobs: impl IntoIterator<Item = Waiting>) -> Admission<usize> {
    let mut admission = Admission::new(Capacity(capacity));
    for (id, waiting) in jobs.into_iter().enumerate() {
        admission.wait(id, waiting);
    }
    admission
}

fn quota(cpus: Cpus) -> Option<Share> {
    Some(Share { quota: Some(cpus), ..Share::default() })
}

fn grants<Id: Clone + Ord>(admission: &mut Admission<Id>, now: Timestamp) -> Vec<(Id, Cpus)> {
    std::iter::from_fn(|| admission.next(now)).map(|grant| (grant.id, grant.cpus)).collect()
}

/// Nothing is left of the jobs: what a long life would pile up.
fn assert_empty<Id: Clone + Ord>(admission: &Admission<Id>) {
    assert_eq!((admission.used(), admission.waiting(), admission.cpus_waited_for()), (0, 0, 0));
    assert!(admission.jobs.is_empty() && admission.queues.is_empty() && admission.index.is_empty());
    assert!(admission.reservations.is_empty() && admission.preemption.is_empty());
}

/// Takes all these away; nothing is left then.
fn empty(mut admission: Admission<u8>, jobs: u8, queues: &[&str]) {
    for id in 0..jobs {
        admission.leave(&id);
        admission.release(&id);
    }
    queues.iter().for_each(|name| admission.set_queue(name, None));
    assert_empty(&admission);
}

#[test]
fn higher_priority_starts_first_then_the_older() {
    let mut admission = line(
        Some(2),
        [
            Waiting { since: at(5), ..job("a", 1, 1) },
            Waiting { since: at(4), ..job("a", 1, 1) },
            Waiting { priority: 7, since: at(9), ..job("a", 1, 1) },
        ],
    );
    assert_eq!(grants(&mut admission, at(10)), [(2, 1), (1, 1)]);
}

#[test]
fn of_one_moment_the_lower_number_starts_first() {
    let numbered = |sequence| Waiting { sequence, ..job("a", 1, 1) };
    let mut admission = line(Some(3), [numbered(8), numbered(9), numbered(7)]);
    assert_eq!(admission.line("a"), [&2, &0, &1]);
    assert_eq!(grants(&mut admission, at(10)), [(2, 1), (0, 1), (1, 1)]);
}

#[test]
fn a_queue_that_nobody_has_described_grants_nothing_unless_it_is_open() {
    let mut admission = Admission::with_open(Capacity(Some(8)), |name| name == "open");
    admission.wait(0, job("open", 1, 1));
    admission.wait(1, job("closed", 1, 1));
    admission.occupy(2, "closed", 2);
    let later = at(2 * RESERVE_AFTER_SECONDS);
    assert_eq!(grants(&mut admission, later), [(0, 1)], "and an old one holds back nobody");
    admission.set_queue("closed", quota(3));
    assert_eq!(grants(&mut admission, later), [(1, 1)]);
    admission.wait(3, job("closed", 1, 1));
    admission.release(&1);
    admission.set_queue("closed", None);
    assert_eq!(grants(&mut admission, later), [], "it was deleted");
    assert_eq!((admission.used_in("closed"), admission.waiting_in("closed")), (2, 1));
    admission.leave(&3);
    for id in [0, 2] {
        assert!(admission.release(&id).is_some());
    }
    assert_empty(&admission);
}

#[test]
fn the_line_of_a_queue_is_in_the_order_of_priority_and_age() {
    let admission = line(
        Some(0),
        [
            Waiting { since: at(5), ..job("a", 3, 3) },
            Waiting { since: at(4), ..job("a", 1, 1) },
            Waiting { since: at(1), ..job("b", 1, 1) },
            Waiting { priority: 7, since: at(9), ..job("a", 2, 2) },
            Waiting { since: at(6), ..job("a", 1, 1) },
        ],
    );
    assert_eq!(admission.line("a"), [&3, &1, &0, &4]);
    assert_eq!(admission.line("nobody's"), Vec::<&usize>::new());
}

#[test]
fn a_large_job_that_waits_blocks_no_smaller_one_that_fits() {
    let mut admission = line(Some(2), [job("a", 4, 4), Waiting { since: at(1), ..job("a", 1, 1) }]);
    assert_eq!(grants(&mut admission, at(10)), [(1, 1)]);
}

#[test]
fn a_large_job_that_waited_long_is_not_starved() {
    let small = Waiting { since: at(1), ..job("a", 1, 1) };
    let mut admission = line(Some(4), [job("a", 4, 4), small.clone(), small]);
    admission.occupy(9, "b", 2);
    assert_eq!(grants(&mut admission, at(RESERVE_AFTER_SECONDS - 1)), [(1, 1), (2, 1)]);
    admission.wait(3, Waiting { since: at(2), ..job("b", 1, 1) });
    assert_eq!(admission.release(&1), Some(1));
    assert_eq!(grants(&mut admission, at(RESERVE_AFTER_SECONDS)), []);
    assert_eq!((admission.release(&2), admission.release(&9)), (Some(1), Some(2)));
    assert_eq!(grants(&mut admission, at(RESERVE_AFTER_SECONDS)), [(0, 4)]);
    assert_eq!(admission.release(&0), Some(4));
    assert_eq!(grants(&mut admission, at(RESERVE_AFTER_SECONDS)), [(3, 1)]);
}

#[test]
fn a_job_that_its_quota_has_no_room_for_holds_back_only_its_queue() {
    let mut admission = line(Some(8), [job("a", 4, 4), job("a", 1, 1), job("b", 1, 1)]);
    admission.set_queue("a", quota(4));
    admission.occupy(9, "a", 1);
    assert_eq!(grants(&mut admission, at(RESERVE_AFTER_SECONDS)), [(2, 1)]);
}

#[test]
fn a_job_that_is_larger_than_its_quota_holds_back_nobody() {
    let mut admission = line(Some(8), [job("a", 4, 4), job("a", 1, 1), job("b", 1, 1)]);
    admission.set_queue("a", quota(3));
    assert_eq!(grants(&mut admission, at(RESERVE_AFTER_SECONDS)), [(1, 1), (2, 1)]);
}

#[test]
fn a_job_that_is_held_back_holds_back_nobody() {
    let mut admission = line(Some(5), [job("a", 4, 4), job("a", 2, 2), job("b", 1, 1)]);
    admission.set_queue("a", quota(4));
    admission.occupy(8, "a", 1);
    admission.occupy(9, "b", 3);
    // The second lacks CPUs of the machine, but it waits behind the first, which lacks the quota.
    assert_eq!(grants(&mut admission, at(RESERVE_AFTER_SECONDS)), [(2, 1)]);
}

#[test]
fn a_job_that_is_larger_than_all_cpus_holds_back_nobody() {
    for quota in [None, quota(9)] {
        let small = Waiting { since: at(1), ..job("b", 1, 1) };
        let mut admission = line(Some(4), [job("a", 5, 5), job("a", 1, 1), small]);
        admission.set_queue("a", quota);
        let later = at(2 * RESERVE_AFTER_SECONDS);
        assert_eq!(grants(&mut admission, later), [(1, 1), (2, 1)], "{quota:?}");
        admission.set_capacity(Capacity(Some(8)));
        assert_eq!(grants(&mut admission, later), [(0, 5)], "there are enough now");
    }
}

#[test]
fn a_moldable_job_takes_what_is_free() {
    let mut admission = line(None, [job("a", 1, 8)]);
    admission.set_queue("a", quota(3));
    assert_eq!(grants(&mut admission, at(0)), [(0, 3)]);
}

#[test]
fn a_queue_of_twice_the_weight_gets_twice_the_cpus() {
    let names = ["a", "b"];
    let mut admission = line(Some(30), (0..60).map(|i| job(names[i % 2], 1, 1)));
    admission.set_queue("b", Some(Share { weight: 2, ..Share::default() }));
    let granted = grants(&mut admission, at(0));
    let second = granted.iter().filter(|(id, _)| id % 2 == 1).count();
    assert_eq!((granted.len(), second), (30, 20));
}

#[test]
fn a_queue_that_holds_less_than_its_guarantee_comes_first_and_lends_what_it_does_not_use() {
    let guaranteed = |guaranteed| Some(Share { guaranteed, ..Share::default() });
    let mut admission = line(Some(4), (0..6).map(|_| job("borrower", 1, 1)));
    admission.set_queue("owner", guaranteed(2));
    assert_eq!(grants(&mut admission, at(0)).len(), 4, "what the owner leaves idle is lent");
    for id in 10..14 {
        admission.wait(id, Waiting { since: at(9), priority: -1, ..job("owner", 1, 1) });
    }
    assert_eq!((admission.release(&0), admission.release(&1)), (Some(1), Some(1)));
    assert_eq!(grants(&mut admission, at(9)), [(10, 1), (11, 1)], "whatever its priority");
    admission.release(&2);
    assert_eq!(grants(&mut admission, at(9)), [(4, 1)], "beyond its guarantee it is one of two");
    // A large old job of the owner holds back the borrower's urgent one.
    admission.wait(20, job("owner", 3, 3));
    admission.wait(21, Waiting { priority: 9, ..job("borrower", 1, 1) });
    for id in 10..14 {
        admission.leave(&id);
        admission.release(&id);
    }
    assert_eq!(grants(&mut admission, at(RESERVE_AFTER_SECONDS)), []);
}

#[test]
fn shares_that_differ_by_little_are_told_apart() {
    let mut admission = Admission::new(Capacity(None));
    for (id, (queue, weight)) in
        [("a", 4_000_000_000), ("b", 4_000_000_001)].into_iter().enumerate()
    {
        admission.set_queue(queue, Some(Share { weight, ..Share::default() }));
        admission.occupy(id, queue, 1);
        admission.wait(id + 2, job(queue, 1, 1));
    }
    assert_eq!(grants(&mut admission, at(0)), [(3, 1), (2, 1)]);
}

#[test]
fn a_capacity_below_what_is_in_use_grants_nothing_until_enough_is_released() {
    let mut admission = line(Some(4), (0..3).map(|_| job("a", 2, 2)));
    assert_eq!(grants(&mut admission, at(0)), [(0, 2), (1, 2)]);
    admission.set_capacity(Capacity(Some(2)));
    assert_eq!(admission.release(&0), Some(2));
    assert_eq!(grants(&mut admission, at(0)), []);
    assert_eq!(admission.release(&1), Some(2));
    assert_eq!(grants(&mut admission, at(0)), [(2, 2)]);
}

#[test]
fn a_job_that_waits_again_has_only_its_new_place() {
    let mut admission = line(Some(8), [job("a", 4, 4)]);
    admission.wait(0, job("b", 2, 2));
    assert_eq!((admission.waiting_in("a"), admission.waiting_in("b")), (0, 1));
    assert_eq!((admission.waiting(), admission.cpus_waited_for()), (1, 2));
    assert_eq!(grants(&mut admission, at(0)), [(0, 2)]);
    admission.wait(0, job("a", 1, 1));
    assert_eq!((admission.waiting(), admission.granted(&0)), (0, Some(2)));
    assert!(!admission.leave(&0));
}

#[test]
fn numbers_that_make_no_sense_are_taken_for_the_nearest_that_do() {
    let mut admission = line(Some(8), [job("a", 0, 0), job("b", 3, 1)]);
    admission.set_queue("a", Some(Share { weight: 0, ..Share::default() }));
    assert_eq!(grants(&mut admission, at(0)), [(0, 1), (1, 3)]);
}

#[test]
fn the_largest_numbers_are_no_trouble() {
    let mut admission = Admission::new(Capacity(Some(Cpus::MAX)));
    admission.set_queue(
        "a",
        Some(Share {
            quota: Some(Cpus::MAX),
            weight: u32::MAX,
            guaranteed: Cpus::MAX,
            ..Share::default()
        }),
    );
    for id in 0..3 {
        admission.occupy(id, "a", Cpus::MAX);
    }
    let far =
        Waiting { priority: i32::MIN, since: Timestamp::MAX, ..job("a", Cpus::MAX, Cpus::MAX) };
    admission.wait(3, far);
    assert_eq!((admission.used(), admission.next(Timestamp::MIN)), (Cpus::MAX, None));
    for id in 0..3 {
        assert_eq!(admission.release(&id), Some(Cpus::MAX));
    }
    assert_eq!(admission.next(Timestamp::MIN), Some(Grant { id: 3, cpus: Cpus::MAX }));
}

#[test]
fn queues_of_the_past_are_forgotten() {
    let mut admission = Admission::new(Capacity(Some(1)));
    for id in 0..1000 {
        let name = format!("queue-{id}");
        admission.set_queue(&name, quota(1));
        admission.wait(id, job(&name, 1, 1));
        assert!(admission.next(at(0)).is_some());
        admission.set_queue(&name, None);
        assert_eq!(admission.release(&id), Some(1));
    }
    assert_empty(&admission);
}
