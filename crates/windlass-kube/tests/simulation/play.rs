//! Plays stories to their ends, many side by side.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::performance::{Performance, STEP};
use crate::story::Story;

/// Longest time until every job has ended. Of all these times that does not count which a step takes beyond
/// `LONGEST_STEP`: then the machine was busy with something else.
pub(crate) const END: Duration = Duration::from_secs(180);
/// So long after the end nobody has anything left to do: a claim whose attempt one of two controllers has not observed
/// counts for 10 s; and what a queue has granted is written every 5 s, and once more when that write fails.
pub(crate) const SETTLE: Duration = Duration::from_secs(22);
/// After that nobody may write for this long.
const QUIET: Duration = Duration::from_secs(4);
/// What a step counts at most. On a machine with nothing else to do it takes less.
const LONGEST_STEP: Duration = Duration::from_millis(100);

/// Plays so many numbered stories side by side. Returns the numbers of their writes, in no order.
pub(crate) fn play_numbered(count: u64, story: impl Fn(u64) -> Story) -> Vec<usize> {
    play_all((0..count).map(story))
}

/// So many stories are under way side by side: more would wait for the processor. Those in which our controller makes the
/// pods take twice as much of it, and count as two. One that has come to its end takes next to nothing, and does not count.
const SIDE_BY_SIDE: usize = 80;

/// Of the stories in which the mode does not matter, every so many are played with pods of our own making, too. With
/// `WINDLASS_STORIES=all` all of them are.
const MANAGED_SHARE: usize = 3;

/// Whether no story is left out.
pub(crate) fn plays_all() -> bool {
    std::env::var("WINDLASS_STORIES").is_ok_and(|which| which == "all")
}

/// Plays all the stories: first with pods that the Job controller makes, then with those that our controller makes.
/// Returns the numbers of their writes, in no order.
pub(crate) fn play_all(stories: impl IntoIterator<Item = Story>) -> Vec<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stories: Vec<_> = stories.into_iter().collect();
    let share = if plays_all() { 1 } else { MANAGED_SHARE };
    let of_mode = |managed: bool| {
        let is_played = move |(number, story): &(usize, &Story)| match story.managed {
            Some(mode) => mode == managed,
            None => !managed || number.is_multiple_of(share),
        };
        let of_mode = stories.iter().enumerate().filter(is_played);
        of_mode.map(move |(_, story)| Story { managed: Some(managed), ..story.clone() })
    };
    let all: Vec<_> = of_mode(false).chain(of_mode(true)).collect();
    let (mut writes, mut wrong) = (Vec::new(), Vec::new());
    for ended in runtime.block_on(play_side_by_side(all)) {
        match ended {
            Ok(count) => writes.push(count),
            Err(what) => wrong.push(what),
        }
    }
    let count = wrong.len();
    let titles: String =
        wrong.iter().map(|what| what.chars().take(500).collect::<String>() + "\n").collect();
    let all = count + writes.len();
    assert!(wrong.is_empty(), "{count} of {all} stories:\n{titles}\n{}", wrong[0]);
    writes
}

async fn play_side_by_side(stories: Vec<Story>) -> Vec<Result<usize, String>> {
    let (room, mut playing) = (Arc::new(Semaphore::new(SIDE_BY_SIDE)), JoinSet::new());
    for story in stories {
        let parts = if story.managed == Some(true) { 2 } else { 1 };
        let part = Arc::clone(&room).acquire_many_owned(parts).await.unwrap();
        playing.spawn(play(story, part));
    }
    playing.join_all().await
}

/// Plays a story to its end, and takes part of the processor until then. Returns the number of writes, or what went wrong.
async fn play(story: Story, part: OwnedSemaphorePermit) -> Result<usize, String> {
    let mut performance = Performance::begin(story).await;
    let mut left = END;
    performance.act();
    while !performance.is_over() && !left.is_zero() {
        let [counted, lost] = step().await;
        left = left.saturating_sub(counted);
        performance.wait_longer(lost);
        performance.act();
    }
    let has_ended = performance.is_over();
    drop(part);
    // What another controller had begun is over by then.
    pause(SETTLE).await;
    let writes = performance.writes();
    if has_ended {
        pause(QUIET).await;
    }
    let is_quiet = performance.writes() == writes;
    performance.stop();
    let mut wrong = performance.server.lock().broken_promises.clone();
    if !has_ended {
        wrong.push("did not end".into());
    } else if !is_quiet {
        wrong.push("writes go on after the end".into());
    }
    wrong.extend(performance.wrong_jobs());
    if wrong.is_empty() {
        return Ok(writes);
    }
    let state = performance.server.lock();
    let objects: Vec<_> = state.objects.keys().collect();
    let story = &performance.story;
    Err(format!("{story:?}\n{wrong:#?}\n{:#?}\n{objects:?}", state.writes))
}

/// Lets the stories go on for a step. Returns how much of its time counts, and how much the machine did not give them.
async fn step() -> [Duration; 2] {
    let began = Instant::now();
    sleep(STEP).await;
    let took = began.elapsed();
    let counted = took.min(LONGEST_STEP);
    [counted, took - counted]
}

/// Lets the stories go on for so long.
async fn pause(mut left: Duration) {
    while !left.is_zero() {
        let [counted, _] = step().await;
        left = left.saturating_sub(counted);
    }
}
