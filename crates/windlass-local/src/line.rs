//! The jobs that need CPUs: what core's `admit` is asked about, all at once.

use std::collections::HashMap;

use jiff::Timestamp;
use windlass_core::{Capacity, Cpus, Job, Limits, QueueState, Waiting, admit};

use crate::Config;
use crate::attempt::Handle;

/// Jobs that wait for CPUs.
#[derive(Default)]
pub(crate) struct Line {
    /// By UID.
    waiting: HashMap<String, Place>,
    /// Those that were not told yet that they wait, in the order in which they came.
    news: Vec<String>,
}

struct Place {
    queue: String,
    priority: i32,
    since: Timestamp,
    min: Cpus,
    max: Cpus,
}

impl Line {
    /// A job needs CPUs. When it is in the line already, nothing happens.
    pub(crate) fn join(&mut self, job: &Job, limits: &Limits, now: Timestamp) {
        let uid = &job.metadata.uid;
        if !self.waiting.contains_key(uid) {
            self.news.push(uid.clone());
            let place = Place {
                queue: job.spec.queue().to_owned(),
                priority: job.spec.priority,
                since: job.metadata.creation_timestamp.unwrap_or(now),
                min: limits.min_parallelism,
                max: limits.parallelism,
            };
            self.waiting.insert(uid.clone(), place);
        }
    }

    /// A job needs no CPUs any more.
    pub(crate) fn leave(&mut self, uid: &str) {
        self.waiting.remove(uid);
    }

    /// Who may start now, with how many CPUs, beside these live attempts. They leave the line.
    pub(crate) fn admit<'a>(
        &mut self,
        config: &Config,
        live: impl Iterator<Item = &'a Handle> + Clone,
        now: Timestamp,
    ) -> Vec<(String, Cpus)> {
        let used: Cpus = live.clone().map(|handle| handle.cpus).sum();
        let free = config.cpus.saturating_sub(used);
        if free == 0 || self.waiting.is_empty() {
            return Vec::new();
        }
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut queues = Vec::new();
        let (mut uids, mut waiting) = (Vec::new(), Vec::new());
        for (uid, place) in &self.waiting {
            let queue = *numbers.entry(&place.queue).or_insert_with(|| {
                let object = config.functions.queue(&place.queue).map(|queue| &queue.spec);
                let ours = live.clone().filter(|handle| handle.queue == place.queue);
                queues.push(QueueState {
                    quota: object.map(|queue| queue.cpus),
                    granted: ours.map(|handle| handle.cpus).sum(),
                    weight: object.map_or(1, |queue| queue.weight),
                });
                queues.len() - 1
            });
            let Place { priority, since, min, max, .. } = *place;
            uids.push(uid);
            waiting.push(Waiting { queue, priority, since, min, max });
        }
        // Version 7 UIDs are in the order of their creation: who came in the same millisecond
        // starts in that order too.
        let mut order: Vec<usize> = (0..uids.len()).collect();
        order.sort_unstable_by_key(|&index| uids[index]);
        let waiting: Vec<Waiting> = order.iter().map(|&index| waiting[index].clone()).collect();
        let grants = admit(&queues, &waiting, Capacity(Some(free)), now);
        let granted: Vec<(String, Cpus)> =
            grants.iter().map(|grant| (uids[order[grant.waiting]].clone(), grant.cpus)).collect();
        for (uid, _) in &granted {
            self.waiting.remove(uid);
        }
        granted
    }

    /// Those that wait since the last call, each with what to tell.
    pub(crate) fn take_news(&mut self, cpus: Cpus) -> Vec<(String, String)> {
        let waits = |uid: String| {
            let min = self.waiting.get(&uid)?.min;
            Some((uid, format!("waits for {min} of the {cpus} CPUs of this machine")))
        };
        std::mem::take(&mut self.news).into_iter().filter_map(waits).collect()
    }
}
