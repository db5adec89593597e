//! Starts an attempt on a standby that waits, so that no pod has to be made first.
//!
//! 1. A new standby is created under the attempt's name. Its annotations say which standby the attempt is. Only one
//!    batch Job can have that name, so this decides it, whoever else acts; and the pool is as full as before.
//! 2. The standby is claimed: one write, which fails if it has changed.
//! 3. Its pod gets labels, what the worker is told, and the CPUs.
//!
//! Who finds the name taken follows what it says. A standby that is lost before its claim is replaced by the one that has
//! the name. What is claimed and not carried on [is given back](super::keep_standbys).

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use tracing::info;
use windlass_core::status::reasons;
use windlass_core::{Error, name};

use super::apply::{Actor, Applied};
use super::list_live::list_pods_of;
use super::on_watch::batch_job_found;
use super::refused_status::is_refusal;
use crate::attempt::build_standby::{StandbyTemplate, claim_patch, pod_patch, resize_patch};
use crate::attempt::new_attempt::NewAttempt;
use crate::attempt::owner::{is_attempt, job_of};
use crate::attempt::standby::{Exchange, Standby, claimed_since, read_exchange, read_standby};
use crate::error::{call, from_kube, is_status, within_deadline};
use crate::labels::AttemptId;

/// Tries of one claim: each time somebody else, such as the Job controller, has written.
const MAX_TRIES: u32 = 5;

/// What a standby is to an attempt.
enum Standing {
    /// It is that attempt already.
    Ours(Box<batch::Job>),
    /// It is nobody's yet.
    Free(Box<Standby>),
    /// It is another attempt.
    Others,
    /// It was deleted, and nothing of it runs.
    Gone,
}

