//! Reads everything readable from a damaged store.
//!
//! Rows are found by their ids in the tables themselves, passing over pages that SQLite cannot read. A change is kept
//! if its own checksum holds, in the document that two of three places name (its row and two indices). A change in the
//! wrong document would damage that document for all clients.

use std::{cell::RefCell, collections::HashMap, fs, path::Path};

use automerge::{AutoCommit, Change};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, config::DbConfig, params};

use super::{
    ChunkKind, StoreError, file,
    read::chunk_rows,
    repair::{self, stamp},
    write::{heads_to_blob, kind_to_number},
};
use crate::{
    chunk::{chunk_hash, inspect},
    format,
    sqlite::sync_commits,
};

/// The number of ids that are tried one by one after a row that cannot be read, before the steps grow. A page holds
/// fewer rows than this.
const TRIED_ONE_BY_ONE: u32 = 1_024;
/// The distance beyond the last readable row within which ids are tried: an app does not make more changes.
const FARTHEST: i64 = 1 << 40;

/// The amount of data that was read, and the errors for the rest.
#[derive(Default)]
pub(super) struct Salvaged {
    pub(super) documents: usize,
    pub(super) chunks: usize,
    pub(super) lost: Vec<StoreError>,
}

struct Salvage<'a> {
    old: &'a Connection,
    new: &'a Connection,
    /// The future name of the damaged file, for errors.
    name: &'a Path,
    lost: RefCell<Vec<StoreError>>,
}

/// A document by its number: its collection's number, its name, and how many chunks it should have, if that is known.
type Names = HashMap<i64, (i64, String, Option<i64>)>;

