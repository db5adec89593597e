//! The database file: its form, its version, and who may use it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::FlockOperation;
use windlass_worker::private_files;

/// `Wndl`: says whose database it is.
const APPLICATION: i64 = 0x576e_646c;

/// What has changed since, oldest first: a database of version `n` has seen the first `n`.
const MIGRATIONS: [&str; 8] = [
    // Times are milliseconds since 1970. `spec`, `status`, `limits` are JSON. `expires` is there
    // once the job has ended.
    "CREATE TABLE jobs (
        uid BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL UNIQUE,
        function TEXT NOT NULL,
        queue TEXT NOT NULL,
        priority INTEGER NOT NULL,
        created INTEGER NOT NULL,
        limits TEXT NOT NULL,
        spec TEXT NOT NULL,
        phase TEXT,
        attempt INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        version INTEGER NOT NULL,
        status TEXT NOT NULL,
        expires INTEGER
     ) STRICT;
     CREATE INDEX jobs_that_wait_or_run ON jobs (created, uid) WHERE expires IS NULL;
     CREATE INDEX jobs_by_expiry ON jobs (expires) WHERE expires IS NOT NULL;",
    // Digest of the request of a job that was submitted under an idempotency key.
    "ALTER TABLE jobs ADD COLUMN request_sha256 TEXT;",
    // Digests of the blobs that a job names, separated by spaces.
    "ALTER TABLE jobs ADD COLUMN blobs TEXT;
     CREATE INDEX jobs_with_blobs ON jobs (blobs) WHERE blobs IS NOT NULL;",
    // The caller's labels as JSON, and the name of the job that this one repeats.
    "ALTER TABLE jobs ADD COLUMN labels TEXT;
     ALTER TABLE jobs ADD COLUMN retry_of TEXT;",
    // What happened in slots of so many seconds, as JSON. `start` is in seconds since 1970.
    "CREATE TABLE history (
        seconds INTEGER NOT NULL,
        start INTEGER NOT NULL,
        counts TEXT NOT NULL,
        PRIMARY KEY (seconds, start)
     ) STRICT, WITHOUT ROWID;",
    // Whether queues are on hold, where the API has said so and their manifests do not.
    "CREATE TABLE holds (queue TEXT NOT NULL PRIMARY KEY, hold INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
    // Statuses have conditions that older programs cannot read: those are to say so at their start.
    "",
    // How long the latest jobs of a function have held their CPUs, as JSON.
    "CREATE TABLE run_times (function TEXT NOT NULL PRIMARY KEY, jobs TEXT NOT NULL) STRICT, WITHOUT ROWID;",
];

/// The file whose lock is the server's.
pub(crate) const LOCK: &str = "lock";

/// The oldest SQLite without the defect that lets a reset of the log lose a commit.
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long a directory may seem to be in use; ten times as long when its holder is gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long another process may hold the database before requests are refused.
const BUSY_PATIENCE: Duration = Duration::from_millis(500);

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another server uses the directory, or another process its database.
    #[error("{} is in use by {holder}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who holds it, as far as it says.
        holder: String,
    },
    /// It is no store of Windlass, or it was damaged. Nothing was changed.
    #[error("{} is damaged or no store of Windlass: {why}; nothing was changed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A restore was cut off.
    #[error(
        "{} was not restored to its end: delete what is in it and restore it again", path.display()
    )]
    HalfRestored {
        /// The directory.
        path: PathBuf,
    },
    /// A later Windlass made it. Nothing was changed.
    #[error(
        "{} has version {found}, this windlass knows up to {known}; use a newer one. Nothing was \
         changed", path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest that is known here.
        known: usize,
    },
}

impl StoreError {
    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }
}

pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("jobs.sqlite")
}

/// Holds the directory for this process until the file is dropped.
pub(crate) fn lock_directory(data: &Path) -> Result<File, StoreError> {
    let path = data.join(LOCK);
    let io = |error| StoreError::io(&path, error);
    let mut file = private_files::open_or_create(&path).map_err(io)?;
    let started = Instant::now();
    while let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(io(error.into()));
        }
        let mut noted = String::new();
        file.rewind().map_err(io)?;
        (&file).take(200).read_to_string(&mut noted).map_err(io)?;
        let process = noted.split_whitespace().nth(1).unwrap_or_default();
        let is_there = Path::new("/proc").join(process).exists() && !process.is_empty();
        // What a killed server was just starting has the lock until it is another program.
        if started.elapsed() > if is_there { PATIENCE } else { 10 * PATIENCE } {
            let holder = match is_there {
                true => format!("another server, {}", noted.trim()),
                false => holder_of(&file).map_err(io)?,
            };
            return Err(StoreError::InUse { path: data.to_owned(), holder });
        }
        std::thread::sleep(PATIENCE / 100);
    }
    let who = format!("process {} since {}\n", std::process::id(), jiff::Timestamp::now());
    file.set_len(0).map_err(io)?;
    file.rewind().map_err(io)?;
    file.write_all(who.as_bytes()).map_err(io)?;
    Ok(file)
}

