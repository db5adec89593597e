//! A copy of the database as it is at one instant, for a backup. The server may change it meanwhile.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, params};
use uuid::Uuid;
use windlass_core::AttemptNumber;
use windlass_worker::private_files;

use super::rows;
use super::schema::{self, StoreError, wrong};

/// A copy of the database, beside the database itself. It keeps its version: the windlass that made it can restore it.
pub(crate) struct Snapshot {
    live: Connection,
    copy: Connection,
    path: PathBuf,
}

/// What a job has outside of the database.
pub(crate) struct KeptJob {
    pub(crate) uid: Uuid,
    pub(crate) name: String,
    pub(crate) attempt: AttemptNumber,
    /// Where its result is, if it has one that is not in the database.
    pub(crate) result: Option<String>,
    /// Digests of its blobs.
    pub(crate) blobs: Vec<String>,
}

impl Snapshot {
    /// Copies the database of a data directory into a directory. Nobody who writes waits for it.
    pub(crate) fn take(data: &Path, into: &Path) -> Result<Self, StoreError> {
        let (from, path) = (schema::path(data), schema::path(into));
        std::fs::metadata(&from).map_err(|error| StoreError::io(&from, error))?;
        let live = schema::open_reader(&from).map_err(|error| wrong(&from, &error))?;
        private_files::create(&path).map_err(|error| StoreError::io(&path, error))?;
        let sql = |error: rusqlite::Error| wrong(&path, &error);
        let mut copy = Connection::open(&path).map_err(sql)?;
        // Not before it is in the archive does it have to be on a disk.
        copy.pragma_update(None, "synchronous", "OFF").map_err(sql)?;
        // All pages in one step are one state of the database.
        let step = Backup::new(&live, &mut copy).and_then(|backup| backup.step(-1)).map_err(sql)?;
        if step != StepResult::Done {
            let holder = "another process, which holds a lock on it".to_owned();
            return Err(StoreError::InUse { path: from, holder });
        }
        copy.pragma_update(None, "journal_mode", "DELETE").map_err(sql)?;
        schema::check_open(&copy, &from)?;
        Ok(Self { live, copy, path })
    }

    /// Calls this for each job of the copy. How many those are.
    pub(crate) fn each_job<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(KeptJob) -> Result<(), E>,
    ) -> Result<u64, E> {
        let sql = |error: rusqlite::Error| E::from(wrong(&self.path, &error));
        let has = |column: &str| self.copy.column_exists(None, "jobs", column);
        if !has("uid").map_err(sql)? {
            // A server has just begun to make it.
            return Ok(0);
        }
        let blobs = if has("blobs").map_err(sql)? { "blobs" } else { "NULL" };
        let jobs =
            format!("SELECT uid, name, attempt, status ->> '$.result.location', {blobs} FROM jobs");
        let mut statement = self.copy.prepare(&jobs).map_err(sql)?;
        let mut rows = statement.query([]).map_err(sql)?;
        let mut jobs = 0;
        while let Some(row) = rows.next().map_err(sql)? {
            each(kept_job(row).map_err(sql)?)?;
            jobs += 1;
        }
        Ok(jobs)
    }

    /// Whether a job of the copy was deleted since.
    pub(crate) fn was_deleted(&self, uid: Uuid) -> Result<bool, StoreError> {
        let exists = rows::exists(&self.live, uid);
        exists.map(|exists| !exists).map_err(|error| wrong(&self.path, &error))
    }

    /// The file, without these jobs, whose files are gone.
    pub(crate) fn without(self, deleted: &[Uuid]) -> Result<File, StoreError> {
        let Self { copy, path, live: _ } = self;
        let sql = |error: rusqlite::Error| wrong(&path, &error);
        for uid in deleted {
            copy.execute("DELETE FROM jobs WHERE uid = ?1", params![uid.as_bytes()])
                .map_err(sql)?;
        }
        copy.close().map_err(|(_, error)| sql(error))?;
        File::open(&path).map_err(|error| StoreError::io(&path, error))
    }
}

fn kept_job(row: &rusqlite::Row<'_>) -> rusqlite::Result<KeptJob> {
    let blobs: Option<String> = row.get(4)?;
    let blobs = blobs.unwrap_or_default();
    Ok(KeptJob {
        uid: Uuid::from_bytes(row.get(0)?),
        name: row.get(1)?,
        attempt: row.get(2)?,
        result: row.get(3)?,
        blobs: blobs.split_whitespace().map(str::to_owned).collect(),
    })
}

/// Whether a database that was restored can be used by this version.
pub(crate) fn check_restored(data: &Path) -> Result<(), StoreError> {
    let path = schema::path(data);
    let connection = schema::open_reader(&path).map_err(|error| wrong(&path, &error))?;
    schema::check_open(&connection, &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_the_version_of_a_database_that_an_older_program_has_made() {
        let (data, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut made = Connection::open(schema::path(data.path())).unwrap();
        for (version, jobs) in [(0, 0), (1, 1), (2, 1), (3, 1)] {
            schema::migrate_to(&mut made, version).unwrap();
            if version == 1 {
                let job = "INSERT INTO jobs VALUES (zeroblob(16), 'a', 'f', 'q', 0, 0, '{}', '{}', NULL, 1, 1, 1, '{}', NULL)";
                made.execute(job, []).unwrap();
            }
            let snapshot = Snapshot::take(data.path(), into.path()).unwrap();
            let found = snapshot.each_job(|job| {
                assert!(job.name == "a" && job.blobs.is_empty());
                Ok::<_, StoreError>(())
            });
            assert_eq!(found.unwrap(), jobs, "{version}");
            snapshot.without(&[]).unwrap();
            check_restored(into.path()).unwrap();
            let copy = schema::open_reader(&schema::path(into.path())).unwrap();
            assert_eq!(schema::version(&copy).unwrap(), version);
        }
    }

    #[test]
    fn a_database_without_run_times_becomes_one_with_them_and_loses_nothing() {
        let data = tempfile::tempdir().unwrap();
        let path = schema::path(data.path());
        let mut made = Connection::open(&path).unwrap();
        schema::migrate_to(&mut made, 7).unwrap();
        made.execute_batch(
            "INSERT INTO jobs (uid, name, function, queue, priority, created, limits, spec, attempt, generation,
                 version, status)
             VALUES (zeroblob(16), 'a', 'f', 'q', 0, 0, '{}', '{}', 1, 1, 1, '{}');
             INSERT INTO history VALUES (60, 0, '{}');
             INSERT INTO holds VALUES ('q', 1);",
        )
        .unwrap();
        drop(made);
        let upgraded = schema::open(&path, true).unwrap();
        let count = |table: &str| {
            let all = format!("SELECT count(*) FROM {table}");
            upgraded.query_row(&all, [], |row| row.get::<_, u32>(0)).unwrap()
        };
        assert_eq!(["jobs", "history", "holds", "run_times"].map(count), [1, 1, 1, 0]);
        assert!(schema::version(&upgraded).unwrap() > 7);
    }
}
