//! Jobs as rows: every statement of the store but the schema's.

use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::types::{Type, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use uuid::Uuid;
use windlass_core::idempotency::REQUEST_ANNOTATION;
use windlass_core::jobs::{Filter, RETRY_ANNOTATION};
use windlass_core::labels::Labels;
use windlass_core::{AttemptNumber, Error, Job, JobLimits, JobSpec, Metadata, Phase};

use crate::config::NAMESPACE;

/// Most jobs that expire in one transaction.
const EXPIRE_AT_ONCE: u32 = 500;

/// A job's UID.
pub(crate) fn job_uid(job: &Job) -> Result<Uuid, Error> {
    Uuid::parse_str(&job.metadata.uid).map_err(|error| Error::Bug(error.to_string()))
}

/// A job that has not ended, as far as admission needs to know it.
#[derive(Debug)]
pub(crate) struct Unfinished {
    pub(crate) uid: Uuid,
    pub(crate) queue: String,
    /// The latest attempt of its status.
    pub(crate) attempt: Option<AttemptNumber>,
    pub(crate) priority: i32,
    pub(crate) created: Timestamp,
    pub(crate) limits: JobLimits,
    pub(crate) function: String,
}

/// The job's row, for a new one.
pub(super) fn insert(db: &Connection, job: &Job, limits: &JobLimits) -> rusqlite::Result<()> {
    let labels = &job.metadata.labels;
    let annotation = |key: &str| job.metadata.annotations.get(key).cloned();
    let fixed: [Value; 11] = [
        job.metadata.name.clone().into(),
        job.spec.function.clone().into(),
        job.spec.queue().to_owned().into(),
        job.spec.priority.into(),
        millis(job.metadata.creation_timestamp.unwrap_or_default()).into(),
        json(limits)?.into(),
        json(&job.spec)?.into(),
        annotation(REQUEST_ANNOTATION).into(),
        digests(&job.spec).into(),
        (!labels.is_empty()).then(|| json(labels)).transpose()?.into(),
        annotation(RETRY_ANNOTATION).into(),
    ];
    db.prepare_cached(
        "INSERT INTO jobs (uid, phase, attempt, generation, version, status, expires,
            name, function, queue, priority, created, limits, spec, request_sha256, blobs,
            labels, retry_of)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    )?
    .execute(params_from_iter(changing(job)?.into_iter().chain(fixed)))?;
    Ok(())
}

/// The blobs that a job names, if it names any.
fn digests(spec: &JobSpec) -> Option<String> {
    let digests: Vec<_> = spec.blobs().map(|(_, blob)| blob.sha256.as_str()).collect();
    (!digests.is_empty()).then(|| digests.join(" "))
}

/// All the blobs that jobs name.
pub(super) fn named_blobs(db: &Connection) -> rusqlite::Result<HashSet<String>> {
    let mut found = HashSet::new();
    let mut statement = db.prepare_cached("SELECT blobs FROM jobs WHERE blobs IS NOT NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let digests = row.get_ref(0)?.as_str()?.split(' ');
        found.extend(digests.map(str::to_owned));
    }
    Ok(found)
}

/// What may change of a job. False when it was deleted.
pub(super) fn update(db: &Connection, job: &Job) -> rusqlite::Result<bool> {
    let cancel: Value = job.spec.cancel.to_string().into();
    let rows = db
        .prepare_cached(
            "UPDATE jobs SET phase = ?2, attempt = ?3, generation = ?4, version = ?5, status = ?6,
            expires = ?7, spec = json_set(spec, '$.cancel', json(?8))
         WHERE uid = ?1",
        )?
        .execute(params_from_iter(changing(job)?.into_iter().chain([cancel])))?;
    Ok(rows > 0)
}

/// The key of a job's row and the columns that may change: parameters 1 to 7 of each statement that
/// writes a job.
fn changing(job: &Job) -> rusqlite::Result<[Value; 7]> {
    Ok([
        uid_of(job)?.as_bytes().to_vec().into(),
        job.status.phase.map(|phase| phase.as_str().to_owned()).into(),
        job.status.attempt.unwrap_or(0).into(),
        job.metadata.generation.unwrap_or(1).into(),
        job.metadata.resource_version.parse::<i64>().unwrap_or(1).into(),
        json(&job.status)?.into(),
        job.expires().map(millis).into(),
    ])
}

/// A job that was deleted.
#[derive(Debug)]
pub(crate) struct DeletedJob {
    pub(crate) uid: Uuid,
    pub(crate) name: String,
    pub(crate) attempt: AttemptNumber,
}

pub(super) fn remove(db: &Connection, uid: Uuid) -> rusqlite::Result<Option<DeletedJob>> {
    db.prepare_cached("DELETE FROM jobs WHERE uid = ?1 RETURNING uid, name, attempt")?
        .query_row([uid.as_bytes()], deleted)
        .optional()
}

pub(super) fn expire(db: &Connection, now: Timestamp) -> rusqlite::Result<Vec<DeletedJob>> {
    db.prepare_cached(
        "DELETE FROM jobs WHERE uid IN (
            SELECT uid FROM jobs WHERE expires <= ?1 ORDER BY expires LIMIT ?2
         ) RETURNING uid, name, attempt",
    )?
    .query_map(params![millis(now), EXPIRE_AT_ONCE], deleted)?
    .collect()
}

