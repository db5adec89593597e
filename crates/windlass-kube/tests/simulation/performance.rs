//! One story that is being played, and what went wrong in it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::cluster;
use crate::controller::start;
use crate::objects::{
    create_job_in, create_queue, create_queue_of, create_shared_queues, create_stranger,
    create_urgent_job, create_warm_function, let_queue_preempt, set_node_cpus,
};
use crate::server::{Key, Server, is_live, key};
use crate::standby::is_waiting;
use crate::story::{ByHand, Story, must_fail};

/// How often the performance acts.
pub(crate) const STEP: Duration = Duration::from_millis(10);

/// A story that is being played.
pub(crate) struct Performance {
    pub(crate) story: Story,
    pub(crate) server: Server,
    cluster: JoinHandle<()>,
    controllers: Vec<JoinHandle<()>>,
    deaths: watch::Receiver<Vec<usize>>,
    /// Whether controllers that start make the pods of their batch Jobs.
    manages: bool,
    /// What is still to be done by hand, and since when the first batch Job is there.
    by_hand: Option<(ByHand, u64)>,
    first_batch_job: Option<Instant>,
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
    /// When the node has room for all.
    narrow_until: Option<Instant>,
    /// When the urgent job comes.
    urgent_at: Option<Instant>,
}

impl Performance {
    pub(crate) async fn begin(story: Story) -> Self {
        let server = Server::new(story.faults.clone());
        server.lock().random = story.spread;
        let deaths = server.lock().deaths.subscribe();
        server.lock().read_faults = story.read_faults;
        create_warm_function(&server, story.standbys);
        server.lock().drops_managed_by = story.drops_managed_by;
        story.node_cpus.into_iter().for_each(|(cpus, _)| set_node_cpus(&server, cpus));
        let manages = story.managed == Some(true);
        let mut controllers = Vec::new();
        if story.created_late {
            controllers.extend((0..story.controllers).map(|i| start(&server, i, manages)));
            // Their watches have begun by then.
            sleep(Duration::from_millis(500)).await;
        }
        create_queues(&server, &story);
        let cluster = cluster::play(server.clone(), story.longest, story.spread, story.claims);
        let cluster = tokio::spawn(cluster);
        if story.jobs_after > 0 {
            controllers.extend((0..story.controllers).map(|i| start(&server, i, manages)));
            sleep(Duration::from_millis(story.jobs_after)).await;
        }
        for (index, crashes) in story.jobs.iter().enumerate() {
            let queue = (story.shared && !index.is_multiple_of(2)).then_some("other");
            let uid = create_job_in(&server, queue, index, *crashes);
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
            cancel_at: story.cancel.map(after),
            stranger_until: story.stranger.map(after),
            unlabelled_until: None,
            absent_until: None,
            lost: Vec::new(),
            suspended: None,
            no_queue_until: None,
            narrow_until: story.node_cpus.map(|(_, until)| after(until)),
            urgent_at: story.urgent_after.map(after),
            server,
            story,
        }
    }

    /// Does what is due now.
    pub(crate) fn act(&mut self) {
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
        if is_due(&mut self.urgent_at) {
            create_urgent_job(&self.server);
        }
        if is_due(&mut self.narrow_until) {
            set_node_cpus(&self.server, 1_000);
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
        let since = *self.first_batch_job.get_or_insert_with(Instant::now);
        if since.elapsed() < Duration::from_millis(after) {
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
    pub(crate) fn is_over(&self) -> bool {
        let state = self.server.lock();
        let phase = |job: &Value| job["status"]["phase"].as_str().unwrap_or("").to_owned();
        let over =
            |job: &Value| matches!(phase(job).as_str(), "Succeeded" | "Failed" | "Cancelled");
        self.urgent_at.is_none()
            && state.all("computejobs").all(|(_, job)| over(job))
            && state.all("jobs").all(|(_, job)| is_waiting(job))
            && state.all("pods").all(|(_, pod)| is_waiting(pod))
    }

    pub(crate) fn writes(&self) -> usize {
        self.server.lock().writes.len()
    }

    pub(crate) fn stop(&self) {
        self.cluster.abort();
        self.controllers.iter().for_each(JoinHandle::abort);
    }

    /// The jobs that have not ended as they should.
    pub(crate) fn wrong_jobs(&self) -> Vec<String> {
        let (state, story) = (self.server.lock(), &self.story);
        let mut wrong = Vec::new();
        for (index, crashes) in story.jobs.iter().enumerate() {
            let job = &state.objects[&key("computejobs", &format!("j{index}"))];
            let cancelled = index == 0 && story.cancel.is_some();
            let phase = job["status"]["phase"].as_str().unwrap_or("none");
            let expected = if must_fail((*crashes).into()) { "Failed" } else { "Succeeded" };
            if phase != expected && !(cancelled && phase == "Cancelled") {
                wrong.push(format!("j{index} is {phase}: {}", job["status"]));
            }
            // What the job did not cause does not count.
            if story.node_cpus.is_some() && !job["status"]["retries"].is_null() {
                wrong.push(format!("j{index} has retries {}", job["status"]["retries"]));
            }
            let carrier = job["status"]["job"].as_str().unwrap_or_default();
            if story.on_standby && !carrier.starts_with("standby-") {
                wrong.push(format!("j{index} ran on {carrier:?}"));
            }
            if story.only_needed && job["status"]["attempt"] != u64::from(*crashes) + 1 {
                wrong.push(format!("j{index} has attempt {}", job["status"]["attempt"]));
            }
        }
        drop(state);
        wrong.extend(self.wrong_preemptions());
        wrong
    }

    /// Of a story in which jobs are ended for an urgent one: who has ended otherwise, or whose end counts.
    fn wrong_preemptions(&self) -> Vec<String> {
        if self.story.urgent_after.is_none() {
            return Vec::new();
        }
        let state = self.server.lock();
        let jobs = state.all("computejobs").map(|(key, job)| (&key.2, &job["status"]));
        let is_wrong = |name: &str, status: &Value| {
            let crashes = name.strip_prefix('j').and_then(|index| index.parse::<usize>().ok());
            let crashes = crashes.map_or(0, |index| self.story.jobs[index]);
            status["phase"] == "Succeeded"
                && status["retries"].as_u64().unwrap_or(0) > crashes.into()
                || name == "urgent" && status["phase"] != "Succeeded"
        };
        let wrong = jobs.filter(|(name, status)| is_wrong(name, status));
        wrong.map(|(name, status)| format!("{name} is {status}")).collect()
    }
}

/// Makes the queues of a story.
fn create_queues(server: &Server, story: &Story) {
    if let Some(cpus) = story.quota.filter(|_| story.shared) {
        create_shared_queues(server, cpus);
    } else if let Some(cpus) = story.quota {
        create_queue(server, cpus);
        if matches!(story.by_hand, Some((ByHand::DeleteQueue(_), _))) {
            // With another queue beside it. Where it was the only one, a job that names none passes when it is
            // retried: docs/queues.md.
            create_queue_of(server, "other", json!({ "cpus": 1 }));
        }
    }
    if story.urgent_after.is_some() {
        let_queue_preempt(server, story.quota.filter(|_| story.shared));
    }
}

/// Whether this time has come. It comes once.
fn is_due(time: &mut Option<Instant>) -> bool {
    time.take_if(|at| Instant::now() >= *at).is_some()
}
