//! `windlass list`: jobs, filtered, in an order.

use crate::flags::duration::duration;
use crate::flags::names::{name, phase};
use crate::flags::output_form::OutputForm;
use clap::{Args, ValueEnum};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use windlass_core::Phase;

use windlass_core::Job;
use windlass_core::jobs::Filter;
use windlass_core::labels::Selector;

use crate::backend::resolve::Backend;
use crate::commands::waiting;
use crate::output::log;
use crate::output::objects;
use crate::process::{self, INTERRUPTED};

/// How often `--watch` asks: neither a server nor a cluster's gateway tells of all jobs by itself.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// List jobs, the newest last.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only of this function
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) function: Option<String>,
    /// Only in this phase: Queued, Starting, Running, Succeeded, Failed or Cancelled
    #[arg(long, value_name = "PHASE", value_parser = phase)]
    pub(crate) phase: Option<Phase>,
    /// Only of this queue
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub(crate) queue: Option<String>,
    /// Only with such labels, as `kubectl get -l` takes them: team=blue,stage in (test,dev),!draft
    #[arg(short = 'l', long, value_name = "SELECTOR", value_parser = Selector::parse, default_value = "", hide_default_value = true)]
    pub(crate) selector: Selector,
    /// Only those that were created within this time, such as 90s, 30m, 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) since: Option<Duration>,
    /// Their order; jobs that are equal in it are in the order of their creation
    #[arg(long, value_name = "ORDER", default_value = "created")]
    pub(crate) sort: Order,
    /// At most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// Show them, and then each that is new or has changed, until it is interrupted
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Form of the output
    #[arg(short, long, default_value = "table")]
    pub(crate) output: OutputForm,
}

/// An order of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// By their creation, the newest last
    Created,
    /// By their names
    Name,
    /// By their functions
    Function,
    /// By their queues
    Queue,
    /// From those that wait to those that have ended
    Phase,
    /// By their ends, the latest last; before them those that have not ended
    Finished,
}

impl Order {
    fn compare(self, a: &Job, b: &Job) -> Ordering {
        let names = || a.metadata.name.cmp(&b.metadata.name);
        let finished =
            |job: &Job| job.status.timeline.finished.filter(|_| job.status.is_finished());
        let order = match self {
            Self::Created => Ordering::Equal,
            Self::Name => names(),
            Self::Function => a.spec.function.cmp(&b.spec.function),
            Self::Queue => a.spec.queue().cmp(b.spec.queue()),
            Self::Phase => step(a).cmp(&step(b)),
            Self::Finished => finished(a).cmp(&finished(b)),
        };
        let created = |job: &Job| job.metadata.creation_timestamp;
        order.then_with(|| created(a).cmp(&created(b))).then_with(names)
    }
}

/// How far a job is in the life of one.
fn step(job: &Job) -> Option<usize> {
    Phase::ALL.iter().position(|phase| Some(*phase) == job.status.phase)
}

pub(crate) async fn list(backend: &Backend, args: &List) -> anyhow::Result<ExitCode> {
    // Once: a job that is watched and was young at first stays.
    let since = args.since.map(|since| Timestamp::now() - since);
    let (mut jobs, is_whole) = newest(backend, args, since).await?;
    if !args.watch {
        waiting::place(backend, &mut jobs, args.output).await;
    }
    let most = args.limit;
    if args.watch {
        objects::some(&jobs.iter().collect::<Vec<_>>(), args.output, true)?;
    } else {
        objects::many(&jobs, args.output)?;
    }
    if !is_whole {
        log::print_line(&format!(
            "windlass: there are more than {most} jobs, of which these are the newest; --limit N shows more, \
             --since, --selector, --function, --phase and --queue fewer"
        ));
    } else if jobs.is_empty() && !args.watch {
        log::print_line(&format!(
            "windlass: there are no such jobs in namespace {:?}",
            backend.namespace
        ));
    }
    if args.watch { watch(backend, args, since, jobs).await } else { Ok(ExitCode::SUCCESS) }
}

/// Shows each job that is new or has changed.
async fn watch(
    backend: &Backend,
    args: &List,
    since: Option<Timestamp>,
    shown: Vec<Job>,
) -> anyhow::Result<ExitCode> {
    let by_uid = |job: Job| (job.metadata.uid.clone(), job);
    let mut shown: HashMap<String, Job> = shown.into_iter().map(by_uid).collect();
    let changes = async {
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            let (jobs, _) = newest(backend, args, since).await?;
            let is_new = |job: &&Job| shown.get(&job.metadata.uid) != Some(*job);
            let new: Vec<_> = jobs.iter().filter(is_new).collect();
            objects::some(&new, args.output, false)?;
            shown = jobs.into_iter().map(by_uid).collect();
        }
    };
    tokio::select! {
        failed = changes => failed,
        () = process::stopped() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// The newest jobs that are asked for, in their order, and whether they are all. All pages are read, because they come in
/// the order of names; no more is kept than is shown.
async fn newest(
    backend: &Backend,
    args: &List,
    since: Option<Timestamp>,
) -> anyhow::Result<(Vec<Job>, bool)> {
    let mut filter = Filter {
        function: args.function.clone(),
        queue: args.queue.clone(),
        phase: args.phase,
        labels: args.selector.clone(),
        ..Filter::default()
    };
    let most = args.limit as usize;
    let (mut jobs, mut is_whole): (Vec<Job>, bool) = (Vec::new(), true);
    loop {
        let page = backend.jobs.list(&backend.namespace, &filter).await?;
        jobs.extend(page.items.into_iter().filter(|job| {
            since.is_none_or(|since| job.metadata.creation_timestamp >= Some(since))
        }));
        if jobs.len() > most {
            jobs.sort_unstable_by(|a, b| Order::Created.compare(a, b));
            jobs.drain(..jobs.len() - most);
            is_whole = false;
        }
        match page.continue_from {
            Some(token) => filter.continue_from = Some(token),
            None => break,
        }
    }
    jobs.sort_unstable_by(|a, b| args.sort.compare(a, b));
    Ok((jobs, is_whole))
}

#[cfg(test)]
mod tests {
    use windlass_core::{JobSpec, Metadata};

    use super::*;

    fn job(name: &str, created: i64, phase: Phase) -> Job {
        let metadata = Metadata {
            name: name.into(),
            creation_timestamp: Timestamp::from_second(created).ok(),
            ..Metadata::default()
        };
        let mut job = Job::new(metadata, JobSpec { function: "f".into(), ..JobSpec::default() });
        job.status.phase = Some(phase);
        job.status.timeline.finished =
            phase.is_final().then(|| Timestamp::from_second(100 - created).unwrap());
        job
    }

    #[test]
    fn jobs_are_in_the_order_that_is_asked_for() {
        let jobs = [
            job("c", 1, Phase::Succeeded),
            job("a", 2, Phase::Running),
            job("d", 3, Phase::Failed),
            job("b", 3, Phase::Queued),
        ];
        for (order, expected) in [
            (Order::Created, "cabd"),
            (Order::Name, "abcd"),
            (Order::Function, "cabd"),
            (Order::Queue, "cabd"),
            (Order::Phase, "bacd"),
            (Order::Finished, "abdc"),
        ] {
            let mut jobs = jobs.clone();
            jobs.sort_by(|a, b| order.compare(a, b));
            let names: String = jobs.into_iter().map(|job| job.metadata.name).collect();
            assert_eq!(names, expected, "{order:?}");
        }
    }
}