pub(super) fn next_expiry(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let next: Option<i64> = db
        .prepare_cached("SELECT min(expires) FROM jobs WHERE expires IS NOT NULL")?
        .query_row([], |row| row.get(0))?;
    Ok(next.map(time))
}

pub(super) fn by_name(db: &Connection, name: &str) -> rusqlite::Result<Option<Job>> {
    let query = format!("SELECT {COLUMNS} FROM jobs WHERE name = ?1");
    db.prepare_cached(&query)?.query_row([name], job).optional()
}

pub(super) fn by_uid(db: &Connection, uid: Uuid) -> rusqlite::Result<Option<Job>> {
    let query = format!("SELECT {COLUMNS} FROM jobs WHERE uid = ?1");
    db.prepare_cached(&query)?.query_row([uid.as_bytes()], job).optional()
}

pub(super) fn exists(db: &Connection, uid: Uuid) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM jobs WHERE uid = ?1")?.exists([uid.as_bytes()])
}

/// The first jobs that are wanted. Rows with other labels are passed over as they come, so that a page is full
/// whatever they are.
pub(super) fn list(db: &Connection, filter: &Filter, limit: usize) -> rusqlite::Result<Vec<Job>> {
    let most = if filter.labels.is_empty() { limit as i64 } else { -1 };
    let query = format!(
        "SELECT {COLUMNS} FROM jobs
         WHERE name > ?1 AND (?2 IS NULL OR function = ?2) AND (?3 IS NULL OR phase = ?3)
            AND (?4 IS NULL OR queue = ?4)
         ORDER BY name LIMIT ?5"
    );
    let mut statement = db.prepare_cached(&query)?;
    let mut rows = statement.query(params![
        filter.continue_from.as_deref().unwrap_or_default(),
        filter.function,
        filter.phase.map(Phase::as_str),
        filter.queue,
        most,
    ])?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        if filter.labels.is_empty() || filter.labels.matches(&labels(row)?) {
            found.push(job(row)?);
        }
    }
    Ok(found)
}

pub(super) fn unfinished(db: &Connection) -> rusqlite::Result<Vec<Unfinished>> {
    db.prepare(
        "SELECT uid, queue, priority, created, limits, attempt, function FROM jobs
         WHERE expires IS NULL ORDER BY created, uid",
    )?
    .query_map([], |row| {
        Ok(Unfinished {
            uid: uid(row, 0)?,
            queue: row.get(1)?,
            priority: row.get(2)?,
            // The column is 0 before the first attempt.
            attempt: Some(row.get(5)?).filter(|attempt| *attempt > 0),
            created: time(row.get(3)?),
            limits: parsed(row, 4)?,
            function: row.get(6)?,
        })
    })?
    .collect()
}

pub(super) fn names_and_functions(
    db: &Connection,
    uids: &[Uuid],
) -> rusqlite::Result<Vec<(Uuid, String, String)>> {
    let mut statement = db.prepare_cached("SELECT name, function FROM jobs WHERE uid = ?1")?;
    let mut found = Vec::new();
    for uid in uids {
        let row = statement
            .query_row([uid.as_bytes().as_slice()], |row| Ok((*uid, row.get(0)?, row.get(1)?)));
        found.extend(row.optional()?);
    }
    Ok(found)
}

pub(super) fn bytes(db: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma: &str| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let used = number("page_count")?.saturating_sub(number("freelist_count")?);
    Ok(u64::try_from(used.saturating_mul(number("page_size")?)).unwrap_or(0))
}

const COLUMNS: &str =
    "uid, name, created, spec, generation, version, status, request_sha256, labels, retry_of";

fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let annotation = |key: &str, column: usize| {
        let value: Option<String> = row.get(column)?;
        Ok::<_, rusqlite::Error>(value.map(|value| (key.to_owned(), value)))
    };
    let annotations = [annotation(REQUEST_ANNOTATION, 7)?, annotation(RETRY_ANNOTATION, 9)?];
    let metadata = Metadata {
        uid: uid(row, 0)?.to_string(),
        name: row.get(1)?,
        namespace: NAMESPACE.into(),
        creation_timestamp: Some(time(row.get(2)?)),
        generation: Some(row.get(4)?),
        resource_version: row.get::<_, i64>(5)?.to_string(),
        labels: labels(row)?,
        annotations: annotations.into_iter().flatten().collect(),
        ..Metadata::default()
    };
    let mut job = Job::new(metadata, parsed(row, 3)?);
    job.status = parsed(row, 6)?;
    Ok(job)
}

fn labels(row: &Row<'_>) -> rusqlite::Result<Labels> {
    match row.get_ref(8)? {
        ValueRef::Null => Ok(Labels::new()),
        _ => parsed(row, 8),
    }
}

fn deleted(row: &Row<'_>) -> rusqlite::Result<DeletedJob> {
    Ok(DeletedJob { uid: uid(row, 0)?, name: row.get(1)?, attempt: row.get(2)? })
}

fn uid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get::<_, [u8; 16]>(column).map(Uuid::from_bytes)
}

fn uid_of(job: &Job) -> rusqlite::Result<Uuid> {
    Uuid::parse_str(&job.metadata.uid)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

pub(super) fn parsed<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}
