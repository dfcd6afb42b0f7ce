//! Opening store files, making new ones, and distinguishing them from other files.
//!
//! No function here changes a file before it is known to be a complete store of this library in a known format. A new
//! store is made under another name and moved into place, so a store is either complete or absent.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig};

use super::StoreError;
use crate::{
    limits::STORE_LOG_BYTES,
    sqlite::{self, beside, quick_check, sync_commits},
};

/// The newest format known here: SQLite's `user_version`.
pub(super) const FORMAT: i64 = 3;
/// The mark of an SQLite file that is a store: its `application_id`, "BCvR".
pub(super) const APPLICATION_ID: i64 = 0x4243_7652;

const SCHEMA: &str = include_str!("schema.sql");
const TABLES: [&str; 5] = [
    "SELECT id, deployment, epoch, used FROM remote",
    "SELECT id, name FROM collection",
    "SELECT id, collection, name, chunks, heads, value, value_heads FROM document",
    "SELECT id, document, collection, hash, kind, holder, fields, bytes FROM chunk",
    "SELECT remote, collection, ts, ordinal FROM checkpoint",
];

/// The change of format 2. Without the column, pulling continues as if the log had never been pruned, or starts over.
const TO_FORMAT_2: &str = "ALTER TABLE checkpoint ADD COLUMN pruned INTEGER";
const TABLE_2: &str = "SELECT pruned FROM checkpoint";

/// The change of format 3. Without the table, a refused document is shown as refused when it was offered again.
const TO_FORMAT_3: &str = "CREATE TABLE refused (
    document INTEGER PRIMARY KEY REFERENCES document (id),
    remote INTEGER NOT NULL REFERENCES remote (id),
    since INTEGER NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT";
const TABLE_3: &str = "SELECT document, remote, since, code, reason FROM refused";

/// How long to wait for another process that has the file locked, for instance an sqlite3 shell.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The size of the cache of statements. This room has fewer statements.
const STATEMENTS: usize = 32;

/// The length of the header that SQLite writes at the start of a file:
/// <https://www.sqlite.org/fileformat.html#the_database_header>.
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Opens the store at `path`, or makes one. The caller has its lock.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    if is_new(path)? {
        create(path)?;
    }
    let mut connection = connect(path)?;
    let format = check(path, &connection)?;
    prepare(path, &connection)?;
    if format < FORMAT {
        upgrade(&mut connection).map_err(|error| StoreError::sqlite(path, error))?;
    }
    Ok(connection)
}

