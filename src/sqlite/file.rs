//! The files of a database: their names, signs of damage, and the space they take.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode};

use crate::limits::RECLAIM_BYTES;

/// The problem that [`has_orphaned_journal`] finds.
pub(crate) const NO_FILE: &str = "the file is missing or empty while its journal is there";

/// The file of this name with `suffix` at its end.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Whether a database is missing or empty and its journal is not. SQLite would delete the journal, or play it into a
/// new file.
pub(crate) fn has_orphaned_journal(path: &Path) -> bool {
    length(path) == 0 && ["-wal", "-journal"].iter().any(|suffix| length(&beside(path, suffix)) > 0)
}

/// 0 if there is no such file.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The first problem that SQLite's own check finds, if any. Reads the whole file.
pub(crate) fn quick_check(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((check != "ok").then_some(check))
}

/// Whether an error of SQLite means that the file is damaged, or is not a database. This library's statements fit its
/// schemas. So if SQLite cannot compile one, which is [`ErrorCode::Unknown`], the schema in the file has changed.
pub(crate) fn is_damage(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
}

/// Rewrites a database if half of it is free, and at least [`RECLAIM_BYTES`], because SQLite would keep the space. A
/// rewrite is as safe as a commit, and takes time in proportion to the data that is left. Returns whether it was
/// needed.
pub(crate) fn reclaim(connection: &Connection) -> rusqlite::Result<bool> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (free, pages, bytes) = (number("freelist_count")?, number("page_count")?, number("page_size")?);
    if free.saturating_mul(2) < pages || free.saturating_mul(bytes) < RECLAIM_BYTES {
        return Ok(false);
    }
    connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
    Ok(true)
}
