//! Plays stories to their ends, and says what went wrong.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use crate::cluster;
use crate::controller::start;
use crate::objects::{
    create_job, create_queue, create_queue_of, create_stranger, create_warm_function,
};
use crate::server::{Key, Server, is_live, key};
use crate::standby::is_waiting;
use crate::story::{ByHand, Story};

/// Longest time until every job has ended. Of all these times that does not count which a step takes beyond
/// `LONGEST_STEP`: then the machine was busy with something else.
pub(crate) const END: Duration = Duration::from_secs(180);
/// So long after the end nobody has anything left to do: a claim whose attempt one of two controllers has not observed
/// counts for 10 s; and what a queue has granted is written every 5 s, and once more when that write fails.
pub(crate) const SETTLE: Duration = Duration::from_secs(22);
/// After that nobody may write for this long.
const QUIET: Duration = Duration::from_secs(4);
/// How often the performance acts.
const STEP: Duration = Duration::from_millis(10);
/// What a step counts at most. On a machine with nothing else to do it takes less.
const LONGEST_STEP: Duration = Duration::from_millis(100);

/// Plays so many numbered stories side by side.
pub(crate) fn play_numbered(count: u64, story: impl Fn(u64) -> Story) {
    play_all((0..count).map(story));
}

/// So many stories are played side by side: more would wait for the processor. Those in which our controller makes the
/// pods take twice as much of it.
const SIDE_BY_SIDE: [usize; 2] = [80, 40];

/// Of the stories in which the mode does not matter, every so many are played with pods of our own making, too. With
/// `WINDLASS_STORIES=all` all of them are.
const MANAGED_SHARE: usize = 3;

/// Plays all the stories: first with pods that the Job controller makes, then with those that our controller makes.
/// Returns the numbers of their writes, in no order.
pub(crate) fn play_all(stories: impl IntoIterator<Item = Story>) -> Vec<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stories: Vec<_> = stories.into_iter().collect();
    let (mut writes, mut wrong) = (Vec::new(), Vec::new());
    let share = if std::env::var("WINDLASS_STORIES").is_ok_and(|which| which == "all") {
        1
    } else {
        MANAGED_SHARE
    };
    for (managed, side_by_side) in [false, true].into_iter().zip(SIDE_BY_SIDE) {
        let is_played = |(number, story): &(usize, &Story)| match story.managed {
            Some(mode) => mode == managed,
            None => !managed || number.is_multiple_of(share),
        };
        let of_mode = stories.iter().enumerate().filter(is_played);
        let of_mode = of_mode.map(|(_, story)| Story { managed: Some(managed), ..story.clone() });
        for some in of_mode.collect::<Vec<_>>().chunks(side_by_side) {
            for ended in runtime.block_on(play_side_by_side(some)) {
                match ended {
                    Ok(count) => writes.push(count),
                    Err(what) => wrong.push(what),
                }
            }
        }
    }
    let count = wrong.len();
    let titles: String =
        wrong.iter().map(|what| what.chars().take(500).collect::<String>() + "\n").collect();
    let all = count + writes.len();
    assert!(wrong.is_empty(), "{count} of {all} stories:\n{titles}\n{}", wrong[0]);
    writes
}

async fn play_side_by_side(stories: &[Story]) -> Vec<Result<usize, String>> {
    let mut playing = JoinSet::new();
    for story in stories {
        playing.spawn(play(story.clone()));
    }
    playing.join_all().await
}

