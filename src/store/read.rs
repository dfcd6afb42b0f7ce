use std::sync::Arc;

use automerge::ChangeHash;
use rusqlite::{Connection, OptionalExtension, Row, params, types::ValueRef};

use super::{ChunkKind, RemoteId, Store, StoreError, StoredChunk, repair::stamp, write::find_collection};
use crate::{
    DocumentId,
    format::Value,
    record::{Checkpoint, Position, StoredDocument},
};

impl Store {
    /// The remote last [asked for](Self::remote) with this deployment's URL, if any. Changes count as unsent for this
    /// remote until the deployment has named the epoch of its log.
    pub fn last_remote(&self, deployment: &str) -> Result<Option<RemoteId>, StoreError> {
        self.connection
            .prepare_cached("SELECT id FROM remote WHERE deployment = ?1 ORDER BY used DESC LIMIT 1")
            .and_then(|mut statement| statement.query_row([deployment], |row| row.get(0).map(RemoteId)).optional())
            .map_err(|error| self.sqlite(error))
    }

    /// Whether a remote is believed to hold any chunk of a collection.
    pub fn holds_any(&self, remote: RemoteId, collection: &str) -> Result<bool, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM chunk \
                 WHERE holder = ?1 AND collection = (SELECT id FROM collection WHERE name = ?2))",
            )
            .and_then(|mut statement| statement.query_row(params![remote.0, collection], |row| row.get(0)))
            .map_err(|error| self.sqlite(error))
    }

    /// The position to pull a collection from: the store has everything of the remote's log up to here.
    pub fn checkpoint(&self, remote: RemoteId, collection: &str) -> Result<Option<Checkpoint>, StoreError> {
        self.connection
            .prepare_cached(
                "SELECT ts, ordinal, pruned FROM checkpoint JOIN collection ON collection.id = checkpoint.collection \
                 WHERE remote = ?1 AND name = ?2",
            )
            .and_then(|mut statement| {
                // A checkpoint that no log gives out is ignored: pulling from the start costs time and loses nothing.
                let checkpoint = |row: &Row| {
                    Ok(match (row.get(0), row.get(1)) {
                        // A missing mark of pruning loses nothing either.
                        (Ok(ts @ 0..), Ok(ordinal)) => Some(Checkpoint {
                            position: Position { ts, ordinal },
                            pruned: row.get(2).unwrap_or_default(),
                        }),
                        _ => None,
                    })
                };
                statement.query_row(params![remote.0, collection], checkpoint).optional()
            })
            .map(Option::flatten)
            .map_err(|error| self.sqlite(error))
    }

    /// Documents of a collection by their ids' order, tombstones included: at most `limit` of those after `after`.
    /// Fewer than `limit` means that there are no more.
    ///
    /// A document whose cached value does not belong to its chunks gets a new one. If its chunks cannot be read either,
    /// it is left out and [`take_damaged`](Self::take_damaged) returns the error. A document without heads lacks
    /// changes that its chunks depend on. It has nothing to show until the deployment has sent these.
    pub fn documents(
        &self,
        collection: &str,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<StoredDocument>, StoreError> {
        let mut documents = Vec::new();
        let key = find_collection(&self.connection, collection).map_err(|error| self.sqlite(error))?;
        let Some(key) = key else {
            return Ok(documents);
        };
        let mut after = after.cloned();
        while documents.len() < limit {
            let wanted = limit - documents.len();
            let page = self.document_page(key, after.as_ref(), wanted).map_err(|error| self.sqlite(error))?;
            let last = page.len() < wanted;
            after = page.last().map(|entry| entry.id.clone());
            for entry in page {
                match self.current(collection, entry) {
                    Ok((document, _)) => documents.push(document),
                    Err(error @ StoreError::DamagedDocument { .. }) => {
                        self.damaged.borrow_mut().push(error);
                    }
                    Err(error) => return Err(error),
                }
            }
            if last {
                break;
            }
        }
        Ok(documents)
    }

    /// One document, as [`documents`](Self::documents) gives it.
    #[cfg(feature = "internals")]
    pub fn document(&self, collection: &str, id: &DocumentId) -> Result<Option<StoredDocument>, StoreError> {
        let entry = self.document_entry(collection, id).map_err(|error| self.sqlite(error))?;
        Ok(entry.map(|entry| self.current(collection, entry)).transpose()?.map(|(document, _)| document))
    }

    /// The errors of documents that [`documents`](Self::documents) left out since the last call.
    pub fn take_damaged(&self) -> Vec<StoreError> {
        self.damaged.take()
    }

    /// All chunks of a document in the order to load them, each compared with its hash. Their `remote` is their present
    /// holder.
    pub fn chunks(&self, collection: &str, id: &DocumentId) -> Result<Vec<StoredChunk>, StoreError> {
        let Some(entry) = self.document_entry(collection, id).map_err(|error| self.sqlite(error))? else {
            return Ok(Vec::new());
        };
        let rows = self.whole_rows(collection, id, entry.key, entry.chunks)?;
        Ok(rows.into_iter().map(|row| row.chunk).collect())
    }

    /// A document's heads and value, and whether it is complete.
    pub(super) fn current(&self, collection: &str, entry: DocumentEntry) -> Result<(StoredDocument, bool), StoreError> {
        match entry.cached {
            Some((heads, value)) => Ok((StoredDocument { id: entry.id, heads, value }, true)),
            None => self.recompute(collection, entry),
        }
    }

    fn document_page(
        &self,
        collection: i64,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> rusqlite::Result<Vec<DocumentEntry>> {
        // No document has the empty name, so all are after it.
        let after = after.map_or("", DocumentId::as_str);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(
                "SELECT id, name, heads, value, value_heads, chunks FROM document \
                 WHERE collection = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
            )?
            .query_map(params![collection, after, limit], DocumentEntry::read)?
            .collect()
    }

    pub(super) fn document_entry(&self, collection: &str, id: &DocumentId) -> rusqlite::Result<Option<DocumentEntry>> {
        self.connection
            .prepare_cached(
                "SELECT document.id, document.name, heads, value, value_heads, chunks FROM collection \
                 JOIN document ON document.collection = collection.id \
                 WHERE collection.name = ?1 AND document.name = ?2",
            )?
            .query_row([collection, id.as_str()], DocumentEntry::read)
            .optional()
    }
}

/// A document's chunks, in the order to load them.
pub(super) fn chunk_rows(connection: &Connection, document: i64) -> rusqlite::Result<Vec<ChunkRow>> {
    connection
        .prepare_cached(
            "SELECT id, hash, kind, holder, fields, bytes FROM chunk WHERE document = ?1 ORDER BY kind DESC, id",
        )?
        .query_map([document], ChunkRow::read)?
        .collect()
}

/// A row of `document`.
pub(super) struct DocumentEntry {
    pub key: i64,
    pub id: DocumentId,
    /// The number of chunks of the document.
    pub chunks: i64,
    /// Heads and value, unless they do not belong together.
    pub cached: Option<(Vec<ChangeHash>, Value)>,
}

impl DocumentEntry {
    fn read(row: &Row) -> rusqlite::Result<Self> {
        let name: Arc<str> = row.get(1)?;
        Ok(Self {
            key: row.get(0)?,
            id: DocumentId::new(name),
            chunks: row.get(5)?,
            cached: cached(row.get_ref(2)?, row.get_ref(3)?, row.get_ref(4)?),
        })
    }
}

fn cached(heads: ValueRef, value: ValueRef, stamped: ValueRef) -> Option<(Vec<ChangeHash>, Value)> {
    let (heads, text) = (heads.as_blob().ok()?, value.as_str().ok()?);
    if stamped.as_blob().ok()? != stamp(heads, text) {
        return None;
    }
    let value = Value::from_json_text(text).ok()?;
    let (hashes, rest) = heads.as_chunks();
    rest.is_empty().then(|| (hashes.iter().copied().map(ChangeHash).collect(), value))
}

/// A row of `chunk`.
pub(super) struct ChunkRow {
    pub key: i64,
    pub chunk: StoredChunk,
    /// The root fields it touches, if that is known.
    pub fields: Option<Vec<String>>,
}

impl ChunkRow {
    /// Reads the columns id, hash, kind, holder, fields, bytes.
    pub(super) fn read(row: &Row) -> rusqlite::Result<Self> {
        // Fields that cannot be read count as not known.
        let fields: Option<Vec<String>> =
            row.get_ref(4)?.as_str().ok().and_then(|text| serde_json::from_str(text).ok());
        Ok(Self {
            key: row.get(0)?,
            chunk: StoredChunk {
                hash: ChangeHash(row.get(1)?),
                kind: match row.get(2)? {
                    0 => ChunkKind::Change,
                    // The schema allows no other number.
                    _ => ChunkKind::Snapshot,
                },
                bytes: Arc::from(row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?),
                remote: row.get::<_, Option<i64>>(3)?.map(RemoteId),
                fields: fields.clone().unwrap_or_default(),
            },
            fields,
        })
    }
}
