//! Numbers from the jobs that are known: what runs, what waits, what failed.

use std::collections::BTreeMap;

use windlass_core::estimate::Estimate;
use windlass_core::{Cpus, Phase};

use super::table::{JobTable, Row};

/// Failed jobs of one function with one reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FailureGroup<'a> {
    pub(super) function: &'a str,
    pub(super) reason: &'static str,
    pub(super) count: usize,
    /// The newest of them.
    pub(super) latest: &'a str,
}

/// How many jobs are in each phase, in the order of a job's life.
pub(super) fn by_phase(table: &JobTable) -> [usize; Phase::ALL.len()] {
    let mut counts = [0; Phase::ALL.len()];
    for row in table.rows() {
        // What nobody has looked at yet waits.
        let phase = row.job.status.phase.unwrap_or(Phase::Queued);
        if let Some(at) = Phase::ALL.iter().position(|known| *known == phase) {
            counts[at] += 1;
        }
    }
    counts
}

/// CPUs that are granted.
pub(super) fn granted(table: &JobTable) -> Cpus {
    holding(table).map(cpus_of).sum()
}

/// Who holds CPUs, the most first.
pub(super) fn holders(table: &JobTable) -> Vec<&Row> {
    let mut holders: Vec<_> = holding(table).collect();
    holders.sort_by_key(|row| std::cmp::Reverse(cpus_of(row)));
    holders
}

fn holding(table: &JobTable) -> impl Iterator<Item = &Row> {
    let holds = |row: &&Row| matches!(row.job.status.phase, Some(Phase::Starting | Phase::Running));
    table.rows().filter(holds)
}

fn cpus_of(row: &Row) -> Cpus {
    row.job.status.parallelism.unwrap_or(0)
}

/// What is estimated of jobs, by their names.
pub(super) type Estimates = BTreeMap<String, Estimate>;

/// Who waits: first those with a place in a line, by it; then the oldest.
pub(super) fn waiting<'a>(table: &'a JobTable, estimates: &Estimates) -> Vec<&'a Row> {
    let waits = |row: &&Row| matches!(row.job.status.phase, None | Some(Phase::Queued));
    let mut waiting: Vec<_> = table.rows().filter(waits).collect();
    waiting.sort_by_key(|row| {
        let estimated = estimates.get(row.name()).and_then(|told| told.position);
        let told = row.job.status.waiting.as_ref().map(|place| place.position);
        (estimated.or(told).unwrap_or(u32::MAX), row.job.metadata.creation_timestamp)
    });
    waiting
}

/// The failed jobs by function and reason, the most first.
pub(super) fn failures(table: &JobTable) -> Vec<FailureGroup<'_>> {
    let mut groups = BTreeMap::new();
    for row in table.rows().filter(|row| row.job.status.phase == Some(Phase::Failed)) {
        let reason = row.job.status.failure.as_ref().map_or("unknown", |why| why.reason.as_str());
        let function = row.job.spec.function.as_str();
        let new = || FailureGroup { function, reason, count: 0, latest: row.name() };
        groups.entry((function, reason)).or_insert_with(new).count += 1;
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

#[cfg(test)]
mod tests {
    use windlass_core::status::Place;

    use super::*;
    use crate::top::table::tests::row;

    #[test]
    fn what_runs_what_waits_and_what_failed_is_counted() {
        let mut table = JobTable::default();
        for (at, (name, phase, cpus)) in [
            ("small", Phase::Running, 1),
            ("large", Phase::Starting, 8),
            ("old", Phase::Queued, 0),
            ("second", Phase::Queued, 0),
            ("bad-1", Phase::Failed, 0),
            ("bad-2", Phase::Failed, 0),
        ]
        .into_iter()
        .enumerate()
        {
            let mut row = row(name, name, 1, i64::try_from(at).unwrap());
            row.job.status.phase = Some(phase);
            row.job.status.parallelism = Some(cpus).filter(|cpus| *cpus > 0);
            if name == "second" {
                row.job.status.waiting = Some(Place { position: 2, estimated_start: None });
            }
            table.insert(row);
        }
        table.insert(row("new", "n", 1, 50));
        let names =
            |rows: Vec<&Row>| rows.iter().map(|row| row.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(by_phase(&table), [3, 1, 1, 0, 2, 0]);
        assert_eq!(granted(&table), 9);
        assert_eq!(names(holders(&table)), ["large", "small"]);
        let mut estimates = Estimates::new();
        assert_eq!(names(waiting(&table, &estimates)), ["second", "old", "new"]);
        let told = Estimate { position: Some(1), ..Estimate::default() };
        estimates.insert("new".into(), told);
        assert_eq!(names(waiting(&table, &estimates)), ["new", "second", "old"]);
        let group = FailureGroup { function: "f", reason: "unknown", count: 2, latest: "bad-2" };
        assert_eq!(failures(&table), [group]);
    }
}
