//! Keeps CPUs for a job for which attempts end, and has it start with them.

use std::sync::Arc;

use jiff::Timestamp;

use super::line::QueueEntry;
use super::request::{Grant, Standing};
use super::reservation::Reservation;
use super::{Admission, JobState, KnownJob};
use crate::Cpus;

impl<Id: Clone + Ord> Admission<Id> {
    /// Keeps CPUs for a job that waits: some that are free now, and the others once its victims are gone.
    pub(super) fn reserve(&mut self, id: &Id, reservation: Reservation<Id>) {
        let Some((id, name, place)) = self.take(id) else { return };
        for victim in &reservation.victims {
            self.reservations.victims.insert(victim.clone(), Some(id.clone()));
            self.set_is_ending(victim, true);
        }
        self.used += u64::from(reservation.kept);
        if let Some(queue) = self.queues.get_mut(&name) {
            queue.granted += u64::from(reservation.kept);
            queue.kept += u64::from(reservation.kept);
            queue.coming += u64::from(reservation.coming);
            queue.reserved += 1;
            self.mark_changed(&name);
        }
        self.reservations.by_job.insert(id.clone(), reservation);
        self.jobs.insert(id, KnownJob { queue: name, state: JobState::Reserved(place) });
    }

    /// Whether CPUs are kept for a job that waits like this. Then its place is this from now on.
    pub(super) fn reserves(&mut self, id: &Id, queue: &str, place: &QueueEntry) -> bool {
        match self.jobs.get_mut(id) {
            Some(KnownJob { queue: known, state: JobState::Reserved(before) })
                if **known == *queue && before.min == place.min =>
            {
                *before = *place;
                true
            }
            _ => false,
        }
    }

    /// Nothing is kept for a job any more, and it waits no more. What its victims hold will be free.
    pub(super) fn give_up(&mut self, id: &Id) -> Option<(Arc<str>, QueueEntry)> {
        let reservation = self.reservations.by_job.remove(id)?;
        let job = self.jobs.remove(id)?;
        let JobState::Reserved(place) = job.state else { return None };
        for victim in &reservation.victims {
            self.reservations.victims.insert(victim.clone(), None);
        }
        self.reservations.changed = true;
        self.used -= u64::from(reservation.kept);
        if let Some(queue) = self.queues.get_mut(&job.queue) {
            queue.granted -= u64::from(reservation.kept);
            queue.kept -= u64::from(reservation.kept);
            queue.coming -= u64::from(reservation.coming);
            queue.reserved -= 1;
            self.mark_changed(&job.queue);
        }
        Some((job.queue, place))
    }

    /// An attempt has ended that held so many CPUs, which are free now: the job for which it has ended gets them.
    pub(super) fn pass_on(&mut self, victim: &Id, cpus: Cpus) {
        let Some(Some(id)) = self.reservations.victims.remove(victim) else { return };
        let Some(reservation) = self.reservations.by_job.get_mut(&id) else { return };
        let Some(name) = self.jobs.get(&id).map(|job| Arc::clone(&job.queue)) else { return };
        reservation.victims.remove(victim);
        let passed = cpus.min(reservation.most - reservation.kept);
        let arrived = passed.min(reservation.coming);
        reservation.kept += passed;
        reservation.coming -= arrived;
        self.used += u64::from(passed);
        if let Some(queue) = self.queues.get_mut(&name) {
            queue.granted += u64::from(passed);
            queue.kept += u64::from(passed);
            queue.coming -= u64::from(arrived);
            self.mark_changed(&name);
        }
    }

    /// The next job that has the CPUs that were to be kept for it. It also starts once as many are free otherwise.
    pub(super) fn next_reserved(&mut self, now: Timestamp) -> Option<Grant<Id>> {
        while let Some(id) = self.decided() {
            let reservation = self.reservations.by_job.get(&id)?.clone();
            let fits = self.fits(&id, &reservation);
            let (name, place) = self.give_up(&id)?;
            if !fits {
                // The quota or the capacity was lowered meanwhile.
                self.join(id, name, place);
                continue;
            }
            let cpus = reservation.kept.max(reservation.need);
            let standing = Standing { priority: place.priority, since: now };
            self.hold(id.clone(), name, cpus, Some(standing));
            return Some(Grant { id, cpus });
        }
        None
    }

    /// A job of which it is decided whether it starts: it has its CPUs, or can have them, or there will be none.
    fn decided(&self) -> Option<Id> {
        let mut all = self.reservations.by_job.iter();
        let decided = all.find(|(id, known)| known.victims.is_empty() || self.fits(id, known));
        decided.map(|(id, _)| id.clone())
    }

    /// Whether a job can start with what is kept for it and what is free.
    fn fits(&self, id: &Id, known: &Reservation<Id>) -> bool {
        let Some(queue) = self.jobs.get(id).and_then(|job| self.queues.get(&job.queue)) else {
            return false;
        };
        let lacks = known.need.saturating_sub(known.kept);
        let quota = queue.quota().map_or(u64::MAX, u64::from);
        let in_all = u64::from(self.room().in_all);
        // What is to come for others of its queue is theirs.
        let coming = queue.coming - u64::from(known.coming);
        queue.granted + coming + u64::from(lacks) <= quota && self.used + u64::from(lacks) <= in_all
    }
}
