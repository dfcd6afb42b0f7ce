//! Many chunks of a document become one snapshot.

use automerge::{Automerge, ChangeHash};
use rusqlite::{Connection, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::{
    ChunkKind, RemoteId, Store, StoreError,
    repair::{self, Loaded},
    write::kind_to_number,
};
use crate::{
    DocumentId, inspect,
    limits::{COMPACT_CHUNKS, RECLAIM_BYTES},
};

/// The number is part of the text, since only so SQLite sees that the index `document_long` has all that is asked for.
pub(super) fn long_and_held() -> String {
    format!(
        "SELECT collection.name, document.name FROM document \
         JOIN collection ON collection.id = document.collection \
         WHERE chunks >= {COMPACT_CHUNKS} AND NOT EXISTS \
         (SELECT 1 FROM chunk WHERE chunk.document = document.id AND holder IS NOT ?1) \
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
    /// Replaces a document's chunks by one snapshot, which the remote holds as it held them. Does nothing and returns false if there is at most
    /// one chunk, or one that the remote does not hold: what is unsent stays as it is, change by change.
    pub fn compact(&mut self, collection: &str, id: &DocumentId, remote: RemoteId) -> Result<bool, StoreError> {
        match self.make_snapshot(collection, id, remote)? {
            Some(compaction) => self.replace(&compaction),
            None => Ok(false),
        }
    }

    /// Documents worth compacting, longest first, at most `limit`: they have at least [`COMPACT_CHUNKS`] chunks, all held by the remote.
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

    /// Gives space back to the system if half of the file is free; SQLite would keep it. Takes time in proportion to what is left.
    pub fn reclaim(&mut self) -> Result<bool, StoreError> {
        reclaim(&self.connection).map_err(|error| self.sqlite(error))
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
        let rows = self.whole_rows(collection, id, document, entry.chunks)?;
        if rows.len() < 2 || rows.iter().any(|row| row.chunk.remote != Some(remote)) {
            return Ok(None);
        }
        let damaged = |problem| self.damaged_document(collection, id, problem);
        let Loaded { document: whole, missing } = repair::load(rows.iter().map(|row| &row.chunk)).map_err(damaged)?;
        if let Some(hash) = missing {
            return Err(damaged(format!("change {hash} is missing")));
        }
        let bytes = inspect::guarded("save", || whole.save()).map_err(|error| damaged(error.to_string()))?;
        // What it replaces is deleted: it must open, and hold the same.
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

    /// Deletes exactly the rows that the snapshot was made from. If one of them is gone or has another holder now, nothing happens.
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
            transaction
                .prepare_cached(
                    "INSERT INTO chunk (id, document, collection, hash, kind, holder, bytes) \
                     SELECT ?1, id, collection, ?3, ?4, ?5, ?6 FROM document WHERE id = ?2",
                )?
                .execute(params![
                    // The place of the oldest row.
                    compaction.rows.iter().min(),
                    compaction.document,
                    compaction.hash,
                    kind_to_number(ChunkKind::Snapshot),
                    compaction.holder.0,
                    compaction.bytes,
                ])?;
            let fewer = i64::try_from(compaction.rows.len()).unwrap_or(i64::MAX) - 1;
            transaction
                .prepare_cached("UPDATE document SET chunks = chunks - ?2 WHERE id = ?1")?
                .execute([compaction.document, fewer])?;
            transaction.commit()?;
            Ok(true)
        };
        replace().map_err(|error| StoreError::sqlite(path, error))
    }
}

/// Rewrites a database of which half is free, which SQLite does as safely as it commits.
pub(crate) fn reclaim(connection: &Connection) -> rusqlite::Result<bool> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (free, pages, bytes) = (number("freelist_count")?, number("page_count")?, number("page_size")?);
    if free.saturating_mul(2) < pages || free.saturating_mul(bytes) < RECLAIM_BYTES {
        return Ok(false);
    }
    connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")?;
    Ok(true)
}

fn sorted(mut heads: Vec<ChangeHash>) -> Vec<ChangeHash> {
    heads.sort();
    heads
}
