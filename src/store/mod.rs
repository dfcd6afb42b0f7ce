//! The client's SQLite file. This is the only room of a client that touches the disk.
//!
//! An app has one file per profile. Changes are content-addressed rows, and the unsent changes and the positions to
//! pull from are derived from these rows. [`Store`] is synchronous. The worker runs it on a thread of its own and gives
//! all waiting writes as one batch to [`Store::commit`], which is one transaction that is synchronised to the disk.
//!
//! # Unsent chunks
//!
//! Every chunk has a holder: the remote, a (deployment, epoch), that was last known to have it. A chunk is unsent for a
//! remote unless that remote holds it. So another deployment, or one that was wiped, is offered everything again
//! without a reset.
//!
//! # Documents
//!
//! A document is its chunks. The heads and the value beside them are a cache, so that a world fills at start without
//! loading an Automerge document. Where heads and value do not match, the value is computed anew from the chunks.
//!
//! # Damage
//!
//! A damaged file is refused and left as it is, and so is a document with a chunk that does not have its hash.
//! [`Store::set_aside`] puts a new store in the place of such a file, with everything that can be read of it.
//!
//! The schema, and how to inspect and repair a store by hand: `docs/store.md`.

mod compact;
mod error;
mod file;
mod lock;
mod place;
mod read;
mod rebuild;
mod refused;
mod repair;
mod salvage;
#[cfg(test)]
mod tests;
mod unsent;
mod wipe;
mod write;

pub use error::StoreError;
pub use lock::Owner;
pub use place::{default_path, user_path};
#[cfg(feature = "internals")]
pub use rebuild::SetAside;

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use crate::sqlite;
// Re-exported for this room's callers.
pub use crate::record::{ChunkKind, DocumentWrite, RefusalCode, RefusedWrite, RemoteId, StoredChunk, Write};

/// An open store. Dropping it closes the file and releases the lock.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    // Fields are dropped in order, so the file is closed before the lock is released.
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
        let mut store = Self { path: path.to_owned(), connection, damaged: RefCell::default(), _lock: lock };
        store.finish_adoption()?;
        Ok(store)
    }

    /// The path of its file.
    #[cfg(any(test, feature = "internals"))]
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

    /// Fails if the simulated disk is full, or its process is about to end.
    fn may_write(&self) -> Result<(), StoreError> {
        sqlite::disk_takes_a_write().map_err(|error| self.sqlite(error))
    }

    fn sqlite(&self, error: rusqlite::Error) -> StoreError {
        StoreError::sqlite(&self.path, error)
    }
}
