//! The point at which a write is on the disk, and the simulated disk that takes no writes.

use rusqlite::Connection;

/// After this call, a commit returns only when it is on the disk. Every report that something is saved or acknowledged
/// depends on this.
pub(crate) fn sync_commits(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    // On macOS fsync only hands data to the drive; elsewhere this does nothing:
    // <https://www.sqlite.org/pragma.html#pragma_fullfsync>.
    connection.pragma_update(None, "fullfsync", true)
}

/// Whether commits return only when they are on the disk, and readers do not wait for them.
#[cfg(test)]
pub(crate) fn is_durable(connection: &Connection) -> bool {
    // SQLite's number for FULL: <https://www.sqlite.org/pragma.html#pragma_synchronous>.
    const FULL: i64 = 2;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
    let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    let to_the_platter: bool = connection.pragma_query_value(None, "fullfsync", |row| row.get(0)).unwrap();
    (synchronous, journal.as_str(), to_the_platter) == (FULL, "wal", true)
}

#[cfg(feature = "simulation")]
thread_local! {
    /// The number of write transactions that the simulated disk of this thread still takes. `None` for any number.
    static WRITES_LEFT: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
}

/// Gives this thread a disk that takes `writes` more write transactions, or any number.
#[cfg(feature = "simulation")]
pub(crate) fn set_writes_left(writes: Option<u32>) {
    WRITES_LEFT.set(writes);
}

/// Called before each write transaction. A simulated disk may be full, or its process about to end.
#[cfg(feature = "simulation")]
pub(crate) fn disk_takes_a_write() -> rusqlite::Result<()> {
    match WRITES_LEFT.get() {
        Some(0) => Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None)),
        Some(left) => {
            WRITES_LEFT.set(Some(left - 1));
            Ok(())
        }
        None => Ok(()),
    }
}

/// Called before each write transaction. A real disk reports its own errors.
#[cfg(not(feature = "simulation"))]
pub(crate) const fn disk_takes_a_write() -> rusqlite::Result<()> {
    Ok(())
}
