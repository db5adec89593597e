//! Any history gives the grants that a look at all queues and all jobs gives.

use proptest::prelude::*;

use super::*;

const QUEUES: [&str; 4] = ["a", "b", "ns/c", "ns/d"];
const JOBS: u8 = 24;

/// The whole state, and nothing that is computed from it.
#[derive(Clone, Debug)]
struct Model {
    capacity: Option<Cpus>,
    shares: BTreeMap<String, Share>,
    waiting: BTreeMap<u8, Waiting>,
    granted: BTreeMap<u8, (String, Cpus)>,
}

struct QueueState {
    quota: Option<Cpus>,
    granted: Cpus,
    weight: u32,
    guaranteed: Cpus,
}

impl QueueState {
    fn has_its_guarantee(&self) -> bool {
        self.granted >= self.guaranteed
    }
}

impl Model {
    fn used(&self) -> Cpus {
        self.granted.values().map(|(_, cpus)| cpus).sum()
    }

    fn used_in(&self, queue: &str) -> Cpus {
        self.granted.values().filter(|(name, _)| name == queue).map(|(_, cpus)| cpus).sum()
    }

    fn share(&self, queue: &str) -> Share {
        self.shares.get(queue).copied().unwrap_or_default()
    }

    /// Who starts now, all at once: `O(n log n)` from the state alone.
    fn decide(&self, now: Timestamp) -> Vec<(u8, Cpus)> {
        let mut queues: Vec<_> = QUEUES
            .iter()
            .map(|name| {
                let Share { quota, weight, guaranteed, .. } = self.share(name);
                QueueState { quota, granted: self.used_in(name), weight, guaranteed }
            })
            .collect();
        let mut free = self.capacity.map(|capacity| capacity.saturating_sub(self.used()));
        let mut held = vec![false; queues.len()];
        let mut all_held = false;
        // One line a queue, best last, so that taking the best is a pop.
        let mut lines: Vec<Vec<u8>> = vec![Vec::new(); queues.len()];
        for (&id, job) in &self.waiting {
            lines[QUEUES.iter().position(|name| *name == job.queue).unwrap()].push(id);
        }
        for line in &mut lines {
            line.sort_by_key(|id| {
                let job = &self.waiting[id];
                (job.priority, Reverse(job.since), Reverse(*id))
            });
        }

        let mut grants = Vec::new();
        while free != Some(0) {
            let heads = (0..lines.len()).filter_map(|queue| Some((queue, *lines[queue].last()?)));
            let best = heads.min_by(|&(queue, id), &(other_queue, other_id)| {
                let (job, other) = (&self.waiting[&id], &self.waiting[&other_id]);
                let (ours, theirs) = (&queues[queue], &queues[other_queue]);
                let share = u64::from(ours.granted) * u64::from(theirs.weight);
                let other_share = u64::from(theirs.granted) * u64::from(ours.weight);
                let before = (Reverse(job.priority), share, job.since, id);
                let after = (Reverse(other.priority), other_share, other.since, other_id);
                (ours.has_its_guarantee(), before).cmp(&(theirs.has_its_guarantee(), after))
            });
            let Some((queue, id)) = best else { break };
            lines[queue].pop();
            let (state, job) = (&mut queues[queue], &self.waiting[&id]);
            let left = state.quota.map_or(Cpus::MAX, |quota| quota.saturating_sub(state.granted));
            let fits = job.max.min(left).min(free.unwrap_or(Cpus::MAX));
            if held[queue] || all_held {
                continue;
            }
            if fits >= job.min {
                state.granted += fits;
                free = free.map(|cpus| cpus - fits);
                grants.push((id, fits));
            } else if now.duration_since(job.since).as_secs() >= RESERVE_AFTER_SECONDS
                && self.capacity.is_none_or(|capacity| job.min <= capacity)
            {
                // Whatever it lacks is kept for it, unless it can never start: its queue's quota, or the machine.
                if left < job.min {
                    held[queue] = state.quota.is_some_and(|quota| job.min <= quota);
                } else {
                    all_held = true;
                }
            }
        }
        grants
    }

