//! Whose attempts are ended for a job that waits.
//!
//! Each preemption helps: the job for which attempts are ended fits afterwards, has the CPUs for itself, and
//! none of the victims could be left out. A victim of the same queue has a lower priority. One of another queue leaves
//! that queue with what is guaranteed to it, and the job does not bring its own queue above its guarantee. So
//! nobody ends in turn what was started so.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::head::Head;
use super::line::QueueLine;
use super::queue_preemption::Held;
use super::request::{Preempted, RESERVE_AFTER_SECONDS, Room, Standing};
use super::reservation::Reservation;
use super::{Admission, JobState, KnownJob};
use crate::Cpus;

/// A running attempt that may be ended, with its CPUs.
pub(super) type Victim<'a, Id> = (&'a Id, Cpus);

/// A job that waits, for which attempts may be ended.
struct Candidate<'a, Id> {
    head: Head<Id>,
    name: &'a str,
    queue: &'a QueueLine<Id>,
    min: Cpus,
    max: Cpus,
    /// CPUs that are free for it.
    free: Cpus,
}

/// What is the same for all jobs that are looked at in turn.
struct Scope<'a> {
    room: Room,
    /// Whether attempts of other queues may be ended for what is guaranteed.
    may_reclaim: bool,
    /// Queues with attempts that are ending for nobody.
    ending: BTreeSet<&'a str>,
    now: Timestamp,
}

impl<Id: Clone + Ord> Admission<Id> {
    /// The attempts to end for the next job that waits and fits no other way. Ask it when [`next`](Self::next) has
    /// nothing more to grant; until then a job that fits counts as held back. The CPUs of the victims go to that job
    /// once they are [released](Self::release).
    ///
    /// It costs nothing while no queue preempts, or nothing has changed. Otherwise it looks at each queue that has changed,
    /// and passes over those alone for which ending attempts helps.
    pub fn preempt(&mut self, now: Timestamp) -> Option<Preempted<Id>> {
        if !std::mem::take(&mut self.reservations.changed) || self.preemption.is_off() {
            return None;
        }
        let room = self.room();
        self.index.update(&mut self.queues, room.in_all, now);
        self.preemption.update(&mut self.queues);
        let (by, reservation) = self.first_to_reserve(room, now)?;
        let victims = reservation.victims.iter().cloned().collect();
        self.reserve(&by, reservation);
        self.reservations.changed = true;
        Some(Preempted { by, victims })
    }

    /// What is known of an attempt that [occupies](Self::occupy) CPUs. Before, it is ended for nobody. Says whether
    /// it is news.
    pub fn set_standing(&mut self, id: &Id, standing: Standing) -> bool {
        let Some(KnownJob { queue, state: JobState::Granted(cpus, known) }) = self.jobs.get_mut(id)
        else {
            return false;
        };
        let before = known.replace(standing);
        if before == Some(standing) {
            return false;
        }
        let is_ending = self.reservations.victims.contains_key(id);
        if let Some(line) = self.queues.get_mut(queue) {
            let held = Held { cpus: *cpus, standing: before, is_ending };
            line.remove_attempt(id, held);
            line.add_attempt(id, Held { standing: Some(standing), ..held });
        }
        self.preemption.mark_changed(queue);
        self.reservations.changed = true;
        true
    }

    /// An attempt is ending for another job, which nobody here knows. Until it is gone, nothing is ended in its place.
    pub fn set_ending(&mut self, id: &Id) {
        if self.granted(id).is_some() && !self.reservations.victims.contains_key(id) {
            self.reservations.victims.insert(id.clone(), None);
            self.set_is_ending(id, true);
        }
    }

    /// An attempt was to end for a job that waits no more, and nobody has told it so: it goes on.
    pub fn spare(&mut self, id: &Id) {
        if self.reservations.victims.get(id) == Some(&None) {
            self.reservations.victims.remove(id);
            self.set_is_ending(id, false);
            self.reservations.changed = true;
        }
    }

    /// An attempt is ending for another job from now on, or no more: who does may not be ended again.
    pub(super) fn set_is_ending(&mut self, id: &Id, is_ending: bool) {
        let Some(KnownJob { queue, state: JobState::Granted(cpus, standing) }) = self.jobs.get(id)
        else {
            return;
        };
        if let Some(line) = self.queues.get_mut(queue) {
            let held = Held { cpus: *cpus, standing: *standing, is_ending };
            line.remove_attempt(id, Held { is_ending: !is_ending, ..held });
            line.add_attempt(id, held);
        }
        self.preemption.mark_changed(queue);
    }

