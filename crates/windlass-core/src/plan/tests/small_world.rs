//! A small world: a job, its attempts, and an observer whose view may be old.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::fixtures::*;
use crate::plan::*;
use crate::report::{self, Outcome};
use crate::status::Truth;

/// How long an attempt of this world may wait for a node: time passes in steps of up to four seconds.
const UNSCHEDULABLE_TIMEOUT: Duration = Duration::from_secs(2);

/// A world with one job: what is durable, and what an observer with an old view would see.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) job: Job,
    pub(super) version: u64,
    pub(super) attempts: BTreeMap<AttemptNumber, Attempt>,
    pub(super) now: i64,
    pub(super) expired: bool,
    pub(super) committed: u32,
    pub(super) history: Vec<(Job, Vec<Attempt>)>,
}

/// What may happen besides a reconcile.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Pass(i64),
    Run,
    /// No node has room for it, and its scheduler says so.
    FindNoNode,
    Succeed {
        told: bool,
    },
    Crash {
        told: bool,
    },
    Vanish {
        may_restart: bool,
    },
    /// What has vanished is started anew by its batch Job.
    Revive,
    Cancel,
    Reconcile,
    /// Stopped after so many actions; the status is not written.
    ReconcilePrefix(usize),
    /// With the view of so many reconciles ago, of the job, the attempts or both.
    ReconcileStale {
        age: usize,
        job: bool,
        attempts: bool,
    },
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (1_i64..4_000).prop_map(Step::Pass),
        3 => Just(Step::Run),
        2 => Just(Step::FindNoNode),
        1 => any::<bool>().prop_map(|told| Step::Succeed { told }),
        2 => any::<bool>().prop_map(|told| Step::Crash { told }),
        1 => any::<bool>().prop_map(|may_restart| Step::Vanish { may_restart }),
        1 => Just(Step::Revive),
        1 => Just(Step::Cancel),
        6 => Just(Step::Reconcile),
        2 => (0_usize..2).prop_map(Step::ReconcilePrefix),
        3 => (0_usize..8, any::<bool>(), any::<bool>())
            .prop_map(|(age, job, attempts)| Step::ReconcileStale { age, job, attempts }),
    ]
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            job: job(),
            version: 1,
            attempts: BTreeMap::new(),
            now: 0,
            expired: false,
            committed: 0,
            history: Vec::new(),
        }
    }

    pub(super) fn live(&self) -> usize {
        self.attempts.values().filter(|a| a.is_live()).count()
    }

    pub(super) fn live_attempt(&mut self) -> Option<&mut Attempt> {
        self.attempts.values_mut().rev().find(|a| a.is_live())
    }

    /// What a driver sees: the attempt that the status names is looked up in the world itself.
    pub(super) fn observe(&self, job: &Job, attempts: Vec<Attempt>) -> Observed {
        let mut attempts = attempts;
        if let Some(named) = job.status.attempt
            && !job.status.is_finished()
            && attempts.iter().all(|a| a.number != named)
        {
            attempts = self.attempts.values().cloned().collect();
            if attempts.iter().all(|a| a.number != named) {
                let end = End::Unreported {
                    reason: FailureReason::Lost,
                    message: "gone".into(),
                    at: at(self.now),
                };
                attempts.push(Attempt {
                    is_present: false,
                    ..attempt(named, AttemptState::Ended(end))
                });
                attempts.sort_by_key(|a| a.number);
            }
        }
        let needs = needs_cpus(job, &attempts, at(self.now));
        let admission =
            if needs { AdmissionDecision::Granted(2) } else { AdmissionDecision::NotAsked };
        let unschedulable_timeout = Some(UNSCHEDULABLE_TIMEOUT);
        Observed { admission, attempts, unschedulable_timeout, ..Observed::default() }
    }

    pub(super) fn view(&self) -> (Job, Vec<Attempt>) {
        (self.job.clone(), self.attempts.values().cloned().collect())
    }

    pub(super) fn reconcile(&mut self, view: (Job, Vec<Attempt>), prefix: usize) -> Plan {
        let (job, attempts) = view;
        let seen = self.observe(&job, attempts);
        let plan = plan(&job, &limits(), &seen, at(self.now));
        for action in plan.actions.iter().take(prefix) {
            self.apply(&job, action);
        }
        if prefix > plan.actions.len() {
            self.write(&job, &plan.status);
        }
        plan
    }

    pub(super) fn apply(&mut self, read: &Job, action: &Action) {
        match action {
            Action::Start { .. } if read.metadata.resource_version != self.version.to_string() => {}
            Action::Start { attempt: number, cpus } => {
                let now = at(self.now);
                self.attempts.entry(*number).or_insert_with(|| Attempt {
                    cpus: *cpus,
                    created: now,
                    startable_since: Some(now),
                    ..attempt(*number, starting())
                });
            }
            // A kubelet ends the process at once in this world.
            Action::Remove { attempt } => drop(self.attempts.remove(attempt)),
            Action::Expire => self.expired = true,
        }
    }

    /// Compare and set, as the API server does it, with the rules of the CRD.
    pub(super) fn write(&mut self, read: &Job, status: &JobStatus) {
        if read.metadata.resource_version != self.version.to_string() || *status == self.job.status
        {
            return;
        }
        let old = &self.job.status;
        assert!(!old.is_finished(), "a finished status was changed: {old:?} -> {status:?}");
        assert!(old.attempt <= status.attempt, "the attempt went backwards");
        assert!(old.retries <= status.retries, "the retries went backwards");
        self.committed += u32::from(status.result.is_some());
        self.version += 1;
        self.job.status = status.clone();
        self.job.metadata.resource_version = self.version.to_string();
    }

    /// The attempt ends; its worker's report arrives at once, or only its last words are left.
    pub(super) fn end(&mut self, outcome: Outcome, reported: bool) {
        let now = at(self.now);
        let Some(attempt) = self.live_attempt() else { return };
        if !matches!(attempt.state, AttemptState::Running { .. }) {
            return;
        }
        let ending = ending(outcome, now);
        attempt.state = AttemptState::Ended(End::Reported(ending.clone()));
        let number = attempt.number;
        let job = self.job.clone();
        if reported
            && report::check(&job, &job.metadata.uid, number).is_ok()
            && let Ok(status) = report::finish(&job, &limits(), number, &ending)
        {
            self.write(&job, &status);
        }
    }

    pub(super) fn happen(&mut self, step: &Step) {
        match step {
            Step::Pass(milliseconds) => self.now += milliseconds,
            Step::Run => {
                let now = at(self.now);
                if let Some(attempt) = self.live_attempt() {
                    attempt.state = AttemptState::Running { since: now };
                    attempt.unschedulable_since = None;
                }
            }
            Step::FindNoNode => {
                let now = at(self.now);
                if let Some(attempt) = self.live_attempt()
                    && matches!(attempt.state, AttemptState::Starting { .. })
                {
                    attempt.unschedulable_since.get_or_insert(now);
                }
            }
            Step::Succeed { told } => self.end(Outcome::Succeeded(result()), *told),
            Step::Crash { told } => self.end(crashed(), *told),
            Step::Vanish { may_restart } => {
                let now = at(self.now);
                if let Some(attempt) = self.live_attempt() {
                    attempt.may_restart = *may_restart;
                    attempt.state = AttemptState::Ended(End::Unreported {
                        reason: FailureReason::Lost,
                        message: "evicted".into(),
                        at: now,
                    });
                }
            }
            Step::Revive => {
                for attempt in self.attempts.values_mut().filter(|attempt| attempt.may_restart) {
                    (attempt.state, attempt.may_restart) = (starting(), false);
                }
            }
            Step::Cancel => {
                if !self.job.spec.cancel {
                    self.job.spec.cancel = true;
                    self.version += 1;
                    self.job.metadata.resource_version = self.version.to_string();
                }
            }
            Step::Reconcile => {
                let view = self.view();
                self.reconcile(view, usize::MAX);
            }
            Step::ReconcilePrefix(prefix) => {
                let view = self.view();
                self.reconcile(view, *prefix);
            }
            Step::ReconcileStale { age, job, attempts } => {
                let (new_job, new_attempts) = self.view();
                let index = self.history.len().saturating_sub(1 + age);
                let (old_job, old_attempts) =
                    self.history.get(index).cloned().unwrap_or_else(|| self.view());
                let view = (
                    if *job { old_job } else { new_job },
                    if *attempts { old_attempts } else { new_attempts },
                );
                self.reconcile(view, usize::MAX);
            }
        }
        self.history.push(self.view());
    }

    /// Lets everything that is under way end well, with the whole truth in view.
    pub(super) fn settle(&mut self) {
        for _ in 0..50 {
            self.happen(&Step::Reconcile);
            self.happen(&Step::Pass(61_000));
            self.happen(&Step::Reconcile);
            self.happen(&Step::Run);
            self.happen(&Step::Succeed { told: false });
            self.happen(&Step::Reconcile);
            if self.job.status.is_finished() && self.attempts.is_empty() {
                return;
            }
        }
        panic!("did not settle: {self:#?}");
    }

    pub(super) fn check(&self) -> Result<(), TestCaseError> {
        prop_assert!(self.live() <= 1, "{} live attempts: {:#?}", self.live(), self.attempts);
        prop_assert!(self.committed <= 1, "{} committed results", self.committed);
        // What kstatus says: in progress until the end, and then failed or not.
        let status = &self.job.status;
        let is_true = |kind| told(status, kind).is_some_and(|(status, _)| status == Truth::True);
        let said = (is_true(ConditionType::Reconciling), is_true(ConditionType::Stalled));
        let is_unfinished = status.phase.is_some() && !status.is_finished();
        let expected = (is_unfinished, status.phase == Some(Phase::Failed));
        prop_assert_eq!(said, expected, "{:?}: {:?}", status.phase, status.conditions);
        Ok(())
    }
}
