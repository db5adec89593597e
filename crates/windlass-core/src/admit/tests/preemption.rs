//! Attempts are ended for others only where a queue says so, no more than are needed, and never in turn.

use proptest::prelude::*;

use super::preemption_scan::Asker;
use super::*;

const QUEUES: [&str; 3] = ["a", "b", "c"];
const JOBS: u8 = 16;

fn share(preemption: Preemption, guaranteed: Cpus, quota: Cpus) -> Option<Share> {
    Some(Share { quota: Some(quota), guaranteed, preemption, ..Share::default() })
}

fn of_priority(queue: &str, priority: i32, cpus: Cpus) -> Waiting {
    Waiting { priority, ..job(queue, cpus, cpus) }
}

/// These jobs run, each since the second of its index.
fn running(
    capacity: Cpus,
    shares: &[(&str, Option<Share>)],
    jobs: impl IntoIterator<Item = Waiting>,
) -> Admission<usize> {
    let mut admission = Admission::new(Capacity(Some(capacity)));
    for (queue, share) in shares {
        admission.set_queue(queue, *share);
    }
    for (id, waiting) in jobs.into_iter().enumerate() {
        admission.wait(id, waiting);
        assert_eq!(grants(&mut admission, at(id as i64)).len(), 1, "job {id} fits");
    }
    admission
}

fn preempted(admission: &mut Admission<usize>) -> Option<(usize, Vec<usize>)> {
    assert_eq!(grants(admission, at(50)), []);
    admission.preempt(at(50)).map(|preempted| (preempted.by, preempted.victims))
}

#[test]
fn the_youngest_of_the_lowest_priority_ends_and_its_cpus_are_for_the_one_that_waits() {
    let lower = share(Preemption::LowerPriority, 0, 4);
    let jobs = [of_priority("a", 1, 1), of_priority("a", 0, 1), of_priority("a", 0, 1)];
    let mut admission = running(4, &[("a", lower)], jobs);
    admission.occupy(3, "b", 1);
    admission.wait(4, of_priority("a", 5, 1));
    assert_eq!(preempted(&mut admission), Some((4, vec![2])));
    assert_eq!(admission.preempted_by(&2), Some(&4));
    assert_eq!(preempted(&mut admission), None, "one is enough");
    admission.wait(5, of_priority("b", 9, 1));
    admission.release(&2);
    assert_eq!(grants(&mut admission, at(51)), [(4, 1)], "nobody slips in");
    assert_eq!(admission.used(), 4);
}

#[test]
fn nobody_is_ended_without_need_or_without_use() {
    let all = [(Preemption::None, None), (Preemption::LowerPriority, Some((9, vec![1])))];
    for (preemption, expected) in all {
        let jobs = [of_priority("a", 5, 2), of_priority("a", 0, 2)];
        let mut admission = running(4, &[("a", share(preemption, 0, 4))], jobs);
        admission.wait(7, of_priority("a", 0, 1));
        assert_eq!(preempted(&mut admission), None, "the same priority");
        admission.wait(8, of_priority("a", 5, 3));
        assert_eq!(preempted(&mut admission), None, "it would not fit all the same");
        admission.wait(9, of_priority("a", 4, 2));
        assert_eq!(preempted(&mut admission), expected);
    }
    let lower = share(Preemption::LowerPriority, 0, 4);
    let mut admission = running(4, &[("a", lower)], [of_priority("a", 0, 3)]);
    admission.wait(5, Waiting { max: 4, ..of_priority("a", 9, 1) });
    assert_eq!(grants(&mut admission, at(9)), [(5, 1)], "it starts small");
    assert_eq!(preempted(&mut admission), None);
    // A large one makes the small ones before it needless.
    let jobs = [of_priority("a", 1, 3), of_priority("a", 0, 1)];
    let mut admission = running(4, &[("a", lower)], jobs);
    admission.wait(5, of_priority("a", 9, 3));
    assert_eq!(preempted(&mut admission), Some((5, vec![0])));
}

