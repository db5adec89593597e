//! Who waits, at which place of its line, and when it is likely to start.

use std::collections::HashMap;

use jiff::Timestamp;
use windlass_core::estimate::Estimate;
use windlass_core::status::Place;
use windlass_core::{Job, Phase};

use crate::backend::resolve::Backend;
use crate::flags::output_form::OutputForm;
use crate::output::age::age;
use crate::output::objects::Shown;

/// What is estimated of the jobs here, where it is shown and somebody estimates. A server of an earlier version does not,
/// and a cluster without a gateway neither.
pub(crate) async fn estimates(backend: &Backend, shape: OutputForm) -> Vec<Estimate> {
    match shape {
        OutputForm::Table | OutputForm::Wide => {
            let told = backend.jobs.estimates(&backend.namespace).await;
            told.map(|told| told.items).unwrap_or_default()
        }
        OutputForm::Json | OutputForm::Yaml | OutputForm::Name => Vec::new(),
    }
}

/// Gives the jobs that wait their places, for a table.
pub(crate) async fn place(backend: &Backend, jobs: &mut [Job], shape: OutputForm) {
    let waits = |job: &Job| job.status.phase == Some(Phase::Queued);
    if !jobs.iter().any(waits) {
        return;
    }
    let told = estimates(backend, shape).await;
    let told: HashMap<_, _> = told.iter().map(|told| (told.name.as_str(), told)).collect();
    for job in jobs.iter_mut().filter(|job| waits(job)) {
        let Some(told) = told.get(job.metadata.name.as_str()) else { continue };
        let Some(position) = told.position else { continue };
        let known = job.status.waiting.take().and_then(|place| place.estimated_start);
        let estimated_start = told.estimated_start_time.or(known);
        job.status.waiting = Some(Place { position, estimated_start });
    }
}

impl Shown for Estimate {
    const KIND: &'static str = "Estimate";

    fn name(&self) -> &str {
        &self.name
    }

    fn columns() -> (&'static [&'static str], &'static [&'static str]) {
        (&["WAITING-JOB", "QUEUE", "POSITION", "STARTS-IN", "NOT-TOLD"], &["EARLIEST", "LATEST"])
    }

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let after = |time: Option<Timestamp>| time.map(|time| age(now, time)).unwrap_or_default();
        vec![
            self.name.clone(),
            self.queue.clone().unwrap_or_default(),
            self.position.map(|position| position.to_string()).unwrap_or_default(),
            after(self.estimated_start_time),
            self.not_told.clone().unwrap_or_default(),
            after(self.earliest_start_time),
            after(self.latest_start_time),
        ]
    }
}
