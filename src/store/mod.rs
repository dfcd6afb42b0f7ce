//! SQLite: the only room that touches the disk.
//!
//! One file per app and profile. Changes are content-addressed rows; what is unsent and where to pull from is
//! derived from what is stored. [`Store`] is synchronous; the worker runs it on a thread of its own and gives it everything that waits as one
//! batch to [`Store::commit`], which is one transaction, synchronised to the disk.
//!
//! # What is unsent
//!
//! Every chunk has a holder: the remote, a (deployment, epoch), that was last known to have it. A chunk is unsent for a remote if
//! another one holds it, or none does. So switching to another deployment, or to one that was wiped, offers everything again, and
//! nothing needs to be reset for that.
//!
//! # What a document is
//!
//! Its chunks. Its heads and its value beside them are a cache, so that a world fills at start without loading a single
//! Automerge document; where the two do not match, the value is computed anew from the chunks.
//!
//! # Damage
//!
//! A file that is not whole is refused and left as it is, and so is a document of which a chunk is not what its hash says. One call,
//! [`Store::set_aside`], puts a new store in the place of such a file, with all that can be read of it.
//!
//! The schema, and how to inspect and repair a store by hand: `docs/store.md`.

mod compact;
mod error;
mod file;
mod lock;
mod place;
mod read;
mod rebuild;
mod repair;
mod salvage;
#[cfg(test)]
mod tests;
mod unsent;
mod write;

pub use error::StoreError;
pub use lock::Owner;
pub use place::default_path;
pub use rebuild::SetAside;
pub use unsent::{UnsentChange, UnsentDocument};

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use crate::sqlite;
// Re-exported for this room's callers.
pub use crate::record::{ChunkKind, DocumentWrite, RemoteId, StoredChunk, Write};

/// An open store. Dropping it closes the file and gives up the lock.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    // Closed before the lock is given up: fields are dropped in order.
    connection: Connection,
    damaged: RefCell<Vec<StoreError>>,
    _lock: lock::Lock,
}

impl Store {
    /// Opens the store at `path`, or makes one, with its folder if need be, and locks it for this process.
    ///
    /// A file that is not a store, is damaged or comes from a later version is refused and left as it is.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let path = &std::path::absolute(path).map_err(|error| StoreError::io(path, error))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
        }
        if path.is_dir() {
            return Err(StoreError::IsAFolder { path: path.to_owned() });
        }
        let lock = lock::Lock::acquire(path)?;
        rebuild::finish(path)?;
        let connection = file::open(path)?;
        Ok(Self { path: path.to_owned(), connection, damaged: RefCell::default(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All remotes there are: deployment and epoch of each.
    #[cfg(feature = "simulation")]
    pub(crate) fn remotes(&self) -> Result<Vec<(RemoteId, String, String)>, StoreError> {
        let find = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.connection.prepare_cached("SELECT id, deployment, epoch FROM remote")?;
            statement.query_map([], |row| Ok((RemoteId(row.get(0)?), row.get(1)?, row.get(2)?)))?.collect()
        };
        find().map_err(|error| self.sqlite(error))
    }

    /// Where a simulated disk is full, or its process about to end.
    fn may_write(&self) -> Result<(), StoreError> {
        sqlite::disk_takes_a_write().map_err(|error| self.sqlite(error))
    }

    fn sqlite(&self, error: rusqlite::Error) -> StoreError {
        StoreError::sqlite(&self.path, error)
    }
}
