//! Reconciles one job: what is known of it -> what is done, and its status.
//!
//! | step | what it is |
//! | --- | --- |
//! | fetch | reads memory, or else the store |
//! | observe | pure |
//! | validate | pure |
//! | admit | changes the queues, in memory |
//! | plan | pure, and core's |
//! | apply | starts and stops processes |
//! | update_status | commits to the store, last |

use uuid::Uuid;
use windlass_core::plan::{AdmissionDecision, Observed, needs_cpus};
use windlass_core::{Action, Job, Plan, plan};

use super::admit::{admit, preempted, wait_for_function};
use super::apply::apply;
use super::fetch::fetch;
use super::state::State;
use super::update_status::update_status;
use super::validate::missing_function;
use crate::attempt::observe;

/// Reconciles a job until there is nothing new. A job that needs CPUs joins its queue, unless
/// `decision` is what admission has just said to it.
pub(super) fn reconcile(state: &mut State, uid: Uuid, mut decision: Option<AdmissionDecision>) {
    loop {
        // fetch: reads memory, or else the store.
        let Some(job) = fetch(state, uid) else { return };
        let Some(active) = state.jobs.get(uid) else { return };
        let now = state.ctx.clock.now();
        // observe: pure.
        let attempts = observe::attempts(&active.attempts, &state.ctx.host);
        let preempted = preempted(state, uid, &attempts);
        let mut observed = Observed { attempts, preempted, ..Observed::default() };
        // validate: pure.
        let missing = missing_function(&job, &state.ctx.config.functions.current());
        // admit: changes the queues, in memory.
        let admitted = match missing {
            // What runs, or pauses before its next attempt, does not wait for it.
            Some(blocked) if needs_cpus(&job, &observed.attempts, now) => {
                Some(wait_for_function(state, uid, blocked))
            }
            _ => admit(state, uid, &job, &observed.attempts, &mut decision, now),
        };
        let Some(admission) = admitted else { return };
        observed.admission = admission;
        let Some(active) = state.jobs.get(uid) else { return };
        // plan: pure.
        let plan = plan(&job, &active.limits, &observed, now);
        if is_done(&plan, &job) {
            return state.settle(uid, &job, plan.requeue_after);
        }
        // apply: starts and stops processes.
        apply(state, uid, &job, &plan.actions);
        // update_status: commits to the store.
        update_status(state, uid, &job, plan.status);
    }
}

/// Whether nothing is left to do. The store itself deletes what has expired.
fn is_done(plan: &Plan, job: &Job) -> bool {
    plan.actions.iter().all(|action| *action == Action::Expire) && plan.status == job.status
}
