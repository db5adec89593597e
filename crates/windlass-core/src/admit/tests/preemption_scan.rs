//! What a pass over all queues that preempt, all their sizes and all that runs says about whom to end.

use proptest::prelude::*;

use super::preempt::fewest;
use super::*;

const QUEUES: [&str; 4] = ["a", "b", "ns/c", "ns/d"];
const JOBS: u8 = 20;

/// A job, its attempts to end, and what is kept for it: now, from its victims, and at most.
pub(super) type Decision = (u8, BTreeSet<u8>, [Cpus; 3]);

/// Nothing here comes from a sum or a set that is kept up to date, but for what is free and who is held back.
pub(super) struct Scan {
    admission: Admission<u8>,
    room: Room,
    may_reclaim: bool,
    now: Timestamp,
}

impl Scan {
    pub(super) fn new(admission: &Admission<u8>, now: Timestamp) -> Self {
        let mut admission = admission.clone();
        let room = admission.room();
        admission.index.update(&mut admission.queues, room.in_all, now);
        let shares = admission.queues.values().filter_map(|queue| queue.share);
        let guaranteed: u64 = shares.map(|share| u64::from(share.guaranteed)).sum();
        Self { may_reclaim: guaranteed <= u64::from(room.in_all), admission, room, now }
    }

    pub(super) fn decide(&self) -> Option<Decision> {
        let queues = self.admission.queues.iter();
        let preempts = |queue: &QueueLine<u8>| {
            queue.waiting > 0 && queue.share.is_some_and(|share| !share.preemption.is_none())
        };
        let mut queues: Vec<_> = queues.filter(|(_, queue)| preempts(queue)).collect();
        queues.sort_by_key(|(_, queue)| queue.firsts().swap_remove(0).1);
        queues.into_iter().find_map(|(name, queue)| self.first_of(name, queue))
    }

    fn first_of(&self, name: &str, queue: &QueueLine<u8>) -> Option<Decision> {
        let most = queue.quota().unwrap_or(Cpus::MAX).min(self.room.in_all);
        for (_, head) in queue.firsts().into_iter().filter(|(min, _)| *min <= most) {
            let JobState::Waiting(place) = self.admission.jobs[&head.id].state else { panic!() };
            let is_held_back = self.admission.index.is_held_back(&head, self.room);
            let free = if is_held_back { 0 } else { self.room.free };
            if let Some(decision) = self.decision(name, head.id, place, free) {
                return Some(decision);
            }
            if self.now.duration_since(place.age.0).as_secs() >= RESERVE_AFTER_SECONDS {
                return None;
            }
        }
        None
    }

    fn decision(&self, name: &str, id: u8, place: QueueEntry, free: Cpus) -> Option<Decision> {
        let QueueEntry { priority, min, max, .. } = place;
        let queue = &self.admission.queues[name];
        let left = queue.left();
        let lacks = min.saturating_sub(left.min(free));
        let fits_quota = min <= left;
        let share = queue.share.unwrap();
        let after = queue.granted + queue.coming + u64::from(min);
        let reclaims = self.may_reclaim
            && share.preemption == Preemption::Reclaim
            && fits_quota
            && after <= u64::from(share.guaranteed);
        let victims = &self.admission.reservations.victims;
        let mut for_nobody = victims.iter().filter(|(_, by)| by.is_none());
        if lacks == 0
            || for_nobody.any(|(id, _)| reclaims || *self.admission.jobs[id].queue == *name)
        {
            return None;
        }
        let mut victims = if reclaims { self.above_guarantees(name) } else { Vec::new() };
        let own = self.running().into_iter().filter(|(queue, ..)| *queue == name);
        let lower = own.filter(|(_, theirs, ..)| *theirs < priority);
        victims.extend(lower.map(|(.., id, cpus)| (id, cpus)));
        if victims.iter().map(|(_, cpus)| cpus).sum::<Cpus>() < lacks {
            return None;
        }
        let victims = fewest(victims, lacks);
        let freed: Cpus = victims.iter().map(|(_, cpus)| cpus).sum();
        let kept = min.saturating_sub(freed);
        let most = if fits_quota { max.min(left) } else { max };
        let coming = if fits_quota { freed.min(most - kept) } else { 0 };
        let victims = victims.into_iter().map(|(id, _)| *id).collect();
        Some((id, victims, [kept, coming, most]))
    }

