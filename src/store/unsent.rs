use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use automerge::ChangeHash;
use rusqlite::{OptionalExtension, params};

use super::{ChunkKind, RemoteId, Store, StoreError, read::ChunkRow, write::find_collection};
use crate::{DocumentId, format::Value};

/// Runs along the index `chunk_holder` alone.
pub(super) const BY_HOLDER: &str = "SELECT document, id FROM chunk WHERE holder IS ?1 AND collection = ?2 ORDER BY id";

/// The chunks of a document that a remote lacks.
#[derive(Clone, Debug)]
pub struct UnsentChunks {
    /// The document's heads.
    #[cfg_attr(not(feature = "internals"), expect(dead_code, reason = "read by tests"))]
    pub heads: Vec<ChangeHash>,
    /// Its root map.
    pub value: Value,
    /// Whether the value has all changes of the document. False for a document of which some chunks could not be read
    /// from a damaged store, until the deployment has sent them.
    pub complete: bool,
    /// Whether `chunks` are all chunks of the document.
    pub whole: bool,
    /// Oldest first, so dependencies come before dependents.
    pub chunks: Vec<UnsentChunk>,
}

/// A chunk that a remote lacks.
#[derive(Clone, Debug)]
pub struct UnsentChunk {
    /// The change's hash; for a snapshot the SHA-256 of its bytes.
    pub hash: ChangeHash,
    /// The kind of the chunk.
    pub kind: ChunkKind,
    /// Raw bytes.
    pub bytes: Arc<[u8]>,
    /// The root fields it touches; `None` if they are not known: for a snapshot, or a change that came from a remote.
    pub fields: Option<Vec<String>>,
}

impl Store {
    /// Documents with chunks that the remote lacks, at most `limit`, those with the oldest chunks first. Without a
    /// remote all chunks count as lacking.
    pub fn unsent(
        &self,
        collection: &str,
        remote: Option<RemoteId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>, StoreError> {
        self.find_unsent(collection, remote, limit).map_err(|error| self.sqlite(error))
    }

    /// The number of documents with chunks that the remote lacks. Takes time in proportion to those chunks.
    #[cfg(feature = "internals")]
    pub fn unsent_count(&self, collection: &str, remote: Option<RemoteId>) -> Result<usize, StoreError> {
        self.count_unsent(collection, remote).map_err(|error| self.sqlite(error))
    }

    /// The chunks of a document that the remote lacks. A document that is not in this store has no heads, no chunks and
    /// an empty value.
    pub fn unsent_chunks(
        &self,
        collection: &str,
        id: &DocumentId,
        remote: Option<RemoteId>,
    ) -> Result<UnsentChunks, StoreError> {
        let Some(entry) = self.document_entry(collection, id).map_err(|error| self.sqlite(error))? else {
            return Ok(UnsentChunks {
                heads: Vec::new(),
                value: Value::Map(Default::default()),
                complete: true,
                whole: true,
                chunks: Vec::new(),
            });
        };
        let rows = self.unsent_rows(entry.key, remote).map_err(|error| self.sqlite(error))?;
        let rows = self.check(collection, id, rows)?;
        let whole = i64::try_from(rows.len()) == Ok(entry.chunks);
        let (document, complete) = self.current(collection, entry)?;
        Ok(UnsentChunks {
            heads: document.heads,
            value: document.value,
            complete,
            whole,
            chunks: rows
                .into_iter()
                .map(|row| UnsentChunk {
                    hash: row.chunk.hash,
                    kind: row.chunk.kind,
                    bytes: row.chunk.bytes,
                    fields: row.fields,
                })
                .collect(),
        })
    }

    /// All holders of chunks except the remote: the other remotes, and `None` for chunks that no remote holds. These
    /// are few, because an app has one deployment that is seldom wiped.
    fn other_holders(&self, remote: Option<RemoteId>) -> rusqlite::Result<Vec<Option<i64>>> {
        let mut holders = vec![None];
        let mut statement = self.connection.prepare_cached("SELECT id FROM remote WHERE id IS NOT ?1")?;
        for id in statement.query_map([remote.map(|remote| remote.0)], |row| row.get(0))? {
            holders.push(Some(id?));
        }
        Ok(holders)
    }

    fn find_unsent(
        &self,
        collection: &str,
        remote: Option<RemoteId>,
        limit: usize,
    ) -> rusqlite::Result<Vec<DocumentId>> {
        let Some(collection) = find_collection(&self.connection, collection)? else {
            return Ok(Vec::new());
        };
        // The first `limit` documents of each holder have among them the first `limit` of all.
        let mut oldest: HashMap<i64, i64> = HashMap::new();
        let mut statement = self.connection.prepare_cached(BY_HOLDER)?;
        for holder in self.other_holders(remote)? {
            let mut found = HashSet::new();
            let mut rows = statement.query(params![holder, collection])?;
            while found.len() < limit
                && let Some(row) = rows.next()?
            {
                let (document, chunk): (i64, i64) = (row.get(0)?, row.get(1)?);
                if found.insert(document) {
                    let first = oldest.entry(document).or_insert(chunk);
                    *first = chunk.min(*first);
                }
            }
        }
        let mut documents: Vec<(i64, i64)> = oldest.into_iter().map(|(document, chunk)| (chunk, document)).collect();
        documents.sort_unstable();
        documents.truncate(limit);
        let mut name = self.connection.prepare_cached("SELECT name FROM document WHERE id = ?1")?;
        // Chunks whose document has no row are left out.
        documents
            .into_iter()
            .filter_map(|(_, document)| {
                name.query_row([document], |row| row.get::<_, Arc<str>>(0).map(DocumentId::new)).optional().transpose()
            })
            .collect()
    }

    #[cfg(feature = "internals")]
    fn count_unsent(&self, collection: &str, remote: Option<RemoteId>) -> rusqlite::Result<usize> {
        let Some(collection) = find_collection(&self.connection, collection)? else {
            return Ok(0);
        };
        let mut statement = self.connection.prepare_cached(BY_HOLDER)?;
        let mut documents: HashSet<i64> = HashSet::new();
        for holder in self.other_holders(remote)? {
            for document in statement.query_map(params![holder, collection], |row| row.get(0))? {
                documents.insert(document?);
            }
        }
        Ok(documents.len())
    }

    fn unsent_rows(&self, document: i64, remote: Option<RemoteId>) -> rusqlite::Result<Vec<ChunkRow>> {
        self.connection
            .prepare_cached(
                "SELECT id, hash, kind, holder, fields, bytes FROM chunk \
                 WHERE document = ?1 AND (?2 IS NULL OR holder IS NOT ?2) ORDER BY kind DESC, id",
            )?
            .query_map(params![document, remote.map(|remote| remote.0)], ChunkRow::read)?
            .collect()
    }
}