#[test]
fn a_guarantee_is_taken_back_and_no_other_is_touched() {
    let shares = [
        ("a", share(Preemption::Reclaim, 3, 9)),
        ("b", share(Preemption::None, 2, 9)),
        ("c", share(Preemption::LowerPriority, 0, 9)),
    ];
    let jobs = [of_priority("b", 0, 2), of_priority("b", 5, 1), of_priority("c", 7, 3)];
    let mut admission = running(6, &shares, jobs);
    admission.wait(7, of_priority("c", 9, 4));
    admission.wait(8, of_priority("a", 0, 4));
    assert_eq!(preempted(&mut admission), None, "more than is guaranteed, and no more than lent");
    admission.wait(9, of_priority("a", 0, 1));
    assert_eq!(preempted(&mut admission), Some((9, vec![1])), "not the one in the guarantee of b");
    admission.wait(10, of_priority("a", 0, 2));
    assert_eq!(preempted(&mut admission), Some((10, vec![2])));
    assert_eq!((admission.release(&2), admission.reserved_in("a")), (Some(3), 2));
    assert_eq!((admission.reserved(), admission.used_in("a"), admission.used()), (2, 2, 5));
    assert_eq!((admission.held_in("a"), admission.held()), (0, 3));
    assert_eq!(grants(&mut admission, at(60)), [(9, 1), (10, 2)], "one with what is free");
    assert_eq!(admission.release(&1), Some(1));
    assert_eq!((admission.reserved(), admission.reserved_in("a")), (0, 0));
    assert_eq!(preempted(&mut admission), None);
}

#[test]
fn more_guaranteed_than_there_is_ends_nobody() {
    let shares = [
        ("a", share(Preemption::Reclaim, 1_000_000, 1_000_000)),
        ("b", share(Preemption::None, 0, 9)),
    ];
    let mut admission = running(4, &shares, [of_priority("b", 0, 4)]);
    admission.wait(9, of_priority("a", 9, 2));
    assert_eq!(preempted(&mut admission), None);
    admission.set_queue("a", share(Preemption::Reclaim, 2, 9));
    assert_eq!(preempted(&mut admission), Some((9, vec![0])));
}

#[test]
fn a_job_for_which_others_end_outlives_its_queue() {
    let lower = share(Preemption::LowerPriority, 0, 4);
    let mut admission = Admission::with_open(Capacity(Some(9)), |_| false);
    admission.set_queue("a", lower);
    admission.wait(0, of_priority("a", 0, 4));
    assert_eq!(grants(&mut admission, at(0)), [(0, 4)]);
    admission.wait(5, of_priority("a", 9, 2));
    assert_eq!(preempted(&mut admission), Some((5, vec![0])));
    assert_eq!((admission.waiting(), admission.waiting_in("a")), (1, 1), "it waits still");
    admission.set_queue("a", None);
    admission.release(&0);
    assert_eq!(grants(&mut admission, at(60)), [], "its queue is not there");
    assert_eq!((admission.waiting(), admission.used()), (1, 0));
    admission.set_queue("a", lower);
    assert_eq!(grants(&mut admission, at(61)), [(5, 2)]);
    admission.release(&5);
    admission.set_queue("a", None);
    assert_empty(&admission);
}

#[test]
fn what_is_out_of_reach_is_ended_for_nobody_and_another_is_in_its_place() {
    let lower = share(Preemption::LowerPriority, 0, 4);
    let jobs = [of_priority("a", 0, 2), of_priority("a", 0, 2)];
    let mut admission = running(4, &[("a", lower)], jobs);
    admission.wait(5, of_priority("a", 9, 2));
    assert_eq!(preempted(&mut admission), Some((5, vec![1])));
    assert!(admission.set_out_of_reach(&1));
    assert!(!admission.set_out_of_reach(&1), "it is known");
    assert_eq!(preempted(&mut admission), Some((5, vec![0])));
    admission.release(&0);
    assert_eq!(grants(&mut admission, at(60)), [(5, 2)]);
    // Its node is back.
    admission.set_standing(&1, Standing { priority: 0, since: at(0) });
    admission.wait(6, of_priority("a", 9, 2));
    assert_eq!(preempted(&mut admission), Some((6, vec![1])));
}

