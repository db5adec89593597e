//! The jobs that are known, the newest first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use windlass_core::Job;

/// Most jobs that are kept.
pub(super) const MAX_JOBS: usize = 20_000;

/// A job as a list shows it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) job: Job,
    /// What is searched, in lower case.
    words: String,
}

impl Row {
    /// Without what no list shows.
    pub(super) fn new(mut job: Job) -> Self {
        job.spec.input.clear();
        job.spec.files.clear();
        job.status.result = None;
        let labels = job.metadata.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let phase = job.status.phase.map_or("", windlass_core::Phase::as_str);
        let mut words = vec![job.metadata.name.clone(), job.spec.function.clone(), phase.into()];
        words.push(job.spec.queue().to_owned());
        words.extend(labels);
        let words = words.join(" ").to_lowercase();
        Self { job, words }
    }

    pub(super) fn name(&self) -> &str {
        &self.job.metadata.name
    }

    pub(super) fn uid(&self) -> &str {
        &self.job.metadata.uid
    }

    /// Whether each of these words, in lower case, is in its name, function, phase, queue or labels.
    pub(super) fn has(&self, words: &str) -> bool {
        words.split_whitespace().all(|word| self.words.contains(word))
    }

    fn place(&self) -> Place {
        let name = self.job.metadata.name.clone();
        (Reverse(self.job.metadata.creation_timestamp), Reverse(name))
    }

    fn version(&self) -> u64 {
        self.job.metadata.resource_version.parse().unwrap_or(0)
    }
}

type Place = (Reverse<Option<Timestamp>>, Reverse<String>);

/// The jobs by name and in their order.
#[derive(Default)]
pub(super) struct JobTable {
    places: HashMap<String, Place>,
    rows: BTreeMap<Place, Row>,
    /// While the jobs are listed.
    listing: Option<Listing>,
    /// Whether there are more jobs than are kept.
    pub(super) is_cut: bool,
}

/// What is known beside a list, of which a page may be older than what was told since.
struct Listing {
    /// Names of jobs that nobody has told of since it began.
    missing: HashSet<String>,
    /// UIDs of jobs that were deleted since.
    gone: HashSet<String>,
}

impl JobTable {
    /// All jobs are about to be listed.
    pub(super) fn begin_list(&mut self) {
        let missing = self.places.keys().cloned().collect();
        self.listing = Some(Listing { missing, gone: HashSet::new() });
        self.is_cut = false;
    }

    /// A job of the list.
    pub(super) fn put_listed(&mut self, row: Row) {
        if let Some(listing) = &mut self.listing {
            listing.missing.remove(row.name());
            if listing.gone.contains(row.uid()) {
                return;
            }
        }
        let is_newer = |known: &Row| known.uid() != row.uid() || known.version() < row.version();
        if self.get(row.name()).is_none_or(is_newer) {
            self.put_row(row);
        }
    }

    /// The list was read to its end: what nobody has told of is gone.
    pub(super) fn end_list(&mut self) {
        let listing = self.listing.take();
        if self.is_cut {
            return;
        }
        for name in listing.into_iter().flat_map(|listing| listing.missing) {
            self.remove(&name);
        }
    }

    /// A job is new or has changed.
    pub(super) fn insert(&mut self, row: Row) {
        if let Some(listing) = &mut self.listing {
            listing.missing.remove(row.name());
        }
        self.put_row(row);
    }

    /// A job is gone. Its name may be another job's by now.
    pub(super) fn delete(&mut self, name: &str, uid: &str) {
        if let Some(listing) = &mut self.listing {
            listing.gone.insert(uid.to_owned());
        }
        if self.get(name).is_some_and(|row| row.uid() == uid) {
            self.remove(name);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Row> {
        self.rows.get(self.places.get(name)?)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    fn put_row(&mut self, row: Row) {
        let place = row.place();
        if let Some(old) = self.places.insert(row.name().to_owned(), place.clone())
            && old != place
        {
            self.rows.remove(&old);
        }
        self.rows.insert(place, row);
        if self.rows.len() > MAX_JOBS {
            self.is_cut = true;
            self.drop_oldest();
        }
    }

    /// The oldest that has ended; where none has, the oldest.
    fn drop_oldest(&mut self) {
        let ended = self.rows.values().rev().find(|row| row.job.status.is_finished());
        let oldest = ended.or_else(|| self.rows.values().next_back());
        if let Some(name) = oldest.map(|row| row.name().to_owned()) {
            self.remove(&name);
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(place) = self.places.remove(name) {
            self.rows.remove(&place);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use windlass_core::{JobSpec, Metadata, Phase};

    use super::*;

    pub(in crate::top) fn row(name: &str, uid: &str, version: u32, created: i64) -> Row {
        let metadata = Metadata {
            name: name.into(),
            uid: uid.into(),
            resource_version: version.to_string(),
            creation_timestamp: Timestamp::from_second(created).ok(),
            ..Metadata::default()
        };
        Row::new(Job::new(metadata, JobSpec { function: "f".into(), ..JobSpec::default() }))
    }

    fn names(table: &JobTable) -> Vec<&str> {
        table.rows().map(Row::name).collect()
    }

    #[test]
    fn the_newest_is_first_and_a_name_is_there_once() {
        let mut table = JobTable::default();
        table.insert(row("a", "1", 1, 10));
        table.insert(row("b", "2", 1, 20));
        table.insert(row("a", "3", 1, 30));
        assert_eq!(names(&table), ["a", "b"]);
        table.delete("a", "1");
        assert_eq!(names(&table), ["a", "b"], "that is the one before");
        table.delete("a", "3");
        assert_eq!(names(&table), ["b"]);
    }

    #[test]
    fn a_list_undoes_nothing_that_was_told_since_it_began() {
        let mut table = JobTable::default();
        table.insert(row("gone-before", "1", 1, 1));
        table.insert(row("changed", "2", 1, 2));
        table.insert(row("deleted", "3", 1, 3));
        table.begin_list();
        table.insert(row("changed", "2", 5, 2));
        table.insert(row("new", "4", 1, 4));
        table.delete("deleted", "3");
        table.put_listed(row("changed", "2", 4, 2));
        table.put_listed(row("deleted", "3", 1, 3));
        table.end_list();
        assert_eq!(names(&table), ["new", "changed"]);
        assert_eq!(table.get("changed").unwrap().version(), 5);
    }

    #[test]
    fn no_more_are_kept_than_may_and_what_has_ended_goes_first() {
        let mut table = JobTable::default();
        table.insert(row("oldest", "o", 1, 0));
        let mut ended = row("ended", "e", 1, 1);
        ended.job.status.phase = Some(Phase::Succeeded);
        table.insert(ended);
        for at in 2..=MAX_JOBS {
            table.insert(row(&format!("j{at}"), &at.to_string(), 1, i64::try_from(at).unwrap()));
        }
        assert_eq!(table.rows().count(), MAX_JOBS);
        assert!(table.is_cut && table.get("ended").is_none() && table.get("oldest").is_some());
    }
}