/// Who holds the lock of a file, where that is no server that is there.
fn holder_of(file: &File) -> io::Result<String> {
    let inode = format!(":{}", file.metadata()?.ino());
    // `1: FLOCK  ADVISORY  WRITE 4711 fe:00:12345 0 EOF`
    let locks = std::fs::read_to_string("/proc/locks")?;
    let holder = locks.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_it = words.get(1) == Some(&"FLOCK") && words.get(5)?.ends_with(&inode);
        is_it.then(|| words[4].to_owned())
    });
    Ok(match holder {
        Some(process) => format!("process {process}, which holds the lock on {LOCK} in it"),
        None => format!("a process that holds the lock on {LOCK} in it"),
    })
}

/// Opens the database for writing and brings it to the latest version.
pub(super) fn open(path: &Path, durable: bool) -> Result<Connection, StoreError> {
    let sql = |error: rusqlite::Error| wrong(path, &error);
    if rusqlite::version_number() < OLDEST_SQLITE {
        let why = format!("SQLite {} can lose commits", rusqlite::version());
        return Err(StoreError::io(path, io::Error::other(why)));
    }
    check(path)?;
    // Its log and index get the mode of the database.
    if !path.exists() {
        private_files::create(path).map_err(|error| StoreError::io(path, error))?;
    }
    let mut connection = Connection::open(path).map_err(sql)?;
    if durable {
        connection.pragma_update(None, "journal_mode", "WAL").map_err(sql)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(sql)?;
    } else {
        connection.pragma_update(None, "journal_mode", "WAL").map_err(sql)?;
        connection.pragma_update(None, "synchronous", "OFF").map_err(sql)?;
    }
    connection.set_prepared_statement_cache_capacity(32);
    migrate(&mut connection).map_err(sql)?;
    connection.busy_timeout(BUSY_PATIENCE).map_err(sql)?;
    Ok(connection)
}

/// Brings a database to the latest version.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    migrate_to(connection, MIGRATIONS.len() as i64)
}

pub(super) fn migrate_to(connection: &mut Connection, latest: i64) -> rusqlite::Result<()> {
    let version = version(connection)?;
    let transaction = connection.transaction()?;
    for (number, migration) in (1..=latest).zip(MIGRATIONS) {
        if number > version {
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", number)?;
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.commit()
}

/// Opens the database for reading what is committed.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.set_prepared_statement_cache_capacity(16);
    connection.busy_timeout(BUSY_PATIENCE)?;
    Ok(connection)
}

/// Looks before anything is written: what is not ours, or newer, stays as it is.
fn check(path: &Path) -> Result<(), StoreError> {
    if !path.try_exists().map_err(|error| StoreError::io(path, error))? {
        return Ok(());
    }
    let sql = |error: rusqlite::Error| wrong(path, &error);
    // Read-write, because a log that a killed server left is read through an index that is
    // written; no statement changes anything. Closing would move the log into the file.
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sql)?;
    connection
        .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(sql)?;
    check_open(&connection, path)
}

/// The same for a database that is open; `path` is told.
pub(super) fn check_open(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let damaged = |why: String| StoreError::Damaged { path: path.to_owned(), why };
    let sql = |error: rusqlite::Error| wrong(path, &error);
    let found = version(connection).map_err(sql)?;
    let application: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(sql)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sql)?;
    if application != APPLICATION && tables > 0 {
        return Err(damaged(format!("its application id is {application}")));
    }
    if found > MIGRATIONS.len() as i64 {
        let known = MIGRATIONS.len();
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sql)?;
    if verdict != "ok" { Err(damaged(verdict)) } else { Ok(()) }
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// A defect of the file, or of the file system.
pub(super) fn wrong(path: &Path, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseCorrupt, NotADatabase};
    match error.sqlite_error_code() {
        Some(DatabaseBusy) => StoreError::InUse {
            path: path.to_owned(),
            holder: "another process, which holds a lock on it".to_owned(),
        },
        Some(DatabaseCorrupt | NotADatabase) => {
            StoreError::Damaged { path: path.to_owned(), why: error.to_string() }
        }
        _ => StoreError::io(path, io::Error::other(error.to_string())),
    }
}