#[test]
fn what_was_ended_for_a_job_that_is_gone_makes_room_before_another_is_ended() {
    let lower = share(Preemption::LowerPriority, 0, 4);
    let jobs = [of_priority("a", 0, 2), of_priority("a", 0, 2)];
    let mut admission = running(4, &[("a", lower)], jobs);
    admission.wait(5, of_priority("a", 9, 2));
    assert_eq!(preempted(&mut admission), Some((5, vec![1])));
    assert!(admission.leave(&5));
    admission.wait(6, of_priority("a", 9, 2));
    assert_eq!(preempted(&mut admission), None);
    admission.release(&1);
    assert_eq!(grants(&mut admission, at(60)), [(6, 2)]);
    // The same of one of which another process has said so.
    admission.set_ending(&0);
    admission.wait(7, of_priority("a", 9, 2));
    assert_eq!(preempted(&mut admission), None);
    for id in [0, 6] {
        admission.release(&id);
    }
    admission.leave(&7);
    admission.set_queue("a", None);
    assert_empty(&admission);
}

#[test]
fn a_job_for_which_others_end_starts_sooner_where_cpus_are_free_and_later_where_they_are_not() {
    let lower = |quota| share(Preemption::LowerPriority, 0, quota);
    let jobs = [of_priority("a", 0, 2), of_priority("b", 0, 2)];
    let mut admission = running(4, &[("a", lower(4))], jobs);
    admission.wait(5, of_priority("a", 9, 2));
    assert_eq!(preempted(&mut admission), Some((5, vec![0])));
    admission.wait(5, Waiting { priority: 8, ..of_priority("a", 9, 2) });
    assert_eq!(admission.preempted_by(&0), Some(&5), "it waits again, and for as many");
    admission.release(&1);
    assert_eq!(grants(&mut admission, at(60)), [(5, 2)]);
    admission.release(&0);
    assert_eq!(admission.used(), 2);
    admission.wait(6, of_priority("a", 9, 4));
    admission.set_standing(&5, Standing { priority: 1, since: at(0) });
    assert_eq!(preempted(&mut admission), Some((6, vec![5])));
    admission.set_queue("a", lower(0));
    admission.release(&5);
    assert_eq!((grants(&mut admission, at(61)), admission.waiting()), (vec![], 1));
    admission.set_queue("a", lower(4));
    assert_eq!(grants(&mut admission, at(62)), [(6, 4)]);
}

#[test]
fn what_occupies_cpus_is_ended_only_once_its_priority_is_known() {
    let mut admission = running(2, &[("a", share(Preemption::LowerPriority, 0, 2))], []);
    admission.occupy(0, "a", 2);
    admission.wait(1, of_priority("a", 1, 2));
    assert_eq!(preempted(&mut admission), None);
    admission.set_standing(&0, Standing { priority: 0, since: at(0) });
    assert_eq!(preempted(&mut admission), Some((1, vec![0])));
    admission.occupy(0, "a", 2);
    assert_eq!(admission.preempted_by(&0), Some(&1), "it is seen again");
    admission.release(&0);
    assert_eq!(grants(&mut admission, at(60)), [(1, 2)]);
}

#[derive(Clone, Debug)]
enum Event {
    Wait(u8, Waiting),
    Leave(u8),
    End(usize),
    Pass(i64),
}

fn event() -> impl Strategy<Value = Event> {
    let waiting = (prop::sample::select(&QUEUES[..]), 0_i32..4, 1_u32..5, 0_u32..4).prop_map(
        |(queue, priority, min, more)| Waiting { priority, ..job(queue, min, min + more) },
    );
    prop_oneof![
        6 => (0..JOBS, waiting).prop_map(|(id, waiting)| Event::Wait(id, waiting)),
        1 => (0..JOBS).prop_map(Event::Leave),
        3 => any::<usize>().prop_map(Event::End),
        1 => (0_i64..40).prop_map(Event::Pass),
    ]
}

