//! Stores that are deleted, and stores whose edits another one takes.

#[cfg(any(feature = "bevy", test))]
use std::io;
use std::{collections::BTreeSet, fs, path::Path};

use rusqlite::params;

use super::{ChunkKind, DocumentWrite, Store, StoreError, Write, file, lock, rebuild, write::kind_to_number};
use crate::{chunk::inspect, format, sqlite::beside};

/// Ends the name of a store that the store beside it is about to take in.
const ADOPTED: &str = ".adopted";

impl Store {
    /// Deletes the store at `path`, and the copies that were set aside. Returns the number of edits that no deployment
    /// had taken, and that are lost with it.
    ///
    /// Unless `lose_unsent`, such edits are a reason to refuse ([`StoreError::Unsent`]), and so is a store that cannot
    /// be read. No program may have the store open.
    pub fn wipe(path: &Path, lose_unsent: bool) -> Result<u64, StoreError> {
        let path = &std::path::absolute(path).map_err(|error| StoreError::io(path, error))?;
        let (edits, held) = match Self::open_existing(path) {
            Ok(None) => (0, None),
            Ok(Some(store)) => {
                let edits = store.own_unsent()?;
                // The lock is kept, so that nobody makes an edit between counting and deleting.
                let Self { connection, _lock: held, .. } = store;
                drop(connection);
                (edits, Some(held))
            }
            Err(error) if lose_unsent && error.is_damage() => (0, None),
            Err(error) => return Err(error),
        };
        if edits > 0 && !lose_unsent {
            return Err(StoreError::Unsent { path: path.clone(), edits });
        }
        let io = |error| StoreError::io(path, error);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(0) };
        if !folder.is_dir() {
            return Ok(0);
        }
        // The lock file stays, because another process may wait for the lock.
        let _lock = match held {
            Some(held) => held,
            None => lock::Lock::acquire(path)?,
        };
        let kept = [beside(path, ".lock"), beside(path, ".owner")];
        let name = name.to_string_lossy().into_owned();
        // The database first: without it, its log is not read.
        file::remove_file(path).map_err(io)?;
        for entry in fs::read_dir(folder).map_err(io)? {
            let found = entry.map_err(io)?.path();
            let rest = found.file_name().and_then(|found| found.to_str()).and_then(|found| found.strip_prefix(&*name));
            // A folder has the stores of this one's users.
            if rest.is_some_and(|rest| rest.starts_with(['.', '-'])) && !kept.contains(&found) && !found.is_dir() {
                file::remove_file(&found).map_err(io)?;
            }
        }
        file::sync_folder(path).map_err(io)?;
        Ok(edits)
    }

    /// Moves the edits in the store `from` that no deployment has taken to the store `to`. `from` is empty afterwards.
    /// No program may have either store open.
    ///
    /// First `from` gets another name beside `to`, so that no third store can take it. If the process ends before `to`
    /// has all edits, the next process that opens `to` goes on. Nothing is moved if `from` has changes that cannot be
    /// read.
    #[cfg(any(feature = "bevy", test))]
    pub fn adopt(from: &Path, to: &Path) -> Result<(), StoreError> {
        // An earlier adoption may be unfinished.
        drop(Self::open(to)?);
        let Some(store) = Self::open_existing(from)? else { return Ok(()) };
        for collection in store.collections()? {
            if let (_, Some(damaged)) = store.edits_of(&collection)? {
                return Err(damaged);
            }
        }
        let Self { path, connection, _lock, .. } = store;
        // Closing moves the log into the database, unless the disk is full or another program reads the database.
        connection.close().map_err(|(_, error)| StoreError::sqlite(&path, error))?;
        if fs::metadata(beside(&path, "-wal")).is_ok_and(|log| log.len() > 0) {
            let problem =
                "its log cannot be moved into it: free space on the disk, and close other programs that read it";
            return Err(StoreError::io(&path, io::Error::other(problem)));
        }
        // The path may be a symbolic link.
        let path = fs::canonicalize(&path).map_err(|error| StoreError::io(&path, error))?;
        fs::rename(&path, beside(to, ADOPTED)).map_err(|error| StoreError::io(&path, error))?;
        file::sync_folder(&path).map_err(|error| StoreError::io(&path, error))?;
        drop(Self::open(to)?);
        Ok(())
    }

    /// Takes in the store that was given to this one, if there is one.
    pub(super) fn finish_adoption(&mut self) -> Result<(), StoreError> {
        let adopted = beside(&self.path, ADOPTED);
        if !adopted.exists() {
            return Ok(());
        }
        let connection = match file::open(&adopted) {
            Err(error) if error.is_damage() => return self.keep_given(&adopted, &error),
            opened => opened?,
        };
        let given = Self {
            connection,
            path: adopted.clone(),
            damaged: Default::default(),
            _lock: lock::Lock::acquire(&adopted)?,
        };
        let mut damaged = None;
        for collection in given.collections()? {
            let (writes, error) = given.edits_of(&collection)?;
            damaged = damaged.or(error);
            self.commit(&writes)?;
            // The documents may have had other changes here, so their values are computed when they are read.
            for write in &writes {
                if let (collection, Some(id)) = write.place() {
                    self.connection
                        .prepare_cached(
                            "UPDATE document SET value_heads = NULL WHERE name = ?2 AND collection = \
                             (SELECT id FROM collection WHERE name = ?1)",
                        )
                        .and_then(|mut update| update.execute(params![collection, id.as_str()]))
                        .map_err(|error| self.sqlite(error))?;
                }
            }
        }
        drop(given);
        match damaged {
            Some(error) => self.keep_given(&adopted, &error),
            None => Self::wipe(&adopted, true).map(|_| ()),
        }
    }

    /// Keeps a given store of which something cannot be read among the damaged copies of this one: it must neither be
    /// lost nor keep this store from being opened.
    fn keep_given(&self, adopted: &Path, error: &StoreError) -> Result<(), StoreError> {
        tracing::error!(target: "bevy_convex_replicate::store", %error, "not everything was adopted; the rest is kept");
        rebuild::keep_among(adopted, &self.path).map_err(|error| StoreError::io(adopted, error))
    }

    /// The documents of a collection with edits that no deployment has taken, as another store takes them in; and an
    /// error if there are documents that cannot be read.
    fn edits_of(&self, collection: &str) -> Result<(Vec<Write>, Option<StoreError>), StoreError> {
        let (mut writes, mut damaged) = (Vec::new(), None);
        for document in self.documents(collection, None, usize::MAX)? {
            let mut chunks = match self.chunks(collection, &document.id) {
                Err(error @ StoreError::DamagedDocument { .. }) => {
                    damaged = Some(error);
                    continue;
                }
                chunks => chunks?,
            };
            if chunks.iter().all(|chunk| chunk.remote.is_some()) {
                continue;
            }
            chunks.iter_mut().for_each(|chunk| chunk.remote = None);
            let (collection, id, heads, value) = (collection.to_owned(), document.id, document.heads, document.value);
            writes.push(Write::Document(DocumentWrite { collection, id, chunks, heads, value }));
        }
        let damaged = damaged.or_else(|| self.take_damaged().pop());
        Ok((writes, damaged))
    }

    /// `None` if there is nothing of a store at `path`. The store may be missing because it was about to be replaced, or
    /// to take in another one.
    fn open_existing(path: &Path) -> Result<Option<Self>, StoreError> {
        let parts = ["", "-wal", "-journal", rebuild::REBUILT, ADOPTED];
        match parts.iter().any(|part| beside(path, part).exists()) {
            true => Self::open(path).map(Some),
            false => Ok(None),
        }
    }

    /// How many edits of this client no deployment has taken. A document with a plain name is made by several changes,
    /// which count as one edit.
    fn own_unsent(&self) -> Result<u64, StoreError> {
        let count = || -> rusqlite::Result<u64> {
            let mut statement = self
                .connection
                .prepare_cached("SELECT document, bytes FROM chunk WHERE holder IS NULL AND kind = ?1")?;
            let mut rows = statement.query([kind_to_number(ChunkKind::Change)])?;
            let (mut edits, mut made) = (0, BTreeSet::new());
            while let Some(row) = rows.next()? {
                let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
                match inspect::change(bytes) {
                    Ok(change) if format::is_place_change(&change) => drop(made.insert(row.get::<_, i64>(0)?)),
                    _ => edits += 1,
                }
            }
            Ok(edits + made.len() as u64)
        };
        count().map_err(|error| self.sqlite(error))
    }

    fn collections(&self) -> Result<Vec<String>, StoreError> {
        let find = || -> rusqlite::Result<Vec<String>> {
            let mut statement = self.connection.prepare_cached("SELECT name FROM collection ORDER BY name")?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        find().map_err(|error| self.sqlite(error))
    }
}