    /// An attempt is out of reach, as on a node that is lost: it can be ended for nobody, and whoever waits for its end may
    /// have others ended instead. Says whether it is news.
    pub fn set_out_of_reach(&mut self, id: &Id) -> bool {
        let Some(KnownJob { queue, state: JobState::Granted(cpus, standing) }) =
            self.jobs.get_mut(id)
        else {
            return false;
        };
        let before = standing.take();
        let ending = self.reservations.victims.get(id).cloned();
        if let Some(line) = self.queues.get_mut(queue) {
            let held = Held { cpus: *cpus, standing: before, is_ending: ending.is_some() };
            line.remove_attempt(id, held);
        }
        self.preemption.mark_changed(queue);
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

    /// The first job for which ending attempts helps, and what is kept for it then.
    fn first_to_reserve(&self, room: Room, now: Timestamp) -> Option<(Id, Reservation<Id>)> {
        let may_reclaim = self.preemption.may_reclaim(room.in_all);
        let queues = self.preemption.queues(room.free, may_reclaim);
        let lines = queues.into_iter().filter_map(|name| self.queues.get_key_value(name));
        let mut lines: Vec<_> = lines.map(|(name, queue)| (name, queue, queue.firsts())).collect();
        lines.sort_by(|(.., a), (.., b)| a.first().map(|x| &x.1).cmp(&b.first().map(|x| &x.1)));
        let ending = self.queues_ending_for_nobody();
        let scope = Scope { room, may_reclaim, ending, now };
        let mut lines = lines.into_iter();
        lines.find_map(|(name, queue, line)| self.first_of((name, queue), line, &scope))
    }

    /// The queues with attempts that are ending for nobody: they will leave room.
    fn queues_ending_for_nobody(&self) -> BTreeSet<&str> {
        let ending = self.reservations.victims.iter().filter(|(_, by)| by.is_none());
        ending.filter_map(|(id, _)| self.jobs.get(id)).map(|job| &*job.queue).collect()
    }

    /// The first job of a queue for which ending attempts helps.
    fn first_of(
        &self,
        (name, queue): (&str, &QueueLine<Id>),
        line: Vec<(Cpus, Head<Id>)>,
        scope: &Scope<'_>,
    ) -> Option<(Id, Reservation<Id>)> {
        let Scope { room, now, .. } = *scope;
        let most = queue.quota().unwrap_or(Cpus::MAX).min(room.in_all);
        for (min, head) in line.into_iter().filter(|(min, _)| *min <= most) {
            let JobState::Waiting(place) = self.jobs.get(&head.id)?.state else { return None };
            let free = if self.index.is_held_back(&head, room) { 0 } else { room.free };
            let (age, max) = (place.age.0, place.max);
            let candidate = Candidate { head, name, queue, min, max, free };
            if let Some(reservation) = self.reservation_for(&candidate, scope) {
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
    fn reservation_for(
        &self,
        candidate: &Candidate<'_, Id>,
        scope: &Scope<'_>,
    ) -> Option<Reservation<Id>> {
        let Candidate { queue, min, max, free, .. } = candidate;
        let left = queue.left();
        let lacks = min.saturating_sub(left.min(*free));
        if lacks == 0 {
            return None;
        }
        // Where the quota lacks, only what its own jobs hold is of use.
        let fits_quota = *min <= left;
        let victims = fewest(self.victims(candidate, lacks, scope)?, lacks);
        let freed = victims.iter().fold(0, |sum: Cpus, (_, cpus)| sum.saturating_add(*cpus));
        let kept = min.saturating_sub(freed);
        let most = if fits_quota { (*max).min(left) } else { *max };
        let coming = if fits_quota { freed.min(most - kept) } else { 0 };
        let victims = victims.into_iter().map(|(id, _)| id.clone()).collect();
        Some(Reservation { need: *min, most, kept, coming, victims })
    }

    /// All that may be ended for a job, the first in front. None where that is too little, and while others are ending
    /// that would leave room.
    fn victims<'a>(
        &'a self,
        candidate: &Candidate<'a, Id>,
        lacks: Cpus,
        scope: &Scope<'_>,
    ) -> Option<Vec<Victim<'a, Id>>> {
        let Candidate { head, name, queue, min, .. } = candidate;
        let reclaims = scope.may_reclaim && queue.reclaims(*min);
        let is_coming =
            if reclaims { !scope.ending.is_empty() } else { scope.ending.contains(name) };
        let of_others = if reclaims { self.preemption.reclaimable() } else { 0 };
        let own = queue.running.cpus_below(head.priority);
        if is_coming || of_others + own < u64::from(lacks) {
            return None;
        }
        let mut victims = if reclaims { self.reclaimable() } else { Vec::new() };
        let lower = queue.running.iter().take_while(|(priority, ..)| *priority < head.priority);
        victims.extend(lower.map(|(.., id, cpus)| (id, cpus)));
        Some(victims)
    }

    /// What queues hold above what is guaranteed to them, the first to be ended in front. Nothing is of a queue that holds
    /// less.
    fn reclaimable(&self) -> Vec<Victim<'_, Id>> {
        let queues = self.queues.values().filter(|queue| queue.preemption.reclaimable > 0);
        let mut attempts: Vec<_> = queues.flat_map(QueueLine::reclaimable).collect();
        attempts.sort_unstable();
        attempts.into_iter().map(|(.., id, cpus)| (id, cpus)).collect()
    }
}

/// Of these victims, which are enough, in this order as few as free so many CPUs.
pub(super) fn fewest<Id>(victims: Vec<Victim<'_, Id>>, lacks: Cpus) -> Vec<Victim<'_, Id>> {
    let (mut chosen, mut freed) = (Vec::new(), 0_u64);
    let lacks = u64::from(lacks);
    for victim in victims {
        if freed >= lacks {
            break;
        }
        freed += u64::from(victim.1);
        chosen.push(victim);
    }
    // The last one may be so large that some before it are not needed. Those that come last are spared first.
    chosen.reverse();
    chosen.retain(|(_, cpus)| {
        let is_spared = freed - u64::from(*cpus) >= lacks;
        freed -= if is_spared { u64::from(*cpus) } else { 0 };
        !is_spared
    });
    chosen.reverse();
    chosen
}
