//! What was said of queues by the REST API, and not by their manifests: whether they are on hold.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

/// By the queue's name.
pub(super) fn all(db: &Connection) -> rusqlite::Result<BTreeMap<String, bool>> {
    let mut statement = db.prepare_cached("SELECT queue, hold FROM holds")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Forgets that this was said, if nothing else was said since.
pub(super) fn settle(db: &Connection, queue: &str, hold: bool) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM holds WHERE queue = ?1 AND hold = ?2")?
        .execute(params![queue, hold])?;
    Ok(())
}

/// Keeps it, or forgets what was said.
pub(super) fn set(db: &Connection, queue: &str, hold: Option<bool>) -> rusqlite::Result<()> {
    match hold {
        Some(hold) => db
            .prepare_cached(
                "INSERT INTO holds (queue, hold) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET hold = excluded.hold",
            )?
            .execute(params![queue, hold])?,
        None => db.prepare_cached("DELETE FROM holds WHERE queue = ?1")?.execute([queue])?,
    };
    Ok(())
}
