//! Whose attempts are ended for a job that waits.
//!
//! Each preemption helps: the job for which attempts are ended fits afterwards, has the CPUs for itself, and
//! none of the victims could be left out. A victim of the same queue has a lower priority. One of another queue leaves
//! that queue with what is guaranteed to it, and the job does not bring its own queue above its guarantee. So
//! nobody ends in turn what was started so.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::head::Head;
use super::line::QueueLine;
use super::request::{Preempted, Preemption, RESERVE_AFTER_SECONDS, Room, Standing};
use super::reservation::Reservation;
use super::{Admission, JobState, KnownJob};
use crate::Cpus;

/// A running attempt that may be ended.
struct Victim<'a, Id> {
    id: &'a Id,
    queue: &'a str,
    cpus: Cpus,
}

/// A job that waits, for which attempts may be ended.
struct Candidate<'a, Id> {
    head: Head<Id>,
    name: &'a Arc<str>,
    queue: &'a QueueLine<Id>,
    min: Cpus,
    max: Cpus,
    /// CPUs that are free for it.
    free: Cpus,
    may_reclaim: bool,
}

/// What is the same for all jobs that are looked at in turn.
struct Scope {
    room: Room,
    /// Whether attempts of other queues may be ended for what is guaranteed.
    may_reclaim: bool,
    now: Timestamp,
}

impl<Id: Clone + Ord> Admission<Id> {
    /// The attempts to end for the next job that waits and fits no other way. Ask it when [`next`](Self::next) has
    /// nothing more to grant; until then a job that fits counts as held back. The CPUs of the victims go to that job
    /// once they are [released](Self::release).
    ///
    /// For each size of the jobs of each queue that preempts it passes over what runs; and over nothing while none preempts,
    /// or nothing has changed.
    pub fn preempt(&mut self, now: Timestamp) -> Option<Preempted<Id>> {
        if !std::mem::take(&mut self.reservations.changed) || self.reservations.queues.is_empty() {
            return None;
        }
        let room = self.room();
        self.index.update(&mut self.queues, room.in_all, now);
        let mut queues: Vec<_> = self.reservations.queues.iter().collect();
        queues.retain(|name| self.queues.get(*name).is_some_and(|queue| queue.waiting > 0));
        // More may be guaranteed than there is. Then nobody can tell whose it is, and nobody is ended for it.
        let guaranteed = self.queues.values().filter_map(|queue| queue.share);
        let guaranteed = guaranteed.fold(0_u64, |sum, share| sum + u64::from(share.guaranteed));
        let may_reclaim = guaranteed <= u64::from(room.in_all);
        let mut lines: Vec<_> = queues
            .into_iter()
            .filter_map(|name| Some((name, self.queues.get(name)?.firsts())))
            .collect();
        lines.sort_by(|(_, a), (_, b)| a.first().map(|x| &x.1).cmp(&b.first().map(|x| &x.1)));
        let scope = Scope { room, may_reclaim, now };
        let found = lines.into_iter().find_map(|(name, line)| self.first_of(name, line, &scope));
        let (by, reservation) = found?;
        let victims = reservation.victims.iter().cloned().collect();
        self.reserve(&by, reservation);
        self.reservations.changed = true;
        Some(Preempted { by, victims })
    }

    /// What is known of an attempt that [occupies](Self::occupy) CPUs. Before, it is ended for nobody. Says whether
    /// it is news.
    pub fn set_standing(&mut self, id: &Id, standing: Standing) -> bool {
        let Some(KnownJob { queue, state: JobState::Granted(_, known) }) = self.jobs.get_mut(id)
        else {
            return false;
        };
        let before = known.replace(standing);
        if before == Some(standing) {
            return false;
        }
        if let Some(line) = self.queues.get_mut(queue) {
            line.forget_running(id, before);
            line.running.insert(standing.running(id.clone()));
        }
        self.reservations.changed = true;
        true
    }

    /// An attempt is ending for another job, which nobody here knows. Until it is gone, nothing is ended in its place.
    pub fn set_ending(&mut self, id: &Id) {
        if self.granted(id).is_some() {
            self.reservations.victims.entry(id.clone()).or_insert(None);
        }
    }

    /// An attempt was to end for a job that waits no more, and nobody has told it so: it goes on.
    pub fn spare(&mut self, id: &Id) {
        if self.reservations.victims.get(id) == Some(&None) {
            self.reservations.victims.remove(id);
            self.reservations.changed = true;
        }
    }

    /// An attempt is out of reach, as on a node that is lost: it can be ended for nobody, and whoever waits for its end may
    /// have others ended instead. Says whether it is news.
    pub fn set_out_of_reach(&mut self, id: &Id) -> bool {
        let Some(KnownJob { queue, state: JobState::Granted(_, standing) }) = self.jobs.get_mut(id)
        else {
            return false;
        };
        let before = standing.take();
        if let Some(line) = self.queues.get_mut(queue) {
            line.forget_running(id, before);
        }
        let ending = self.reservations.victims.get(id).cloned();
        if let Some(Some(by)) = &ending
            && let Some((name, place)) = self.give_up(by)
        {
            self.join(by.clone(), name, place);
        }
        self.reservations.victims.remove(id);
        let is_news = before.is_some() || ending.is_some();
        self.reservations.changed |= is_news;
        is_news
    }

    /// The job for which an attempt is ending.
    pub fn preempted_by(&self, id: &Id) -> Option<&Id> {
        self.reservations.victims.get(id)?.as_ref()
    }