/// Fills `draft`, an empty store, with the readable data of `old`, which is going to be called `name`.
pub(super) fn salvage(old: &Path, name: &Path, draft: &Path) -> Result<Salvaged, StoreError> {
    let unreadable = |problem: String| Salvaged {
        lost: vec![StoreError::Lost { path: name.to_owned(), problem }],
        ..Salvaged::default()
    };
    match file::is_new(old) {
        Ok(true) => return Ok(Salvaged::default()),
        // SQLite deletes the log of an empty file.
        Err(StoreError::Damaged { problem, .. }) if fs::metadata(old).map_or(0, |file| file.len()) == 0 => {
            return Ok(unreadable(problem));
        }
        Ok(false) | Err(StoreError::Damaged { .. }) => {}
        Err(StoreError::NotAStore { problem, .. }) => return Ok(unreadable(problem)),
        Err(error) => return Err(error),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(old, flags).and_then(|old| look_closely(&old).map(|()| old));
    let old = match opened {
        Ok(old) => old,
        Err(error) => return Ok(unreadable(error.to_string())),
    };
    write(&old, name, draft).map_err(|error| StoreError::sqlite(draft, error))
}

fn look_closely(old: &Connection) -> rusqlite::Result<()> {
    old.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    old.busy_timeout(file::BUSY_TIMEOUT)?;
    // SQLite checks pages before it uses them, and uses the readable part of a damaged schema.
    old.pragma_update(None, "cell_size_check", true)?;
    old.pragma_update(None, "writable_schema", true)?;
    old.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// Returns errors of writing. Errors of reading are noted in the result.
fn write(old: &Connection, name: &Path, draft: &Path) -> rusqlite::Result<Salvaged> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut new = Connection::open_with_flags(draft, flags)?;
    sync_commits(&new)?;
    // Chunks are found before it is known whether their documents can be made of them.
    new.pragma_update(None, "foreign_keys", false)?;
    let transaction = new.transaction()?;
    let salvage = Salvage { old, new: &transaction, name, lost: RefCell::default() };
    let mut salvaged = salvage.run()?;
    salvaged.lost = salvage.lost.into_inner();
    transaction.commit()?;
    new.close().map_err(|(_, error)| error)?;
    Ok(salvaged)
}

impl Salvage<'_> {
    fn run(&self) -> rusqlite::Result<Salvaged> {
        let collections = self.collections();
        let documents = self.documents(&collections);
        for (key, name) in &collections {
            self.new.execute("INSERT INTO collection (id, name) VALUES (?1, ?2)", params![key, name])?;
        }
        let has = self.chunks(&collections, &documents)?;
        let mut salvaged = Salvaged::default();
        let mut keys: Vec<_> = documents.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            let (collection, name, expected) = &documents[&key];
            let chunks = has.get(&key).copied().unwrap_or_default();
            if self.finish_document(key, *collection, &collections[collection], name, chunks)? {
                if expected.is_some_and(|expected| expected != chunks) {
                    let problem = format!("{chunks} of its {} changes were read", expected.unwrap_or_default());
                    self.lose(format!("{}/{name}: {problem}", collections[collection]));
                }
                salvaged.documents += 1;
                salvaged.chunks += usize::try_from(chunks).unwrap_or(0);
            }
        }
        Ok(salvaged)
    }

    fn collections(&self) -> HashMap<i64, String> {
        let mut found = HashMap::new();
        self.walk("collection", "id, name", |row| {
            let (key, name): (i64, String) = (row.get(0)?, row.get(1)?);
            let same = "SELECT id FROM collection INDEXED BY sqlite_autoindex_collection_1 WHERE name = ?1";
            if self.agrees(same, params![name], key) {
                found.insert(key, name);
            } else {
                self.lose(format!("the index does not know the collection {name:?}"));
            }
            Ok(())
        });
        found
    }

    fn documents(&self, collections: &HashMap<i64, String>) -> Names {
        let mut found = Names::new();
        self.walk("document", "id, collection, name, chunks", |row| {
            let (key, collection, name): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let same =
                "SELECT id FROM document INDEXED BY sqlite_autoindex_document_1 WHERE collection = ?1 AND name = ?2";
            if collections.contains_key(&collection) && self.agrees(same, params![collection, name], key) {
                found.insert(key, (collection, name, row.get(3).ok()));
            } else {
                self.lose(format!("the index does not know the document {name:?}"));
            }
            Ok(())
        });
        // Where the page of a row is damaged, the index may still have its name.
        let mut index = || -> rusqlite::Result<()> {
            let names = "SELECT id, collection, name FROM document INDEXED BY sqlite_autoindex_document_1";
            let mut statement = self.old.prepare(names)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (key, collection, name): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                if collections.contains_key(&collection) && !found.contains_key(&key) && self.lacks_row(key) {
                    found.insert(key, (collection, name, None));
                }
            }
            Ok(())
        };
        if let Err(error) = index() {
            self.lose(format!("the index of documents: {error}"));
        }
        found
    }

    /// Copies every chunk that is whole and whose document is known. Returns how many each document has.
    fn chunks(&self, collections: &HashMap<i64, String>, documents: &Names) -> rusqlite::Result<HashMap<i64, i64>> {
        let mut has: HashMap<i64, i64> = HashMap::new();
        let mut failed = None;
        self.walk("chunk", "id, document, collection, holder, bytes", |row| {
            let id: i64 = row.get(0)?;
            let told: i64 = row.get(1)?;
            let bytes = row.get_ref(4)?.as_blob()?;
            let place = |document| {
                documents
                    .get(&document)
                    .map_or_else(String::new, |(key, name, _)| format!("{}/{name}: ", collections[key]))
            };
            let owner = name_of(bytes).and_then(|(hash, kind)| {
                let document = self.owner(id, told, &hash, row.get(2).ok(), row.get(3).ok().flatten());
                let document = document.ok_or("its row and the index name different documents")?;
                let (collection, ..) = documents.get(&document).ok_or("the name of its document cannot be read")?;
                Ok((document, *collection, hash, kind))
            });
            match owner {
                Ok((document, collection, hash, kind)) => {
                    match self.keep(id, document, collection, &hash, kind, bytes) {
                        Ok(count) => *has.entry(document).or_default() += count,
                        Err(error) => failed = Some(error),
                    }
                }
                Err(problem) => self.lose(format!("{}change number {id}: {problem}", place(told))),
            }
            Ok(())
        });
        failed.map_or(Ok(has), Err)
    }

    /// Whether the index finds this row by the row's own values. An index that cannot be read counts as agreement.
    fn agrees(&self, sql: &str, values: impl rusqlite::Params, id: i64) -> bool {
        let found = self
            .old
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_row(values, |row| row.get::<_, i64>(0)).optional());
        found.map_or(true, |found| found == Some(id))
    }

    /// The document of a change. Two of the three places that name it must agree.
    fn owner(&self, id: i64, told: i64, hash: &[u8; 32], collection: Option<i64>, holder: Option<i64>) -> Option<i64> {
        if self.belongs(id, told, hash) {
            return Some(told);
        }
        let third: i64 = self
            .old
            .prepare_cached(
                "SELECT document FROM chunk INDEXED BY chunk_holder WHERE holder IS ?1 AND collection = ?2 AND id = ?3",
            )
            .and_then(|mut statement| statement.query_row(params![holder, collection, id], |row| row.get(0)))
            .ok()?;
        (third == told || self.belongs(id, third, hash)).then_some(third)
    }

    fn belongs(&self, id: i64, document: i64, hash: &[u8; 32]) -> bool {
        let same = "SELECT id FROM chunk INDEXED BY sqlite_autoindex_chunk_1 WHERE document = ?1 AND hash = ?2";
        self.agrees(same, params![document, hash], id)
    }

    /// Whether a document's row cannot be read. If it can be read and disagrees with the index, neither is used.
    fn lacks_row(&self, key: i64) -> bool {
        let found = self
            .old
            .prepare_cached("SELECT id FROM document NOT INDEXED WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([key], |row| row.get::<_, i64>(0)).optional());
        !matches!(found, Ok(Some(_)))
    }

    /// Returns how many rows it made: 0 or 1. The fields that a change touches are not carried over, so the deployment
    /// merges it.
    fn keep(
        &self,
        id: i64,
        document: i64,
        collection: i64,
        hash: &[u8; 32],
        kind: ChunkKind,
        bytes: &[u8],
    ) -> rusqlite::Result<i64> {
        let added = self
            .new
            .prepare_cached(
                "INSERT INTO chunk (id, document, collection, hash, kind, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT (document, hash) DO NOTHING",
            )?
            .execute(params![id, document, collection, hash, kind_to_number(kind), bytes])?;
        Ok(i64::from(added > 0))
    }

    /// Makes the document's row. Returns false if no chunk of it could be read.
    fn finish_document(
        &self,
        key: i64,
        collection: i64,
        collection_name: &str,
        name: &str,
        chunks: i64,
    ) -> rusqlite::Result<bool> {
        let rows = chunk_rows(self.new, key)?;
        let problem = match repair::load(rows.iter().map(|row| &row.chunk)) {
            Ok(loaded) => {
                let mut heads = loaded.document.get_heads();
                heads.sort();
                let (heads, value) = (heads_to_blob(&heads), format::read(&loaded.document).to_json_text());
                // An incomplete document has no stamp: see `repair`.
                let stamp = loaded.missing.is_none().then(|| stamp(&heads, &value));
                self.new
                    .prepare_cached(
                        "INSERT INTO document (id, collection, name, chunks, heads, value, value_heads) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    )?
                    .execute(params![key, collection, name, chunks, heads, value, stamp])?;
                return Ok(true);
            }
            Err(problem) => problem,
        };
        self.new.execute("DELETE FROM chunk WHERE document = ?1", [key])?;
        self.lose(format!("{collection_name}/{name}: {problem}"));
        Ok(false)
    }

    fn lose(&self, problem: String) {
        self.lost.borrow_mut().push(StoreError::Lost { path: self.name.to_owned(), problem });
    }

    /// Calls `take` with every readable row of a table, in the order of `id`, which is the first column.
    fn walk(&self, table: &str, columns: &str, mut take: impl FnMut(&Row) -> rusqlite::Result<()>) {
        let sql = format!("SELECT {columns} FROM {table} NOT INDEXED WHERE id > ?1 ORDER BY id");
        let (mut seen, mut step) = (0, 0);
        let mut tries = 0;
        while step <= FARTHEST {
            let from = seen;
            let Err(error) = self.walk_on(&sql, from + step, &mut seen, &mut take) else { return };
            if seen > from || tries == 0 {
                self.lose(format!("rows of {table} after number {seen}: {error}"));
                (tries, step) = (0, 0);
            }
            tries += 1;
            step = if tries <= TRIED_ONE_BY_ONE { step + 1 } else { step * 2 };
        }
    }

    /// Reads on until there are no more rows, or one cannot be read.
    fn walk_on(
        &self,
        sql: &str,
        after: i64,
        seen: &mut i64,
        take: &mut impl FnMut(&Row) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let mut statement = self.old.prepare_cached(sql)?;
        let mut rows = statement.query([after])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            if id <= *seen {
                // Ids only grow, unless damaged pages link to each other in a circle.
                return Err(rusqlite::Error::IntegralValueOutOfRange(0, id));
            }
            *seen = id;
            if let Err(error) = take(row) {
                self.lose(format!("row number {id}: {error}"));
            }
        }
        Ok(())
    }
}

/// A chunk's hash and kind, if it is whole.
fn name_of(bytes: &[u8]) -> Result<([u8; 32], ChunkKind), String> {
    if inspect::is_snapshot(bytes) {
        return match AutoCommit::load(bytes) {
            Ok(_) => Ok((chunk_hash(bytes).0, ChunkKind::Snapshot)),
            Err(error) => Err(error.to_string()),
        };
    }
    // `try_from` verifies the checksum.
    match Change::try_from(bytes) {
        Ok(change) => Ok((change.hash().0, ChunkKind::Change)),
        Err(error) => Err(error.to_string()),
    }
}
