//! Who of several controllers acts: the holder of a Lease, as every Kubernetes component does it.
//!
//! It saves work, it is not what makes Windlass safe: a lease does not fence, and two controllers that
//! both believe to hold it break no promise (names of attempts are computed, status is written by
//! compare-and-set, grants are [claimed](crate::controller::claims)). The holder renews every
//! [`RENEW`]; another takes over when it has seen no renewal for [`DURATION`] on its own monotonic
//! clock, or at once when the holder has let go.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tracing::{debug, info, warn};
use windlass_core::Error;

use crate::error::from_kube;

/// Name of the Lease.
pub(crate) const LEASE: &str = "windlass-controller";

/// How long a Lease holds that is not renewed.
const DURATION: Duration = Duration::from_secs(10);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(3);
/// The holder stops acting when no renewal has succeeded for this time: before another may begin.
const GIVE_UP: Duration = Duration::from_secs(8);
/// How often another looks.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time of one call.
const CALL: Duration = Duration::from_secs(3);

/// One candidate.
pub(crate) struct Candidate {
    leases: Api<Lease>,
    namespace: String,
    identity: String,
    /// The Lease as it was last seen to change, and when.
    seen: Option<(Lease, Instant)>,
}

impl Candidate {
    pub(crate) fn new(client: Client, namespace: &str, identity: String) -> Self {
        let leases = Api::namespaced(client, namespace);
        Self { leases, namespace: namespace.into(), identity, seen: None }
    }

    /// Tells `leads` whether this process is the holder, and `is_known` whether the API server knows it and lets it ask,
    /// as long as it is polled.
    pub(crate) async fn run(mut self, leads: &watch::Sender<bool>, is_known: &watch::Sender<bool>) {
        let mut renewed: Option<Instant> = None;
        loop {
            let asked = Instant::now();
            let held = tokio::time::timeout(CALL, self.try_hold()).await;
            note_refusal(&held, is_known);
            match held {
                Ok(Ok(true)) => {
                    renewed = Some(asked);
                    // Who follows it is told of a change alone: each beginning has every job looked at.
                    if leads.send_if_modified(|leads| !std::mem::replace(leads, true)) {
                        info!(identity = self.identity, "leads");
                    }
                }
                Ok(Ok(false)) => {
                    renewed = None;
                    stand_by(leads, "another holds the lease");
                }
                Ok(Err(error)) => {
                    debug!(%error, "the lease cannot be renewed");
                    self.doubt(leads, &mut renewed, &error.to_string());
                }
                Err(_) => self.doubt(leads, &mut renewed, "the API server does not answer"),
            }
            tokio::time::sleep(if renewed.is_some() { RENEW } else { LOOK }).await;
        }
    }

    /// Lets go, so that another need not wait.
    pub(crate) async fn release(client: Client, namespace: &str, identity: &str) {
        let leases: Api<Lease> = Api::namespaced(client, namespace);
        let released = tokio::time::timeout(CALL, async {
            let Some(mut lease) = leases.get_opt(LEASE).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(identity) {
                return Ok(());
            }
            spec.holder_identity = None;
            leases.replace(LEASE, &PostParams::default(), &lease).await.map(drop)
        });
        match released.await {
            Ok(Ok(())) => info!("the lease is released"),
            Ok(Err(error)) => warn!(%error, "the lease is not released; it ends by itself"),
            Err(_) => warn!("the lease is not released in time; it ends by itself"),
        }
    }

    /// A renewal failed: the holder acts on until another may have taken over.
    fn doubt(&self, leads: &watch::Sender<bool>, renewed: &mut Option<Instant>, why: &str) {
        if renewed.is_none_or(|at| at.elapsed() + RENEW >= GIVE_UP) {
            *renewed = None;
            stand_by(leads, why);
        }
    }

    /// Takes or renews the Lease, if that may be done now. Whether it is ours.
    async fn try_hold(&mut self) -> Result<bool, Error> {
        let Some(current) = self.leases.get_opt(LEASE).await.map_err(from_kube)? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(LEASE.into()),
                    namespace: Some(self.namespace.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.held(None)),
            };
            let created = self.leases.create(&PostParams::default(), &lease).await;
            return self.took(created);
        };
        let spec = current.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder != self.identity && !holder.is_empty() && !self.has_expired(&current) {
            return Ok(false);
        }
        let lease = Lease { metadata: current.metadata, spec: Some(self.held(Some(&spec))) };
        let replaced = self.leases.replace(LEASE, &PostParams::default(), &lease).await;
        self.took(replaced)
    }

    fn took(&self, written: Result<Lease, kube::Error>) -> Result<bool, Error> {
        match written.map_err(from_kube) {
            Ok(_) => Ok(true),
            // Another was faster.
            Err(Error::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether nobody has renewed it for its duration, by this process's own clock.
    fn has_expired(&mut self, current: &Lease) -> bool {
        let duration = current
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(DURATION, Duration::from_secs);
        match &self.seen {
            Some((seen, since)) if seen == current => since.elapsed() >= duration,
            _ => {
                self.seen = Some((current.clone(), Instant::now()));
                false
            }
        }
    }

    fn held(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let mine = before
            .filter(|before| before.holder_identity.as_deref() == Some(self.identity.as_str()));
        let transitions = before.and_then(|before| before.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: mine.map_or_else(|| now.clone(), |mine| mine.acquire_time.clone()),
            renew_time: now,
            lease_transitions: Some(if mine.is_some() || before.is_none() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }
}

/// A token that is not good any more, or a right that was taken away, needs somebody to look: whoever asks whether this
/// process is ready is told so. An API server that does not answer says nothing about either.
fn note_refusal(held: &Result<Result<bool, Error>, Elapsed>, is_known: &watch::Sender<bool>) {
    let known = match held {
        Ok(Err(Error::Denied(why))) => {
            if *is_known.borrow() {
                warn!(why, "this controller may not ask for the lease");
            }
            false
        }
        Ok(Ok(_)) => true,
        Ok(Err(_)) | Err(_) => return,
    };
    is_known.send_if_modified(|before| std::mem::replace(before, known) != known);
}

fn stand_by(leads: &watch::Sender<bool>, why: &str) {
    if leads.send_if_modified(|leads| std::mem::replace(leads, false)) {
        warn!(why, "leads no more");
    }
}
