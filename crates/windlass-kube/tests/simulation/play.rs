//! Plays stories to their ends.

use std::time::Duration;

use tokio::time::sleep;

use crate::performance::{Performance, STEP};
use crate::story::Story;
use crate::virtual_time;

/// Longest time until every job has ended.
pub(crate) const END: Duration = Duration::from_secs(180);
/// So long after the end nobody has anything left to do: a claim whose attempt one of two controllers has not observed
/// counts for 10 s; and what a queue has granted is written every 5 s, and once more when that write fails.
pub(crate) const SETTLE: Duration = Duration::from_secs(22);
/// After that nobody may write for this long.
const QUIET: Duration = Duration::from_secs(4);

/// Plays so many numbered stories. Returns the numbers of their writes.
pub(crate) fn play_numbered(count: u64, story: impl Fn(u64) -> Story) -> Vec<usize> {
    play_all((0..count).map(story))
}

/// Of the stories in which the mode does not matter, every so many are played with pods of our own making, too. With
/// `WINDLASS_STORIES=all` all of them are.
const MANAGED_SHARE: usize = 3;

/// Whether no story is left out.
pub(crate) fn plays_all() -> bool {
    std::env::var("WINDLASS_STORIES").is_ok_and(|which| which == "all")
}

/// Plays all the stories: first with pods that the Job controller makes, then with those that our controller makes.
/// Returns the numbers of their writes.
pub(crate) fn play_all(stories: impl IntoIterator<Item = Story>) -> Vec<usize> {
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
    let (mut writes, mut wrong) = (Vec::new(), Vec::new());
    for story in of_mode(false).chain(of_mode(true)) {
        match virtual_time::block_on(play(story)) {
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

/// Plays a story to its end. Returns the number of writes, or what went wrong.
async fn play(story: Story) -> Result<usize, String> {
    let mut performance = Performance::begin(story).await;
    let mut left = END;
    performance.act();
    while !performance.is_over() && !left.is_zero() {
        sleep(STEP).await;
        left = left.saturating_sub(STEP);
        performance.act();
    }
    let has_ended = performance.is_over();
    // What another controller had begun is over by then.
    sleep(SETTLE).await;
    let writes = performance.writes();
    if has_ended {
        sleep(QUIET).await;
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
    Err(format!("{story:?}\n{wrong:#?}\n{:#?}\n{objects:?}", state.course))
}