    /// Queue, priority, ID and CPUs of what may be ended at all, the first to be ended in front.
    fn running(&self) -> Vec<(&str, i32, &u8, Cpus)> {
        let mut running = Vec::new();
        for (id, job) in &self.admission.jobs {
            if let JobState::Granted(cpus, Some(standing)) = job.state
                && !self.admission.reservations.victims.contains_key(id)
            {
                running.push((standing, id, &*job.queue, cpus));
            }
        }
        running.sort_by_key(|(standing, id, ..)| (standing.priority, Reverse(standing.since), *id));
        running.into_iter().map(|(it, id, queue, cpus)| (queue, it.priority, id, cpus)).collect()
    }

    /// What queues other than this one hold above what is guaranteed to them.
    fn above_guarantees(&self, name: &str) -> Vec<(&u8, Cpus)> {
        let mut above: BTreeMap<&str, u64> = BTreeMap::new();
        for (other, queue) in self.admission.queues.iter().filter(|(other, _)| ***other != *name) {
            let guaranteed = u64::from(queue.share.unwrap_or_default().guaranteed);
            above.insert(other, queue.granted.saturating_sub(guaranteed));
        }
        for id in self.admission.reservations.victims.keys() {
            let cpus = u64::from(self.admission.granted(id).unwrap_or(0));
            if let Some(above) = above.get_mut(&*self.admission.jobs[id].queue) {
                *above = above.saturating_sub(cpus);
            }
        }
        let mut victims = Vec::new();
        for (queue, _, id, cpus) in self.running() {
            if let Some(above) = above.get_mut(queue).filter(|above| u64::from(cpus) <= **above) {
                *above -= u64::from(cpus);
                victims.push((id, cpus));
            }
        }
        victims
    }
}

/// Asks whom to end, again and again.
#[derive(Default)]
pub(super) struct Asker {
    /// When a look found nobody to end. At that time it is so, until something is marked as changed.
    nobody_at: Option<Timestamp>,
}

impl Asker {
    /// Whom to end: it is what the scan says. Where nothing is marked as changed, nobody is asked: then the scan says
    /// nobody, too, unless time has passed.
    pub(super) fn ask(
        &mut self,
        admission: &mut Admission<u8>,
        now: Timestamp,
    ) -> Option<Preempted<u8>> {
        let looks = admission.reservations.changed || self.nobody_at == Some(now);
        let expected = Scan::new(admission, now).decide().filter(|_| looks);
        let preempted = admission.preempt(now);
        let found = preempted.as_ref().map(|Preempted { by, victims }| {
            let known = &admission.reservations.by_job[by];
            let kept = [known.kept, known.coming, known.most];
            (*by, victims.iter().copied().collect(), kept)
        });
        assert_eq!(found, expected);
        self.nobody_at = (looks && preempted.is_none()).then_some(now);
        preempted
    }
}