fn shares() -> impl Strategy<Value = Vec<Share>> {
    const KINDS: [Preemption; 3] =
        [Preemption::None, Preemption::LowerPriority, Preemption::Reclaim];
    let share = (2_u32..12, 0_u32..5, prop::sample::select(&KINDS[..]));
    let share = share.prop_map(|(quota, guaranteed, preemption)| {
        let guaranteed = guaranteed.min(quota);
        Share { quota: Some(quota), guaranteed, preemption, ..Share::default() }
    });
    prop::collection::vec(share, QUEUES.len())
}

/// What a caller knows.
struct World {
    admission: Admission<u8>,
    asker: Asker,
    capacity: Cpus,
    shares: Vec<Share>,
    jobs: BTreeMap<u8, Waiting>,
    running: BTreeMap<u8, Cpus>,
    /// What is ending, and for whom, unless that job has left or started by now.
    ending: BTreeMap<u8, Option<u8>>,
    now: Timestamp,
}

impl World {
    fn share(&self, queue: &str) -> Share {
        self.shares[QUEUES.iter().position(|name| *name == queue).unwrap()]
    }

    fn held(&self, queue: &str, is_counted: impl Fn(&u8) -> bool) -> Cpus {
        let held = self.running.iter().filter(|(id, _)| is_counted(id));
        held.filter(|(id, _)| self.jobs[id].queue == queue).map(|(_, cpus)| cpus).sum()
    }

    /// Grants and ends what there is to grant and to end. How often attempts were ended.
    fn turn(&mut self) -> usize {
        let mut preemptions = 0;
        loop {
            while let Some(Grant { id, cpus }) = self.admission.next(self.now) {
                assert!(cpus >= self.jobs[&id].min && cpus <= self.jobs[&id].max);
                self.start(id, cpus);
                self.assert_within();
            }
            let preempted = self.asker.ask(&mut self.admission, self.now);
            let Some(preempted) = preempted else { return preemptions };
            self.check(&preempted);
            self.ending.extend(preempted.victims.iter().map(|id| (*id, Some(preempted.by))));
            preemptions += 1;
        }
    }

    fn assert_within(&self) {
        assert!(self.running.values().sum::<Cpus>() <= self.capacity);
        assert!(self.admission.used() <= self.capacity);
        for queue in QUEUES {
            assert!(self.admission.used_in(queue) <= self.share(queue).quota.unwrap());
        }
    }

    /// Every victim may be ended, and is needed.
    fn check(&self, Preempted { by, victims }: &Preempted<u8>) {
        let job = &self.jobs[by];
        let share = self.share(&job.queue);
        assert!(!self.running.contains_key(by) && !victims.is_empty());
        for victim in victims {
            let Waiting { queue, priority, .. } = &self.jobs[victim];
            assert!(!self.ending.contains_key(victim), "it is ending already");
            let is_lower = share.preemption != Preemption::None && *priority < job.priority;
            if *queue != job.queue {
                assert_eq!(share.preemption, Preemption::Reclaim);
                let ends = |id: &u8| self.ending.contains_key(id) || victims.contains(id);
                // What is kept for a job of that queue is the queue's, too.
                let stays = self.admission.used_in(queue) - self.held(queue, ends);
                assert!(stays >= self.share(queue).guaranteed);
                assert!(self.held(&job.queue, |_| true) + job.min <= share.guaranteed);
            } else {
                assert!(is_lower);
            }
        }
        // With its victims gone it fits, and with any of them it does not.
        let fits = |gone: &dyn Fn(&u8) -> bool| {
            let all: Cpus = QUEUES.iter().map(|queue| self.held(queue, |id| !gone(id))).sum();
            let of_queue = self.held(&job.queue, |id| !gone(id));
            all + job.min <= self.capacity && of_queue + job.min <= share.quota.unwrap()
        };
        assert!(fits(&|id| victims.contains(id)));
        for spared in victims {
            // Unless an old job holds what is free.
            let is_needed = !fits(&|id| victims.contains(id) && id != spared);
            let is_old = |waiting: &Waiting| {
                self.now.duration_since(waiting.since).as_secs() >= RESERVE_AFTER_SECONDS
            };
            let old =
                self.jobs.iter().any(|(id, job)| !self.running.contains_key(id) && is_old(job));
            // What is kept for others is not free either.
            assert!(is_needed || old || !self.ending.is_empty(), "{spared} is ended without need");
        }
    }

