//! The log on disk: one SQLite file in a directory of its own.

mod read;
mod row;
mod schema;

use std::{
    fs::{self, File, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, config::DbConfig};

use self::schema::FORMAT;
use super::{
    error::BackendError,
    log::{Damage, Log, Record},
};
use crate::sqlite;

const FILE: &str = "log.sqlite";
const LOCK: &str = "lock";

/// An open log file. No other process can use it until this is dropped.
pub(super) struct Store {
    path: PathBuf,
    connection: Connection,
    /// The lock of the directory, which is held while the store is open.
    _lock: File,
}

impl Store {
    /// Opens the log in a directory, which is created if necessary. A new log gets the id `epoch`.
    pub fn open(directory: &Path, epoch: &str) -> Result<Self, BackendError> {
        fs::create_dir_all(directory).map_err(|source| BackendError::Disk { path: directory.to_owned(), source })?;
        let lock = lock(directory)?;
        let path = directory.join(FILE);
        let connection = schema::connect(&path, epoch).map_err(|problem| problem.of(&path))?;
        Ok(Self { path, connection, _lock: lock })
    }

    /// Makes records durable, either all or none.
    pub fn write(&mut self, records: &[Record]) -> rusqlite::Result<()> {
        sqlite::disk_takes_a_write()?;
        let transaction = self.connection.transaction()?;
        for record in records {
            row::write(&transaction, record)?;
        }
        transaction.commit()
    }

    /// The number of bytes of the file that are in use.
    pub fn used_bytes(&self) -> rusqlite::Result<u64> {
        let number = |pragma| self.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let pages = number("page_count")? - number("freelist_count")?;
        Ok(u64::try_from(pages.saturating_mul(number("page_size")?)).unwrap_or_default())
    }

    /// Gives back the space that compaction has freed, if it is half of the file.
    pub fn reclaim(&self) -> rusqlite::Result<bool> {
        sqlite::reclaim(&self.connection)
    }

    /// Gives the log another id, durably.
    pub fn renew_epoch(&self, epoch: &str) -> Result<(), BackendError> {
        let renewed = self.connection.execute("UPDATE log SET epoch = ?1", [epoch]);
        renewed.map(drop).map_err(|source| Problem::Sqlite(source).of(&self.path))
    }

    /// Reads the whole log.
    pub fn read(&self) -> Result<Log, BackendError> {
        let read = read::log(&self.connection).and_then(|log| {
            self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
            Ok(log)
        });
        read.map_err(|problem| problem.of(&self.path))
    }
}

/// The reason why the file cannot be used.
enum Problem {
    Damaged(String),
    /// A newer program wrote the file in this format.
    Newer(i64),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Damage> for Problem {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage.to_string())
    }
}

impl Problem {
    fn of(self, path: &Path) -> BackendError {
        let path = path.to_owned();
        match self {
            Self::Damaged(problem) => BackendError::Damaged { path, problem },
            Self::Newer(found) => BackendError::Newer { path, found, known: FORMAT },
            Self::Sqlite(source) => match source.sqlite_error_code() {
                Some(code) if sqlite::is_damage(code) => BackendError::Damaged { path, problem: source.to_string() },
                // A column does not have the type of the schema, or the schema belongs to another program.
                None if !matches!(source, rusqlite::Error::InvalidPath(_)) => {
                    BackendError::Damaged { path, problem: source.to_string() }
                }
                _ => BackendError::Database { path, source },
            },
        }
    }
}

/// Locks the directory for this process.
fn lock(directory: &Path) -> Result<File, BackendError> {
    let path = directory.join(LOCK);
    let disk = |source| BackendError::Disk { path: path.clone(), source };
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(disk)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            // Where a lock keeps others from reading, the error does not name the process.
            let mut pid = String::new();
            let named = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            let holder = if named { format!("process {}", pid.trim()) } else { "another process".to_owned() };
            return Err(BackendError::InUse { path: directory.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(disk(source)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(disk)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::is_durable;

    #[test]
    fn a_commit_returns_when_it_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Store::open(folder.path(), "epoch").unwrap_or_else(|error| panic!("{error}"));
        let made = open();
        assert!(is_durable(&made.connection));
        drop(made);
        assert!(is_durable(&open().connection));
    }
}