/// Plays a story to its end. Returns the number of writes, or what went wrong.
async fn play(story: Story) -> Result<usize, String> {
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

/// A story that is being played.
struct Performance {
    story: Story,
    server: Server,
    cluster: JoinHandle<()>,
    controllers: Vec<JoinHandle<()>>,
    deaths: watch::Receiver<Vec<usize>>,
    /// Whether controllers that start make the pods of their batch Jobs.
    manages: bool,
    /// What is still to be done by hand, and the step at which the first batch Job was there.
    by_hand: Option<(ByHand, u64)>,
    first_batch_job: Option<u32>,
    /// Steps so far.
    steps: u32,
    /// When the first job is to be cancelled, and the stranger to go away.
    cancel_at: Option<Instant>,
    stranger_until: Option<Instant>,
    /// When no pod may live any more whose label was taken away.
    unlabelled_until: Option<Instant>,
    /// When controllers run again, and the attempts whose pods were deleted meanwhile.
    absent_until: Option<Instant>,
    lost: Vec<String>,
    /// The batch Job that is suspended, and when it is to go on.
    suspended: Option<(Key, Instant)>,
    /// When the queue that was deleted is made again.
    no_queue_until: Option<Instant>,
}

impl Performance {
    async fn begin(story: Story) -> Self {
        let server = Server::new(story.faults.clone());
        let deaths = server.lock().deaths.subscribe();
        server.lock().read_faults = story.read_faults;
        create_warm_function(&server, story.standbys);
        server.lock().drops_managed_by = story.drops_managed_by;
        let manages = story.managed == Some(true);
        let mut controllers = Vec::new();
        if story.created_late {
            controllers.extend((0..story.controllers).map(|i| start(&server, i, manages)));
            // Their watches have begun by then.
            sleep(Duration::from_millis(500)).await;
        }
        if let Some(cpus) = story.quota {
            create_queue(&server, cpus);
            if matches!(story.by_hand, Some((ByHand::DeleteQueue(_), _))) {
                // With another queue beside it. Where it was the only one, a job that names none passes when it is
                // retried: docs/queues.md.
                create_queue_of(&server, "other", json!({ "cpus": 1 }));
            }
        }
        let cluster = cluster::play(server.clone(), story.longest, story.spread, story.claims);
        let cluster = tokio::spawn(cluster);
        if story.jobs_after > 0 {
            controllers.extend((0..story.controllers).map(|i| start(&server, i, manages)));
            sleep(Duration::from_millis(story.jobs_after)).await;
        }
        for (index, crashes) in story.jobs.iter().enumerate() {
            let uid = create_job(&server, index, *crashes);
            if index == 0 && story.stranger.is_some() {
                create_stranger(&server, &uid);
            }
        }
        if controllers.is_empty() {
            controllers.extend((0..story.controllers).map(|i| start(&server, i, manages)));
        }
        let began = Instant::now();
        let after = |milliseconds| began + Duration::from_millis(milliseconds);
        Self {
            cluster,
            controllers,
            deaths,
            manages,
            by_hand: story.by_hand,
            first_batch_job: None,
            steps: 0,
            cancel_at: story.cancel.map(after),
            stranger_until: story.stranger.map(after),
            unlabelled_until: None,
            absent_until: None,
            lost: Vec::new(),
            suspended: None,
            no_queue_until: None,
            server,
            story,
        }
    }

    /// Does what is due now.
    fn act(&mut self) {
        self.steps += 1;
        self.restart_the_dead();
        if is_due(&mut self.cancel_at) {
            self.cancel_first_job();
        }
        self.interfere_by_hand();
        if is_due(&mut self.stranger_until) {
            self.remove_stranger();
        }
        if is_due(&mut self.absent_until) {
            self.server.lock().deaths.send_replace((0..self.story.controllers).collect());
        }
        if is_due(&mut self.no_queue_until) {
            self.story.quota.into_iter().for_each(|cpus| create_queue(&self.server, cpus));
        }
        self.check_lost_attempts();
        if is_due(&mut self.unlabelled_until) {
            self.check_unlabelled_pods();
        }
        if let Some((batch_job, _)) = self.suspended.take_if(|(_, until)| Instant::now() >= *until)
        {
            self.server.lock().suspend(&batch_job, false);
        }
    }

    /// Gives controllers the time that the machine did not give them.
    fn wait_longer(&mut self, pause: Duration) {
        self.unlabelled_until = self.unlabelled_until.map(|until| until + pause);
    }

    fn restart_the_dead(&mut self) {
        if !self.deaths.has_changed().unwrap() {
            return;
        }
        let all = self.deaths.borrow_and_update().clone();
        self.server.lock().deaths.send_modify(Vec::clear);
        self.deaths.mark_unchanged();
        for dead in all {
            self.controllers[dead].abort();
            self.controllers[dead] = start(&self.server, dead, self.manages);
        }
    }

    fn cancel_first_job(&self) {
        let mut state = self.server.lock();
        let first = key("computejobs", "j0");
        let mut job = state.objects[&first].clone();
        job["spec"]["cancel"] = json!(true);
        state.put(&first, job);
    }

    /// Does by hand what the story says, once the first batch Job has been there for long enough.
    fn interfere_by_hand(&mut self) {
        let Some((what, after)) = self.by_hand else { return };
        let mut state = self.server.lock();
        // A pod that is made after its batch Job was deleted is the story of `Delete`.
        let needs_pod = matches!(what, ByHand::Orphan | ByHand::Unlabel | ByHand::LosePod(_));
        let may = |job: &Value| !needs_pod || job["status"]["had_pod"] == true;
        let first = state.all("jobs").next().filter(|(_, job)| may(job));
        let Some(batch_job) = first.map(|(key, _)| key.clone()) else { return };
        // In steps: in each of them everybody gets on, however busy the machine is.
        let since = *self.first_batch_job.get_or_insert(self.steps);
        if STEP * (self.steps - since) < Duration::from_millis(after) {
            return;
        }
        self.by_hand = None;
        match what {
            ByHand::Delete => state.delete(&batch_job),
            ByHand::DeleteQueue(pause) => {
                state.delete(&key("computequeues", "default"));
                self.no_queue_until = Some(Instant::now() + Duration::from_millis(pause));
            }
            ByHand::Orphan => {
                state.delete_and_orphan(&batch_job);
                state.deaths.send_replace((0..self.story.controllers).collect());
            }
            ByHand::Unlabel => {
                state.unlabel_pods(&batch_job);
                self.unlabelled_until = Some(Instant::now() + Duration::from_secs(4));
            }
            ByHand::LeavePods => {
                self.manages = false;
                state.deaths.send_replace((0..self.story.controllers).collect());
            }
            ByHand::LosePod(pause) => {
                self.controllers.iter().for_each(JoinHandle::abort);
                self.lost = state.lose_pods(&batch_job);
                self.absent_until = Some(Instant::now() + Duration::from_millis(pause));
            }
            ByHand::Suspend(pause) => {
                state.suspend(&batch_job, true);
                let until = Instant::now() + Duration::from_millis(pause);
                self.suspended = Some((batch_job, until));
            }
        }
    }

    /// A pod that no watch shows any more is told to end.
    fn check_unlabelled_pods(&self) {
        let mut state = self.server.lock();
        let is_left = |pod: &Value| {
            pod["metadata"]["labels"]["windlass.dev/job-uid"].is_null()
                && pod["metadata"]["deletionTimestamp"].is_null()
                && is_live(pod)
        };
        let left = state.all("pods").find(|(_, pod)| is_left(pod)).map(|(key, _)| key.clone());
        state.broken_promises.extend(left.map(|key| format!("{key:?} runs on without its label")));
    }

    /// An attempt whose pod is gone is not started again under the same number.
    fn check_lost_attempts(&self) {
        let mut state = self.server.lock();
        let attempts: Vec<_> = state.all("pods").filter(|(_, pod)| is_live(pod)).collect();
        let again = attempts.into_iter().find(|(key, _)| self.lost.contains(&key.2));
        let again = again.map(|(key, _)| format!("{} runs again", key.2));
        state.broken_promises.extend(again);
    }

    /// Takes the stranger's batch Job away; the job's status must have named it by now.
    fn remove_stranger(&self) {
        let mut state = self.server.lock();
        let is_strange = |job: &Value| job["metadata"]["ownerReferences"].is_null();
        let strange = state.all("jobs").find(|(_, job)| is_strange(job));
        let strange = strange.map(|(key, _)| key.clone());
        let status = state.objects[&key("computejobs", "j0")]["status"].to_string();
        match strange {
            Some(key) if status.contains("NameTaken") => state.remove(&key),
            found => state.broken_promises.push(format!("a stranger's {found:?}: {status}")),
        }
    }

    /// Whether every job has ended and nothing is left of it.
    fn is_over(&self) -> bool {
        let state = self.server.lock();
        let phase = |job: &Value| job["status"]["phase"].as_str().unwrap_or("").to_owned();
        let over =
            |job: &Value| matches!(phase(job).as_str(), "Succeeded" | "Failed" | "Cancelled");
        state.all("computejobs").all(|(_, job)| over(job))
            && state.all("jobs").all(|(_, job)| is_waiting(job))
            && state.all("pods").all(|(_, pod)| is_waiting(pod))
    }

    fn writes(&self) -> usize {
        self.server.lock().writes.len()
    }

    fn stop(&self) {
        self.cluster.abort();
        self.controllers.iter().for_each(JoinHandle::abort);
    }

    /// The jobs that have not ended as they should.
    fn wrong_jobs(&self) -> Vec<String> {
        let (state, story) = (self.server.lock(), &self.story);
        let mut wrong = Vec::new();
        for (index, crashes) in story.jobs.iter().enumerate() {
            let job = &state.objects[&key("computejobs", &format!("j{index}"))];
            let cancelled = index == 0 && story.cancel.is_some();
            let phase = job["status"]["phase"].as_str().unwrap_or("none");
            let expected = if *crashes > 2 { "Failed" } else { "Succeeded" };
            if phase != expected && !(cancelled && phase == "Cancelled") {
                wrong.push(format!("j{index} is {phase}: {}", job["status"]));
            }
            let carrier = job["status"]["job"].as_str().unwrap_or_default();
            if story.on_standby && !carrier.starts_with("standby-") {
                wrong.push(format!("j{index} ran on {carrier:?}"));
            }
            if story.only_needed && job["status"]["attempt"] != u64::from(*crashes) + 1 {
                wrong.push(format!("j{index} has attempt {}", job["status"]["attempt"]));
            }
        }
        wrong
    }
}

/// Whether this time has come. It comes once.
fn is_due(time: &mut Option<Instant>) -> bool {
    time.take_if(|at| Instant::now() >= *at).is_some()
}