    /// An attempt is over. One that was ended for another waits again, at its old place.
    fn end(&mut self, id: u8) {
        let by = self.ending.remove(&id);
        assert_eq!(self.admission.release(&id), self.running.remove(&id));
        match by {
            None => drop(self.jobs.remove(&id)),
            Some(_) => self.admission.wait(id, self.jobs[&id].clone()),
        }
        let by = by.flatten().filter(|by| !self.ending.values().any(|other| *other == Some(*by)));
        if let Some(by) = by {
            let next = self.admission.next(self.now).expect("it has its CPUs");
            let others: BTreeSet<u8> = self.ending.values().copied().flatten().collect();
            assert!(next.id == by || others.contains(&next.id), "{next:?} slipped in before {by}");
            self.start(next.id, next.cpus);
        }
    }

    fn start(&mut self, id: u8, cpus: Cpus) {
        assert!(self.running.insert(id, cpus).is_none());
        self.forget(id);
    }

    /// Nobody is ended for this job any more.
    fn forget(&mut self, id: u8) {
        self.ending.values_mut().filter(|by| **by == Some(id)).for_each(|by| *by = None);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Wait(id, waiting) => {
                if !self.running.contains_key(&id) {
                    let waiting = Waiting { since: self.now, ..waiting };
                    // Whoever waits otherwise has left before.
                    self.leave(id);
                    self.admission.wait(id, waiting.clone());
                    self.jobs.insert(id, waiting);
                }
            }
            Event::Leave(id) => self.leave(id),
            Event::End(which) => {
                let which = self.running.keys().copied().nth(which % self.running.len().max(1));
                which.into_iter().for_each(|id| self.end(id));
            }
            Event::Pass(seconds) => self.now = at(self.now.as_second() + seconds),
        }
    }

    fn leave(&mut self, id: u8) {
        if !self.running.contains_key(&id) && self.admission.leave(&id) {
            self.jobs.remove(&id);
            self.forget(id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_history_ends_nobody_in_vain_and_comes_to_rest(
        capacity in 2_u32..14, mut shares in shares(), events in prop::collection::vec(event(), 0..60),
    ) {
        // What is guaranteed can be given.
        let mut left = capacity;
        for share in &mut shares {
            share.guaranteed = share.guaranteed.min(left);
            left -= share.guaranteed;
        }
        let mut admission = Admission::new(Capacity(Some(capacity)));
        for (name, share) in QUEUES.iter().zip(&shares) {
            admission.set_queue(name, Some(*share));
        }
        let (jobs, running, ending) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let asker = Asker::default();
        let mut world =
            World { admission, asker, capacity, shares, jobs, running, ending, now: at(0) };
        for event in events {
            world.take(event);
            world.turn();
            world.assert_within();
        }
        // Nothing comes and nothing ends by itself: soon nobody is ended any more.
        let mut preemptions = 0;
        while let Some(id) = world.ending.keys().next().copied() {
            world.end(id);
            preemptions += world.turn();
            world.assert_within();
            prop_assert!(preemptions <= 2 * usize::from(JOBS), "it does not come to rest");
        }
        // Everything can end: nothing is kept for ever.
        while let Some(id) = world.running.keys().next().copied() {
            world.end(id);
            world.turn();
        }
        prop_assert_eq!(world.admission.used(), 0);
    }
}
