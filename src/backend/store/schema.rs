//! The tables of the file, and the upgrade of an older file.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, config::DbConfig};

use super::{Problem, read, row};
use crate::sqlite;

/// Marks the file as this program's: `bcrb`.
const APPLICATION: i64 = 0x6263_7262;
/// The format of the file. It increases with every change of the schema that an older program could not read.
pub(super) const FORMAT: i64 = 4;

/// Documents that were deleted long ago, and the place of the last row each of them had. The table exists since format 2,
/// and has the column `home` since format 4.
const PRUNED: &str = "
CREATE TABLE pruned (
    collection TEXT NOT NULL, id TEXT NOT NULL,
    ts INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    stamp BLOB,
    PRIMARY KEY (collection, id)
) STRICT;
";
/// The scope that a pruned document was in, as JSON. NULL: it was pruned before format 4, which recorded it first.
const HOME: &str = "ALTER TABLE pruned ADD COLUMN home TEXT";

/// Parts of chunks whose other parts are still to come: who sent them, and when they came. Format 1 had no `ts`, and
/// formats 1 to 3 no `sender`.
const PART: &str = "
CREATE TABLE part (
    collection TEXT NOT NULL, document TEXT NOT NULL, sender TEXT NOT NULL,
    hash BLOB NOT NULL, part_index INTEGER NOT NULL, part_count INTEGER NOT NULL,
    bytes BLOB NOT NULL, ts INTEGER NOT NULL,
    stamp BLOB,
    PRIMARY KEY (collection, document, sender, hash, part_index)
) STRICT;
";

/// The users who put the rows into the log, since format 3. Format 2 recorded no users.
const AUTHOR: &str = "ALTER TABLE chunk ADD COLUMN author TEXT";

/// The outcomes of mutations that clients may send again. Files of earlier programs get this table too. It needs no new
/// format: an earlier program ignores it.
const OUTCOMES: &str = "
CREATE TABLE IF NOT EXISTS outcome (
    session BLOB NOT NULL, request INTEGER NOT NULL,
    at INTEGER NOT NULL, ts INTEGER NOT NULL,
    value TEXT NOT NULL, -- in Convex's JSON encoding
    stamp BLOB,
    PRIMARY KEY (session, request)
) STRICT;
";

const SCHEMA: &str = "
CREATE TABLE log (epoch TEXT NOT NULL) STRICT;
-- A row of a collection's log. A timestamp belongs to one commit, so to one collection.
CREATE TABLE chunk (
    ts INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    collection TEXT NOT NULL, document TEXT NOT NULL,
    bytes BLOB NOT NULL,
    part_hash BLOB, part_index INTEGER, part_count INTEGER,
    covers BLOB, -- of a snapshot: the changes in it
    stamp BLOB, -- SHA-256 of the columns before it, here and below; SQLite has no checksums. NULL: from before there were stamps
    UNIQUE (ts, ordinal)
) STRICT;
CREATE TABLE document (
    collection TEXT NOT NULL, id TEXT NOT NULL, scope TEXT,
    heads BLOB NOT NULL, fields TEXT NOT NULL, deleted INTEGER NOT NULL,
    modified INTEGER NOT NULL, merged INTEGER NOT NULL,
    stamp BLOB,
    PRIMARY KEY (collection, id)
) STRICT;
";

/// Opens the file, which is created if necessary. A new log gets the id `epoch`.
pub(super) fn connect(path: &Path, epoch: &str) -> Result<Connection, Problem> {
    if sqlite::has_orphaned_journal(path) {
        return Err(Problem::Damaged(sqlite::NO_FILE.into()));
    }
    let mut connection = Connection::open(path)?;
    // Until the whole log was read, closing must not move the file's journal into it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let format: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_new = application == 0 && format == 0 && tables == 0;
    if !is_new {
        if application != APPLICATION {
            return Err(Problem::Damaged("it is another program's database".into()));
        }
        if format > FORMAT {
            return Err(Problem::Newer(format));
        }
        if let Some(problem) = sqlite::quick_check(&connection)? {
            return Err(Problem::Damaged(problem));
        }
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    sqlite::sync_commits(&connection)?;
    if is_new {
        make(&mut connection, epoch)?;
    } else {
        add_stamps(&mut connection)?;
        if format < FORMAT {
            upgrade(&mut connection, format)?;
        }
        connection.execute_batch(OUTCOMES)?;
    }
    Ok(connection)
}

fn make(connection: &mut Connection, epoch: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    for sql in [AUTHOR, PRUNED, HOME, PART, OUTCOMES] {
        transaction.execute_batch(sql)?;
    }
    transaction.execute("INSERT INTO log (epoch) VALUES (?1)", [epoch])?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Adds the columns for stamps to a log that was written before there were stamps.
fn add_stamps(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for table in ["chunk", "document", "part"] {
        let has: bool = transaction.query_row(
            "SELECT count(*) FROM pragma_table_info(?1) WHERE name = 'stamp'",
            [table],
            |row| row.get(0),
        )?;
        if !has {
            transaction.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN stamp BLOB"))?;
        }
    }
    transaction.commit()
}

/// Upgrades an older log in one transaction. The times when the parts of format 1 came are unknown, so they are set to
/// the present time. Rows without the columns of later formats keep the stamps that they have.
fn upgrade(connection: &mut Connection, format: i64) -> Result<(), Problem> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
    let transaction = connection.transaction()?;
    if format < 2 {
        transaction.execute_batch(PRUNED)?;
    }
    if format < 3 {
        transaction.execute_batch(AUTHOR)?;
    }
    transaction.execute_batch(HOME)?;
    transaction.execute_batch("ALTER TABLE part RENAME TO former_part")?;
    transaction.execute_batch(PART)?;
    {
        let ts = if format < 2 { "" } else { "ts, " };
        let mut statement = transaction.prepare(&format!(
            "SELECT collection, document, hash, part_index, part_count, bytes, {ts}stamp FROM former_part"
        ))?;
        let columns = if format < 2 { 6 } else { 7 };
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let ts = if format < 2 { now } else { row.get(6)? };
            row::write(&transaction, &read::former_part(row, columns, ts)?)?;
        }
    }
    transaction.execute_batch("DROP TABLE former_part")?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    Ok(transaction.commit()?)
}
