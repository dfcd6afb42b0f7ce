//! Compaction: many chunks of a document become one snapshot.

use automerge::{Automerge, ChangeHash};
use rusqlite::{TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::{
    ChunkKind, RemoteId, Store, StoreError,
    repair::{self, Loaded},
    write::kind_to_number,
};
use crate::{DocumentId, chunk::inspect, limits::COMPACT_CHUNKS, sqlite};

/// The number of a document's chunks that are examined to see whether the remote holds enough of them. They come in the
/// order of their hashes, so they are a random sample: a document of which less than a quarter is held is left for
/// later, and a long history of unsent changes costs no more time.
const SAMPLE_CHUNKS: usize = 4 * COMPACT_CHUNKS;

/// The number is part of the text: SQLite uses the partial index `document_long` only if it sees the number.
pub(super) fn long_and_held() -> String {
    format!(
        "SELECT collection.name, document.name FROM document \
         JOIN collection ON collection.id = document.collection \
         WHERE chunks >= {COMPACT_CHUNKS} AND {COMPACT_CHUNKS} <= \
         (SELECT sum(holder IS ?1) FROM (SELECT holder FROM chunk WHERE chunk.document = document.id LIMIT {SAMPLE_CHUNKS})) \
         ORDER BY chunks DESC LIMIT ?2"
    )
}

/// A snapshot, and the rows it stands for.
pub(super) struct Compaction {
    document: i64,
    holder: RemoteId,
    rows: Vec<i64>,
    hash: [u8; 32],
    bytes: Vec<u8>,
}

impl Store {
    /// Replaces the chunks of a document that the remote holds by one snapshot, which the remote then holds. Other
    /// chunks stay as they are. Does nothing and returns false if the remote holds at most one chunk, or not all
    /// dependencies of its chunks.
    pub fn compact(&mut self, collection: &str, id: &DocumentId, remote: RemoteId) -> Result<bool, StoreError> {
        match self.make_snapshot(collection, id, remote)? {
            Some(compaction) => self.replace(&compaction),
            None => Ok(false),
        }
    }

    /// Documents worth compacting, longest first, at most `limit`: the remote holds at least [`COMPACT_CHUNKS`] of
    /// their chunks, and at least about a quarter.
    pub fn compactable(&self, remote: RemoteId, limit: usize) -> Result<Vec<(String, DocumentId)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let find = || -> rusqlite::Result<Vec<_>> {
            self.connection
                .prepare_cached(&long_and_held())?
                .query_map(params![remote.0, limit], |row| {
                    Ok((row.get(0)?, DocumentId::new(row.get::<_, String>(1)?)))
                })?
                .collect()
        };
        find().map_err(|error| self.sqlite(error))
    }

    /// Gives space back to the system if half of the file is free; SQLite would keep it. Takes time in proportion to
    /// the remaining size.
    pub fn reclaim(&mut self) -> Result<bool, StoreError> {
        sqlite::reclaim(&self.connection).map_err(|error| self.sqlite(error))
    }

    pub(super) fn make_snapshot(
        &self,
        collection: &str,
        id: &DocumentId,
        remote: RemoteId,
    ) -> Result<Option<Compaction>, StoreError> {
        let sqlite = |error| self.sqlite(error);
        let Some(entry) = self.document_entry(collection, id).map_err(sqlite)? else {
            return Ok(None);
        };
        let document = entry.key;
        let mut rows = self.whole_rows(collection, id, document, entry.chunks)?;
        rows.retain(|row| row.chunk.remote == Some(remote));
        if rows.len() < 2 {
            return Ok(None);
        }
        let is_all = i64::try_from(rows.len()) == Ok(entry.chunks);
        let damaged = |problem| self.damaged_document(collection, id, problem);
        let Loaded { document: whole, missing } = repair::load(rows.iter().map(|row| &row.chunk)).map_err(damaged)?;
        if let Some(hash) = missing {
            if !is_all {
                // A page of the remote brought a change before the answer to the push of that change's dependencies.
                return Ok(None);
            }
            return Err(damaged(format!("change {hash} is missing")));
        }
        let bytes = inspect::guarded("save", || whole.save()).map_err(|error| damaged(error.to_string()))?;
        // The replaced chunks are deleted, so the snapshot must open and have the same heads.
        let again = inspect::guarded("load", || Automerge::load(&bytes))
            .map_err(|error| damaged(error.to_string()))?
            .map_err(|error| damaged(error.to_string()))?;
        if sorted(again.get_heads()) != sorted(whole.get_heads()) {
            return Err(damaged("a snapshot of them has other heads".to_owned()));
        }
        Ok(Some(Compaction {
            document,
            holder: remote,
            rows: rows.iter().map(|row| row.key).collect(),
            hash: Sha256::digest(&bytes).into(),
            bytes,
        }))
    }

    /// Deletes exactly the rows that the snapshot was made from. If one of them is gone or has another holder now,
    /// nothing happens.
    pub(super) fn replace(&mut self, compaction: &Compaction) -> Result<bool, StoreError> {
        self.may_write()?;
        let path = &self.path;
        let mut replace = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut delete =
                    transaction.prepare_cached("DELETE FROM chunk WHERE id = ?1 AND document = ?2 AND holder IS ?3")?;
                for row in &compaction.rows {
                    if delete.execute(params![row, compaction.document, compaction.holder.0])? == 0 {
                        return Ok(false);
                    }
                }
            }
            // The place of the oldest row.
            let place = compaction.rows.iter().min();
            let Compaction { document, holder, hash, bytes, .. } = compaction;
            // The same snapshot may be there, made when another remote held these changes.
            let same = transaction
                .prepare_cached(
                    "UPDATE chunk SET id = min(id, ?1), holder = ?4 WHERE document = ?2 AND hash = ?3 AND kind = ?5",
                )?
                .execute(params![place, document, hash, holder.0, kind_to_number(ChunkKind::Snapshot)])?;
            if same == 0 {
                transaction
                    .prepare_cached(
                        "INSERT INTO chunk (id, document, collection, hash, kind, holder, bytes) \
                         SELECT ?1, id, collection, ?3, ?4, ?5, ?6 FROM document WHERE id = ?2",
                    )?
                    .execute(params![place, document, hash, kind_to_number(ChunkKind::Snapshot), holder.0, bytes])?;
            }
            let fewer = i64::try_from(compaction.rows.len() - (1 - same)).unwrap_or(i64::MAX);
            transaction
                .prepare_cached("UPDATE document SET chunks = chunks - ?2 WHERE id = ?1")?
                .execute([*document, fewer])?;
            transaction.commit()?;
            Ok(true)
        };
        replace().map_err(|error| StoreError::sqlite(path, error))
    }
}

fn sorted(mut heads: Vec<ChangeHash>) -> Vec<ChangeHash> {
    heads.sort();
    heads
}