/// Whether there is nothing at `path`. An existing file is refused unless its first bytes are a store's.
pub(super) fn is_new(path: &Path) -> Result<bool, StoreError> {
    if path.is_dir() {
        return Err(StoreError::IsAFolder { path: path.to_owned() });
    }
    let io = |error| StoreError::io(path, error);
    let damaged = |problem: &str| StoreError::Damaged { path: path.to_owned(), problem: problem.to_owned() };
    let other = |problem: &str| StoreError::NotAStore { path: path.to_owned(), problem: problem.to_owned() };
    let mut header = Vec::new();
    let mut length = 0;
    match File::open(path) {
        Ok(file) => {
            length = file.metadata().map_err(io)?.len();
            file.take(HEADER_BYTES as u64).read_to_end(&mut header).map_err(io)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    let log = fs::metadata(beside(path, "-wal")).map_or(0, |metadata| metadata.len());
    if header.is_empty() {
        // An empty file has nothing to lose; but SQLite would play a log that belongs to another file into a new one.
        return if sqlite::has_orphaned_journal(path) { Err(damaged(sqlite::NO_FILE)) } else { Ok(true) };
    }
    if !MAGIC.starts_with(header.get(..MAGIC.len()).unwrap_or(&header)) {
        return Err(other("it is not an SQLite database"));
    }
    let Ok(header) = <[u8; HEADER_BYTES]>::try_from(header) else {
        return Err(damaged("it ends within its header"));
    };
    if word(&header, 68) != APPLICATION_ID {
        return Err(other("it is another program's SQLite database"));
    }
    let found = word(&header, 60);
    if found > FORMAT {
        return Err(newer(path, found));
    }
    let page = match i64::from(header[16]) << 8 | i64::from(header[17]) {
        1 => 65_536,
        size => size,
    };
    // With a log, the file may still have to grow to the size in its header.
    if log == 0 && i64::try_from(length).unwrap_or(i64::MAX) < word(&header, 28) * page {
        return Err(damaged("its end is missing"));
    }
    Ok(false)
}

fn word(header: &[u8; HEADER_BYTES], at: usize) -> i64 {
    header[at..at + 4].iter().fold(0, |word, byte| word << 8 | i64::from(*byte))
}

fn newer(path: &Path, found: i64) -> StoreError {
    StoreError::Newer { path: path.to_owned(), found, supported: FORMAT }
}

fn create(path: &Path) -> Result<(), StoreError> {
    let draft = beside(path, ".new");
    // A process that ended while making a store left its draft. This process has the lock, so no other uses the draft
    // now.
    remove(&draft).map_err(|error| StoreError::io(path, error))?;
    let made = fill(&draft)
        .map_err(|error| StoreError::sqlite(path, error))
        .and_then(|()| fs::rename(&draft, path).map_err(|error| StoreError::io(path, error)));
    match made {
        Ok(()) => sync_folder(path).map_err(|error| StoreError::io(path, error)),
        Err(error) => {
            // The draft may take up the last of a full disk. If it cannot be removed now, the next attempt removes it.
            let _ = remove(&draft);
            Err(error)
        }
    }
}

pub(super) fn remove(draft: &Path) -> io::Result<()> {
    for suffix in ["", "-journal"] {
        remove_file(&beside(draft, suffix))?;
    }
    Ok(())
}

/// Removes a file if there is one.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn fill(draft: &Path) -> rusqlite::Result<()> {
    let mut connection = Connection::open_with_flags(
        draft,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    sync_commits(&connection)?;
    let transaction = connection.transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// Makes the new name durable. Windows has no such call, and does it on its own.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let sqlite = |error| StoreError::sqlite(path, error);
    // The path must not be taken for a URI, even if it begins with `file:`.
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(sqlite)?;
    // Until the file is known to be a store of this library, closing must not move its log into it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(sqlite)?;
    // Plans are made once. Otherwise SQLite examines the bound values and plans anew for each document.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    Ok(connection)
}

/// Refuses a damaged store, and returns the format of an undamaged one. Only reads.
fn check(path: &Path, connection: &Connection) -> Result<i64, StoreError> {
    let sqlite = |error| StoreError::sqlite(path, error);
    let damaged = |problem: String| StoreError::Damaged { path: path.to_owned(), problem };
    // Read again, because the log may hold a newer number than the file's header.
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(sqlite);
    let found = number("user_version")?;
    if found > FORMAT {
        return Err(newer(path, found));
    }
    if found < 1 || number("application_id")? != APPLICATION_ID {
        return Err(damaged("it does not tell its format".to_owned()));
    }
    if let Some(problem) = quick_check(connection).map_err(sqlite)? {
        // SQLite's answer has several lines.
        return Err(damaged(problem.replace('\n', " ")));
    }
    for table in TABLES.into_iter().chain((found >= 2).then_some(TABLE_2)).chain((found >= 3).then_some(TABLE_3)) {
        if let Err(error) = connection.prepare(table) {
            return Err(match StoreError::sqlite(path, error) {
                StoreError::Unexpected { source, .. } => damaged(source.to_string()),
                error => error,
            });
        }
    }
    if connection.is_readonly("main").map_err(sqlite)? {
        return Err(StoreError::ReadOnly { path: path.to_owned() });
    }
    Ok(found)
}

/// Brings a store of an older format to the newest. Older programs refuse it from then on.
fn upgrade(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it since it was looked at.
    let found = transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    if found < 2 {
        transaction.execute_batch(TO_FORMAT_2)?;
    }
    if found < 3 {
        transaction.execute_batch(TO_FORMAT_3)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    transaction.commit()
}

/// Sets up a connection to a complete store of this library.
fn prepare(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let set = || {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "foreign_keys", true)?;
        sync_commits(connection)?;
        connection.pragma_update_and_check(None, "journal_size_limit", STORE_LOG_BYTES, |_| Ok(()))?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
    };
    let mode = set().map_err(|error| StoreError::sqlite(path, error))?;
    if mode != "wal" {
        return Err(StoreError::Lock {
            path: path.to_owned(),
            source: io::Error::other(format!("no write-ahead log, only journal mode {mode}")),
        });
    }
    Ok(())
}
