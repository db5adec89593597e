//! `windlass list`: jobs, filtered.

use std::process::ExitCode;

use windlass_core::Job;
use windlass_core::jobs::Filter;

use crate::cli::List;
use crate::place::Place;
use crate::{log, show};

pub(crate) async fn list(place: &Place, args: &List) -> anyhow::Result<ExitCode> {
    let mut filter = Filter {
        function: args.function.clone(),
        queue: args.queue.clone(),
        phase: args.phase,
        ..Filter::default()
    };
    let most = args.limit as usize;
    let mut jobs: Vec<Job> = Vec::new();
    let is_whole = loop {
        // One more than is shown tells whether there are more.
        let left = most - jobs.len() + 1;
        filter.limit = u32::try_from(left).unwrap_or(u32::MAX);
        let page = place.jobs.list(&place.namespace, &filter).await?;
        jobs.extend(page.items);
        if jobs.len() > most {
            jobs.truncate(most);
            break false;
        }
        match page.continue_from {
            Some(token) => filter.continue_from = Some(token),
            None => break true,
        }
    };
    show::many(&jobs, args.output)?;
    if !is_whole {
        log::tell(&format!(
            "windlass: there are more than {most} jobs; --limit N shows more, --function, --phase and \
             --queue fewer"
        ));
    } else if jobs.is_empty() {
        log::tell(&format!("windlass: there are no such jobs in namespace {:?}", place.namespace));
    }
    Ok(ExitCode::SUCCESS)
}