    /// The first job of a queue for which ending attempts helps.
    fn first_of(
        &self,
        name: &Arc<str>,
        line: Vec<(Cpus, Head<Id>)>,
        scope: &Scope,
    ) -> Option<(Id, Reservation<Id>)> {
        let Scope { room, may_reclaim, now } = *scope;
        let queue = self.queues.get(name)?;
        let most = queue.quota().unwrap_or(Cpus::MAX).min(room.in_all);
        for (min, head) in line.into_iter().filter(|(min, _)| *min <= most) {
            let JobState::Waiting(place) = self.jobs.get(&head.id)?.state else { return None };
            let free = if self.index.is_held_back(&head, room) { 0 } else { room.free };
            let (age, max) = (place.age.0, place.max);
            let candidate = Candidate { head, name, queue, min, max, free, may_reclaim };
            if let Some(reservation) = self.reservation_for(&candidate) {
                return Some((candidate.head.id, reservation));
            }
            if now.duration_since(age).as_secs() >= RESERVE_AFTER_SECONDS {
                // It holds back those behind it.
                return None;
            }
        }
        None
    }

    /// Whom to end for a job, if that helps, and what is kept for it then.
    fn reservation_for(&self, candidate: &Candidate<'_, Id>) -> Option<Reservation<Id>> {
        let Candidate { queue, min, max, free, .. } = candidate;
        let left = queue.left();
        let lacks = min.saturating_sub(left.min(*free));
        if lacks == 0 {
            return None;
        }
        // Where the quota lacks, only what its own jobs hold is of use.
        let fits_quota = *min <= left;
        let victims = fewest(self.candidates(candidate, fits_quota)?, lacks)?;
        let freed = victims.iter().fold(0, |sum: Cpus, victim| sum.saturating_add(victim.cpus));
        let kept = min.saturating_sub(freed);
        let most = if fits_quota { (*max).min(left) } else { *max };
        let coming = if fits_quota { freed.min(most - kept) } else { 0 };
        let victims = victims.into_iter().map(|victim| victim.id.clone()).collect();
        Some(Reservation { need: *min, most, kept, coming, victims })
    }

    /// All that may be ended for a job, the first in front. None while others are ending that would leave room.
    fn candidates<'a>(
        &'a self,
        candidate: &Candidate<'a, Id>,
        fits_quota: bool,
    ) -> Option<Vec<Victim<'a, Id>>> {
        let Candidate { head, name, queue, min, may_reclaim, .. } = candidate;
        let share = queue.share.unwrap_or_default();
        let after = queue.granted + queue.coming + u64::from(*min);
        let reclaims = *may_reclaim
            && share.preemption == Preemption::Reclaim
            && fits_quota
            && after <= u64::from(share.guaranteed);
        let ending_for_nobody = self.reservations.victims.iter().filter(|(_, by)| by.is_none());
        let mut ending = ending_for_nobody.filter_map(|(id, _)| self.jobs.get(id));
        if ending.any(|job| reclaims || job.queue == **name) {
            return None;
        }
        let mut victims = if reclaims { self.above_guarantees(name) } else { Vec::new() };
        let lower = queue.running.iter().take_while(|(priority, ..)| *priority < head.priority);
        victims.extend(lower.filter_map(|(_, _, id)| self.victim(id)));
        Some(victims)
    }

    /// What queues other than this one hold above what is guaranteed to them.
    fn above_guarantees(&self, name: &Arc<str>) -> Vec<Victim<'_, Id>> {
        let mut above: BTreeMap<&str, u64> = BTreeMap::new();
        for (other, line) in self.queues.iter().filter(|(other, _)| *other != name) {
            let guaranteed = u64::from(line.share.unwrap_or_default().guaranteed);
            above.insert(other, line.granted.saturating_sub(guaranteed));
        }
        for id in self.reservations.victims.keys() {
            if let (Some(cpus), Some(job)) = (self.granted(id), self.jobs.get(id))
                && let Some(above) = above.get_mut(&*job.queue)
            {
                *above = above.saturating_sub(u64::from(cpus));
            }
        }
        let lines = above.iter().filter(|(_, above)| **above > 0);
        let lines = lines.filter_map(|(name, _)| self.queues.get(*name));
        let mut running: Vec<_> = lines.flat_map(|line| &line.running).collect();
        running.sort_unstable();
        let mut victims: Vec<_> =
            running.into_iter().filter_map(|(_, _, id)| self.victim(id)).collect();
        victims.retain(|victim| {
            let Some(above) = above.get_mut(victim.queue) else { return false };
            let cpus = u64::from(victim.cpus);
            let may_end = cpus <= *above;
            *above -= if may_end { cpus } else { 0 };
            may_end
        });
        victims
    }

    /// An attempt that is not ending yet.
    fn victim<'a>(&'a self, id: &'a Id) -> Option<Victim<'a, Id>> {
        let cpus = self.granted(id).filter(|_| !self.reservations.victims.contains_key(id))?;
        Some(Victim { id, queue: &self.jobs.get(id)?.queue, cpus })
    }
}

/// Of these victims, in this order, as few as free so many CPUs. None if all of them do not.
fn fewest<Id>(victims: Vec<Victim<'_, Id>>, lacks: Cpus) -> Option<Vec<Victim<'_, Id>>> {
    let (mut chosen, mut freed) = (Vec::new(), 0_u64);
    let lacks = u64::from(lacks);
    for victim in victims {
        if freed >= lacks {
            break;
        }
        freed += u64::from(victim.cpus);
        chosen.push(victim);
    }
    if freed < lacks {
        return None;
    }
    // The last one may be so large that some before it are not needed. Those that come last are spared first.
    let mut spared = Vec::new();
    for (index, victim) in chosen.iter().enumerate().rev() {
        if freed - u64::from(victim.cpus) >= lacks {
            freed -= u64::from(victim.cpus);
            spared.push(index);
        }
    }
    for index in spared {
        chosen.remove(index);
    }
    Some(chosen)
}