impl Actor<'_> {
    /// Starts an attempt on a standby. `None` when none waits that could be it.
    pub(super) async fn start_on_standby(
        &self,
        attempt: &NewAttempt<'_>,
    ) -> Result<Option<Applied>, Error> {
        let Some((template, standby)) = self.take_standby(attempt) else { return Ok(None) };
        let job_uid = attempt.job.metadata.uid.as_str().into();
        let exchange = Exchange {
            attempt: AttemptId { job_uid, number: attempt.number },
            name: standby.name.clone(),
            uid: standby.uid.clone(),
        };
        let name =
            name::attempt(&attempt.job.metadata.name, &attempt.job.metadata.uid, attempt.number);
        let batch_job = template.batch_job(name, Some(&exchange));
        match within_deadline(self.batch_jobs().create(&PostParams::default(), &batch_job)).await? {
            Ok(named) => self.follow(attempt, &exchange, &named, Some(standby)).await.map(Some),
            Err(error) => {
                self.ctx.standbys.put_back(&exchange.uid);
                match error {
                    // Another controller was first, or this one before a crash.
                    error if is_status(&error, 409) => Ok(None),
                    // What it refuses, it refuses for an attempt as well, and says so there.
                    kube::Error::Api(status) if is_refusal(&status) => Ok(None),
                    error => Err(from_kube(error)),
                }
            }
        }
    }

    fn take_standby(&self, attempt: &NewAttempt<'_>) -> Option<(StandbyTemplate, Standby)> {
        let function = self.function?;
        let is_warm = function.spec.warm.as_ref().is_some_and(|warm| warm.min > 0);
        // What has failed once starts anew, and so does what a standby has lost.
        if !is_warm || attempt.number > 1 || !self.ctx.standbys.is_usable() {
            return None;
        }
        let template = StandbyTemplate::new(function, attempt.report, attempt.worker).ok()?;
        // One that has the name of an attempt may still have to become it, until that attempt was seen.
        let may_claim = |standby: &Standby| {
            let exchange = standby.exchange.as_ref();
            exchange.is_none_or(|Exchange { attempt, .. }| {
                self.attempts.objects(&attempt.job_uid, attempt.number).is_some()
                    || self.ctx.stores.job_of(attempt).is_none_or(|job| job.is_finished())
            })
        };
        let of = (function.metadata.namespace.as_str(), function.metadata.name.as_str());
        let standby = self.ctx.standbys.take(of, &template.digest, may_claim)?;
        Some((template, standby))
    }

    /// Goes on with an attempt whose name a standby has. `None` when the name says nothing of this attempt.
    pub(super) async fn follow_name(
        &self,
        attempt: &NewAttempt<'_>,
        named: &batch::Job,
    ) -> Result<Option<Applied>, Error> {
        let is_its = |exchange: &Exchange| {
            *exchange.attempt.job_uid == *attempt.job.metadata.uid
                && exchange.attempt.number == attempt.number
        };
        match read_exchange(named).filter(is_its) {
            Some(exchange) => self.follow(attempt, &exchange, named, None).await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes the attempt what its name says: that standby, or the one that has the name if the other is lost. `known` is
    /// that standby as a watch has shown it.
    async fn follow(
        &self,
        attempt: &NewAttempt<'_>,
        exchange: &Exchange,
        named: &batch::Job,
        known: Option<Standby>,
    ) -> Result<Applied, Error> {
        if let Some(claimed) = self.claim(attempt, &exchange.name, &exchange.uid, known).await? {
            return self.hand_over(attempt, &claimed).await;
        }
        let (name, uid) = (named.name_any(), named.uid().unwrap_or_default());
        match self.claim(attempt, &name, &uid, None).await? {
            Some(claimed) => self.hand_over(attempt, &claimed).await,
            None => Ok(Applied::Refused {
                reason: reasons::NAME_TAKEN.into(),
                message: format!("the batch Job {name:?} runs another job"),
                is_final: false,
            }),
        }
    }

    /// Claims a standby for this attempt, in the version that is known if there is one. `None` when it never will be this
    /// attempt.
    async fn claim(
        &self,
        attempt: &NewAttempt<'_>,
        name: &str,
        uid: &str,
        mut known: Option<Standby>,
    ) -> Result<Option<batch::Job>, Error> {
        for _ in 0..MAX_TRIES {
            let standby = match known.take() {
                Some(known) => known,
                None => match self.standing(attempt, name, uid).await? {
                    Standing::Ours(claimed) => return Ok(Some(*claimed)),
                    Standing::Others | Standing::Gone => return Ok(None),
                    Standing::Free(standby) => *standby,
                },
            };
            let patch = Patch::Merge(claim_patch(&standby, attempt, self.ctx.now()));
            let params = PatchParams::default();
            match within_deadline(self.batch_jobs().patch(name, &params, &patch)).await? {
                Ok(claimed) => return Ok(Some(claimed)),
                Err(error) if is_status(&error, 409) || is_status(&error, 404) => {}
                Err(error) => return Err(from_kube(error)),
            }
        }
        Err(Error::Conflict(format!("the standby {name:?} is being written too often")))
    }

    /// What a standby is to this attempt, as the API server says.
    async fn standing(
        &self,
        attempt: &NewAttempt<'_>,
        name: &str,
        uid: &str,
    ) -> Result<Standing, Error> {
        let found = call(self.batch_jobs().get_opt(name)).await?;
        let is_it = |found: &batch::Job| found.metadata.uid.as_deref() == Some(uid);
        match found.filter(is_it) {
            Some(found) if is_attempt(&found, attempt.job, attempt.number) => {
                Ok(Standing::Ours(Box::new(found)))
            }
            Some(found) if job_of(&found).is_some() => Ok(Standing::Others),
            Some(found) if found.metadata.deletion_timestamp.is_none() => {
                let standby = read_standby(&found);
                Ok(standby.map_or(Standing::Others, |free| Standing::Free(Box::new(free))))
            }
            // Whoever would claim it now has an older version of it.
            Some(_) => Ok(Standing::Gone),
            None => self.is_gone(attempt, uid).await,
        }
    }

    /// A standby that was deleted may have been this attempt before: its pod must be gone, too.
    async fn is_gone(&self, attempt: &NewAttempt<'_>, uid: &str) -> Result<Standing, Error> {
        let pods = list_pods_of(self.ctx, &attempt.job.metadata.namespace, uid).await?;
        match pods.first() {
            Some(pod) => Err(Error::Conflict(format!(
                "the pod {:?} of a standby that was deleted is still there",
                pod.name_any()
            ))),
            None => Ok(Standing::Gone),
        }
    }

    /// Counts a claimed standby as the attempt, and gives its pod what it needs. It may be repeated.
    async fn hand_over(
        &self,
        attempt: &NewAttempt<'_>,
        claimed: &batch::Job,
    ) -> Result<Applied, Error> {
        batch_job_found(self.ctx, claimed.clone());
        let namespace = &attempt.job.metadata.namespace;
        let batch_job_uid = claimed.uid().unwrap_or_default();
        let known = self.ctx.standbys.pod_of(&batch_job_uid).map(|pod| (pod.name, pod.uid));
        let pod = match known {
            Some(pod) => Some(pod),
            None => {
                let pods = list_pods_of(self.ctx, namespace, &batch_job_uid).await?;
                pods.first().map(|pod| (pod.name_any(), pod.uid().unwrap_or_default()))
            }
        };
        let (name, uid) = pod.ok_or_else(|| Error::Conflict("a standby has no pod yet".into()))?;
        let since = claimed_since(&claimed.metadata).unwrap_or_else(|| self.ctx.now());
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = PatchParams::default();
        let resized = Patch::Strategic(resize_patch(attempt)?);
        let told = Patch::Merge(pod_patch(&uid, attempt, since)?);
        // At once: the worker begins when it has both.
        let both = tokio::join!(
            call(pods.patch_resize(&name, &params, &resized)),
            call(pods.patch(&name, &params, &told)),
        );
        both.0.and(both.1)?;
        let standby = claimed.name_any();
        info!(job = %self.job.key(), attempt = attempt.number, standby, "attempt on a standby");
        Ok(Applied::Created { cpus: attempt.cpus, without_pod: None })
    }
}