    fn grant(&mut self, id: u8, cpus: Cpus) {
        let job = self.waiting.remove(&id).unwrap();
        self.granted.insert(id, (job.queue, cpus));
    }
}

#[derive(Clone, Debug)]
enum Event {
    Wait {
        id: u8,
        age: i64,
        waiting: Waiting,
    },
    Leave(u8),
    Occupy(u8, &'static str, Cpus),
    Release(u8),
    Queue(&'static str, Option<Share>),
    Capacity(Option<Cpus>),
    /// So many seconds.
    Pass(i64),
    Next,
    Drain,
}

prop_compose! {
    fn wait()(
        id in 0..JOBS, age in 0_i64..90, queue in prop::sample::select(&QUEUES[..]),
        priority in -1_i32..2, min in 1_u32..7, more in 0_u32..6,
    ) -> Event {
        let waiting = Waiting { priority, ..job(queue, min, min + more) };
        Event::Wait { id, age, waiting }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let queue = || prop::sample::select(&QUEUES[..]);
    let guaranteed = prop_oneof![Just(0), 1_u32..8];
    let share = (prop::option::weighted(0.7, 0_u32..12), 1_u32..4, guaranteed).prop_map(
        |(quota, weight, guaranteed)| Share { quota, weight, guaranteed, ..Share::default() },
    );
    prop_oneof![
        8 => wait(),
        2 => (0..JOBS).prop_map(Event::Leave),
        1 => (0..JOBS, queue(), 0_u32..6).prop_map(|(id, queue, cpus)| Event::Occupy(id, queue, cpus)),
        5 => (0..JOBS).prop_map(Event::Release),
        1 => (queue(), prop::option::weighted(0.8, share)).prop_map(|(queue, share)| Event::Queue(queue, share)),
        1 => prop::option::weighted(0.8, 0_u32..20).prop_map(Event::Capacity),
        2 => (0_i64..40).prop_map(Event::Pass),
        // The clock is set back.
        1 => (-90_i64..0).prop_map(Event::Pass),
        4 => Just(Event::Next),
        2 => Just(Event::Drain),
    ]
}

/// The sums, the sets and the model tell the same.
fn assert_agrees(admission: &Admission<u8>, model: &Model) {
    assert_eq!(admission.used(), model.used());
    assert_eq!(admission.waiting(), model.waiting.len());
    let minimums: u64 = model.waiting.values().map(|job| u64::from(job.min)).sum();
    assert_eq!(admission.cpus_waited_for(), minimums);
    assert_eq!(admission.jobs.len(), model.waiting.len() + model.granted.len());
    for id in 0..JOBS {
        let granted = model.granted.get(&id).map(|(_, cpus)| *cpus);
        assert_eq!(admission.granted(&id), granted);
        assert!(granted.is_none() || !model.waiting.contains_key(&id));
    }
    for name in QUEUES {
        let waiting = model.waiting.values().filter(|job| job.queue == name).count();
        assert_eq!(admission.waiting_in(name), waiting);
        let Some(queue) = admission.queues.get(name) else {
            assert_eq!((waiting, model.used_in(name), model.shares.get(name)), (0, 0, None));
            continue;
        };
        assert_eq!(queue.granted, u64::from(model.used_in(name)));
        let levels = || queue.line.values().flat_map(BTreeMap::values);
        assert_eq!(levels().map(BTreeSet::len).sum::<usize>(), waiting);
        assert!(queue.line.values().all(|levels| !levels.is_empty()));
        assert!(levels().all(|level| !level.is_empty()), "an empty level stays");
        assert_eq!(queue.waiting, waiting);
    }
}

/// The index of all queues is what a look at all of them gives.
fn assert_index_is_new(admission: &Admission<u8>, now: Timestamp) {
    let (mut known, mut anew) = (admission.clone(), admission.clone());
    anew.index = Index::new();
    for (name, queue) in &mut anew.queues {
        queue.indexed = Default::default();
        anew.index.mark_changed(name);
    }
    let in_all = admission.room().in_all;
    known.index.update(&mut known.queues, in_all, now);
    anew.index.update(&mut anew.queues, in_all, now);
    assert_eq!(known.index, anew.index);
}

/// P11: a grant brings neither the machine nor a queue above what it may use.
fn assert_within(model: &Model, queue: &str) {
    assert!(model.capacity.is_none_or(|capacity| model.used() <= capacity));
    let quota = model.share(queue).quota;
    assert!(quota.is_none_or(|quota| model.used_in(queue) <= quota));
}

fn replay(capacity: Option<Cpus>, events: Vec<Event>) {
    let mut now = at(1000);
    let mut admission = Admission::new(Capacity(capacity));
    let mut model = Model {
        capacity,
        shares: BTreeMap::new(),
        waiting: BTreeMap::new(),
        granted: BTreeMap::new(),
    };
    for event in events {
        let mut expected = Vec::new();
        let mut granted = Vec::new();
        match event {
            Event::Wait { id, age, mut waiting } => {
                waiting.since = at(now.as_second() - age);
                admission.wait(id, waiting.clone());
                if !model.granted.contains_key(&id) {
                    model.waiting.insert(id, waiting);
                }
            }
            Event::Leave(id) => {
                assert_eq!(admission.leave(&id), model.waiting.remove(&id).is_some());
            }
            Event::Occupy(id, queue, cpus) => {
                admission.occupy(id, queue, cpus);
                model.waiting.remove(&id);
                model.granted.insert(id, (queue.to_owned(), cpus));
            }
            Event::Release(id) => {
                let held = model.granted.remove(&id).map(|(_, cpus)| cpus);
                assert_eq!(admission.release(&id), held);
            }
            Event::Queue(name, share) => {
                admission.set_queue(name, share);
                match share {
                    Some(share) => model.shares.insert(name.to_owned(), share),
                    None => model.shares.remove(name),
                };
            }
            Event::Capacity(capacity) => {
                admission.set_capacity(Capacity(capacity));
                model.capacity = capacity;
            }
            Event::Pass(seconds) => now = at(now.as_second() + seconds),
            Event::Next => {
                expected = model.decide(now);
                expected.truncate(1);
                granted =
                    admission.next(now).map(|grant| (grant.id, grant.cpus)).into_iter().collect();
            }
            Event::Drain => {
                expected = model.decide(now);
                granted = grants(&mut admission, now);
            }
        }
        assert_eq!(granted, expected);
        for (id, cpus) in granted {
            let job = &model.waiting[&id];
            assert!((job.min..=job.max).contains(&cpus));
            model.grant(id, cpus);
            let queue = model.granted[&id].0.clone();
            assert_within(&model, &queue);
        }
        assert_agrees(&admission, &model);
        assert_index_is_new(&admission, now);
    }
    empty(admission, JOBS, &QUEUES);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_history_gives_the_grants_of_a_look_at_everything(
        capacity in prop::option::weighted(0.8, 0_u32..20),
        events in prop::collection::vec(event(), 1..200),
    ) {
        replay(capacity, events);
    }

    #[test]
    fn while_nobody_is_held_back_no_cpu_idles_that_a_waiting_job_could_use(
        jobs in prop::collection::vec(wait(), 0..40), free in 0_u32..30,
    ) {
        let mut admission = Admission::new(Capacity(Some(free)));
        let mut sizes = BTreeMap::new();
        for event in jobs {
            if let Event::Wait { id, waiting, .. } = event {
                sizes.insert(id, waiting.min);
                admission.wait(id, waiting);
            }
        }
        grants(&mut admission, at(0));
        let left = free - admission.used();
        for (id, min) in sizes {
            prop_assert!(admission.granted(&id).is_some() || min > left);
        }
    }
}
