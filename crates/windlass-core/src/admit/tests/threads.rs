//! Threads that submit, cancel, grant and finish, in any interleaving of their steps.

use shuttle::rand::{Rng as _, thread_rng};
use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};
use shuttle::thread;

use super::*;

const CAPACITY: Cpus = 6;
const QUOTA: Cpus = 4;
const SUBMITTERS: u32 = 2;
const JOBS_EACH: u32 = 5;
const SCHEDULES: usize = 3000;

struct World {
    admission: Admission<u32>,
    /// Seconds; each step takes some, so that jobs become old.
    clock: i64,
    /// The queue and the CPUs of those that run.
    running: BTreeMap<u32, (&'static str, Cpus)>,
    submitted: BTreeSet<u32>,
    cancelled: BTreeSet<u32>,
    started: BTreeSet<u32>,
    /// Jobs that have not ended.
    left: u32,
}

struct Shared {
    world: Mutex<World>,
    changed: Condvar,
}

impl Shared {
    /// The world, some seconds later.
    fn step(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap();
        world.clock += thread_rng().gen_range(0..20);
        world
    }

    /// P11 holds after each step, and somebody may have something to do.
    fn done(&self, world: MutexGuard<'_, World>) {
        let used: Cpus = world.running.values().map(|(_, cpus)| cpus).sum();
        assert_eq!(world.admission.used(), used);
        assert!(used <= CAPACITY);
        let limited = world.running.values().filter(|(queue, _)| *queue == "limited");
        assert!(limited.map(|(_, cpus)| cpus).sum::<Cpus>() <= QUOTA);
        drop(world);
        self.changed.notify_all();
    }
}

fn queue_of(id: u32) -> &'static str {
    if id.is_multiple_of(2) { "limited" } else { "free" }
}

fn submit(shared: &Shared, ids: std::ops::Range<u32>) {
    for id in ids {
        let mut world = shared.step();
        let min = thread_rng().gen_range(1..=QUOTA);
        let max = thread_rng().gen_range(min..=CAPACITY);
        let since = at(world.clock);
        let waiting = Waiting { since, priority: (id % 3) as i32, ..job(queue_of(id), min, max) };
        world.submitted.insert(id);
        world.admission.wait(id, waiting);
        shared.done(world);
    }
}

/// Cancels some, at whatever point of their life they are.
fn cancel(shared: &Shared) {
    for id in (0..SUBMITTERS * JOBS_EACH).step_by(3) {
        let mut world = shared.step();
        if !world.submitted.contains(&id) {
            continue;
        }
        let waited = world.admission.leave(&id);
        let held = world.admission.release(&id);
        assert_eq!(held.is_some(), world.running.remove(&id).is_some());
        assert!(!(waited && held.is_some()), "it both waited and held CPUs");
        if waited || held.is_some() {
            world.cancelled.insert(id);
            world.left -= 1;
        }
        shared.done(world);
    }
}

/// One grant at a time, so that all else may come between two of them.
fn grant(shared: &Shared) {
    let mut world = shared.step();
    while world.left > 0 {
        let now = at(world.clock);
        world = match world.admission.next(now) {
            Some(Grant { id, cpus }) => {
                world.running.insert(id, (queue_of(id), cpus));
                assert!(world.started.insert(id), "{id} was granted twice");
                shared.done(world);
                shared.step()
            }
            None => shared.changed.wait(world).unwrap(),
        };
    }
}

fn finish(shared: &Shared) {
    let mut world = shared.step();
    while world.left > 0 {
        let nth = thread_rng().gen_range(0..world.running.len().max(1));
        let id = world.running.keys().nth(nth).copied();
        world = match id {
            Some(id) => {
                let cpus = world.running.remove(&id).map(|(_, cpus)| cpus);
                assert_eq!(world.admission.release(&id), cpus);
                world.left -= 1;
                shared.done(world);
                shared.step()
            }
            None => shared.changed.wait(world).unwrap(),
        };
    }
}

#[test]
fn in_any_interleaving_nothing_is_granted_twice_and_everybody_has_their_turn() {
    let live = || {
        let mut admission = Admission::new(Capacity(Some(CAPACITY)));
        admission.set_queue("limited", quota(QUOTA));
        let shared = Arc::new(Shared {
            world: Mutex::new(World {
                admission,
                clock: 0,
                running: BTreeMap::new(),
                submitted: BTreeSet::new(),
                cancelled: BTreeSet::new(),
                started: BTreeSet::new(),
                left: SUBMITTERS * JOBS_EACH,
            }),
            changed: Condvar::new(),
        });
        let spawn = |work: Box<dyn FnOnce(&Shared) + Send>| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || work(&shared))
        };
        let mut threads = vec![
            spawn(Box::new(cancel)),
            spawn(Box::new(grant)),
            spawn(Box::new(grant)),
            spawn(Box::new(finish)),
            spawn(Box::new(finish)),
        ];
        for n in 0..SUBMITTERS {
            let ids = n * JOBS_EACH..(n + 1) * JOBS_EACH;
            threads.push(spawn(Box::new(move |shared: &Shared| submit(shared, ids))));
        }
        // Somebody who waits for ever is a deadlock, which shuttle reports.
        for thread in threads {
            thread.join().unwrap();
        }
        let mut world = shared.world.lock().unwrap();
        for id in 0..SUBMITTERS * JOBS_EACH {
            assert!(world.started.contains(&id) || world.cancelled.contains(&id));
        }
        world.admission.set_queue("limited", None);
        assert_empty(&world.admission);
    };
    shuttle::check_random(live, SCHEDULES);
}