#[derive(Clone, Debug)]
enum Event {
    Wait(u8, i64, Waiting),
    Leave(u8),
    Occupy(u8, &'static str, Cpus),
    Standing(u8, i32),
    Ending(u8),
    Spare(u8),
    OutOfReach(u8),
    Release(u8),
    Queue(&'static str, Option<Share>),
    Capacity(Option<Cpus>),
    Pass(i64),
}

fn event() -> impl Strategy<Value = Event> {
    const KINDS: [Preemption; 3] =
        [Preemption::None, Preemption::LowerPriority, Preemption::Reclaim];
    let queue = || prop::sample::select(&QUEUES[..]);
    let id = || 0..JOBS;
    let share = (
        prop::option::weighted(0.7, 0_u32..12),
        1_u32..4,
        0_u32..6,
        prop::sample::select(&KINDS[..]),
    );
    let share = share.prop_map(|(quota, weight, guaranteed, preemption)| Share {
        quota,
        weight,
        guaranteed,
        preemption,
    });
    let waiting =
        (queue(), 0_i32..4, 1_u32..5, 0_u32..4).prop_map(|(queue, priority, min, more)| Waiting {
            priority,
            ..job(queue, min, min + more)
        });
    prop_oneof![
        10 => (id(), 0_i64..90, waiting).prop_map(|(id, age, job)| Event::Wait(id, age, job)),
        1 => id().prop_map(Event::Leave),
        2 => (id(), queue(), 1_u32..6).prop_map(|(id, queue, cpus)| Event::Occupy(id, queue, cpus)),
        2 => (id(), 0_i32..4).prop_map(|(id, priority)| Event::Standing(id, priority)),
        1 => id().prop_map(Event::Ending),
        1 => id().prop_map(Event::Spare),
        1 => id().prop_map(Event::OutOfReach),
        5 => id().prop_map(Event::Release),
        4 => (queue(), prop::option::weighted(0.8, share)).prop_map(|(name, share)| Event::Queue(name, share)),
        1 => prop::option::weighted(0.9, 0_u32..20).prop_map(Event::Capacity),
        1 => (-40_i64..40).prop_map(Event::Pass),
    ]
}

fn take(admission: &mut Admission<u8>, now: &mut Timestamp, event: Event) {
    match event {
        Event::Wait(id, age, waiting) => {
            let since = at(now.as_second() - age);
            admission.wait(id, Waiting { since, ..waiting });
        }
        Event::Leave(id) => drop(admission.leave(&id)),
        Event::Occupy(id, queue, cpus) => admission.occupy(id, queue, cpus),
        Event::Standing(id, priority) => {
            admission.set_standing(&id, Standing { priority, since: *now });
        }
        Event::Ending(id) => admission.set_ending(&id),
        Event::Spare(id) => admission.spare(&id),
        Event::OutOfReach(id) => drop(admission.set_out_of_reach(&id)),
        Event::Release(id) => drop(admission.release(&id)),
        Event::Queue(name, share) => admission.set_queue(name, share),
        Event::Capacity(capacity) => admission.set_capacity(Capacity(capacity)),
        Event::Pass(seconds) => *now = at(now.as_second() + seconds),
    }
}

/// What is kept up to date by queue is what a look at all jobs gives.
fn assert_sums(admission: &Admission<u8>) {
    for (name, queue) in &admission.queues {
        let (mut ending, mut running) = (0, Vec::new());
        for (id, job) in admission.jobs.iter().filter(|(_, job)| job.queue == *name) {
            let JobState::Granted(cpus, standing) = job.state else { continue };
            if admission.reservations.victims.contains_key(id) {
                ending += u64::from(cpus);
            } else if let Some(Standing { priority, since }) = standing {
                running.push((priority, Reverse(since), id, cpus));
            }
        }
        running.sort_unstable();
        let reserved = admission.reservations.by_job.iter();
        let reserved = reserved.filter(|(id, _)| admission.jobs[id].queue == *name);
        let kept: Cpus = reserved.map(|(_, known)| known.kept).sum();
        assert_eq!(admission.reserved_in(name), kept);
        assert_eq!(u64::from(admission.held_in(name) + kept), queue.granted);
        assert_eq!(queue.ending, ending);
        assert_eq!(queue.running.iter().collect::<Vec<_>>(), running);
        let below = running.iter().filter(|(priority, ..)| *priority < 2);
        let below: u64 = below.map(|(.., cpus)| u64::from(*cpus)).sum();
        assert_eq!(queue.running.cpus_below(2), below);
        let reclaimable: u64 = queue.reclaimable().map(|(.., cpus)| u64::from(cpus)).sum();
        assert_eq!(queue.look_at_preemption().reclaimable, reclaimable);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_history_ends_whom_a_look_at_everything_would(
        capacity in 0_u32..20, events in prop::collection::vec(event(), 1..120),
    ) {
        let mut admission = Admission::new(Capacity(Some(capacity)));
        let (mut asker, mut now) = (Asker::default(), at(1000));
        for name in QUEUES {
            let share = Share { guaranteed: 2, preemption: Preemption::Reclaim, ..Share::default() };
            admission.set_queue(name, Some(share));
        }
        for event in events {
            take(&mut admission, &mut now, event);
            grants(&mut admission, now);
            while asker.ask(&mut admission, now).is_some() {
                grants(&mut admission, now);
            }
            assert_sums(&admission);
        }
        empty(admission, JOBS, &QUEUES);
    }
}
