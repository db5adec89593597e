//! The jobs that were submitted lately: others like them come again, and some of them start first.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::Waiting;

/// Submissions that are kept.
const MAX_ARRIVALS: usize = 256;

/// Fewest from which is told what comes.
const MIN_ARRIVALS: usize = 16;

/// The latest submissions, in bounded space.
#[derive(Clone, Debug)]
pub struct Arrivals {
    /// Since when all that came are here: the start of who keeps them, or the latest that is forgotten.
    since: Timestamp,
    all: VecDeque<Arrival>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) function: String,
    /// With the time when it was submitted.
    pub(super) waiting: Waiting,
}

impl Arrivals {
    /// Of one who knows of all from now on.
    pub fn since(since: Timestamp) -> Self {
        Self { since, all: VecDeque::new() }
    }

    /// A job has been submitted.
    pub fn add(&mut self, function: &str, waiting: Waiting) {
        self.all.push_back(Arrival { function: function.to_owned(), waiting });
        if self.all.len() > MAX_ARRIVALS {
            let forgotten = self.all.pop_front();
            self.since = forgotten.map_or(self.since, |it| it.waiting.since.max(self.since));
        }
    }

    /// What comes from now on, and after how many seconds, if all that was kept came again and again at the same distances,
    /// begun after this part of the time from the begin to now. Crowds stay crowds. Nothing, where few have come, and
    /// nothing of functions that are not known.
    pub(super) fn play_again(
        &self,
        part: f64,
        now: Timestamp,
        is_known: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = (f64, &Arrival)> {
        let Self { since, all } = self;
        let seconds = move |time: Timestamp| time.duration_since(*since).as_secs_f64();
        let window = seconds(now);
        let begin = window * part;
        let later = all.iter().position(|one| seconds(one.waiting.since) >= begin);
        let later = later.unwrap_or(0);
        let once = all.iter().skip(later).chain(all.iter().take(later));
        let is_enough = all.len() >= MIN_ARRIVALS && window > 0.0;
        let once: Vec<_> = once.filter(|one| is_enough && is_known(&one.function)).collect();
        let has_any = !once.is_empty();
        (0_u32..).take_while(move |_| has_any).flat_map(move |round| {
            let times = once.clone().into_iter().map(move |one| {
                let after = seconds(one.waiting.since) - begin;
                let after = if after < 0.0 { after + window } else { after };
                (after.clamp(0.0, window) + f64::from(round) * window, one)
            });
            times.collect::<Vec<_>>()
        })
    }
}
