//! Documents whose unsent changes a remote refuses, and how these changes are dropped.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Change, ChangeHash};
use rusqlite::{Transaction, params};

use super::{
    ChunkKind, RefusalCode, RefusedWrite, RemoteId, Store, StoreError,
    write::{find_document, kind_to_number},
};
use crate::{
    DocumentId,
    chunk::inspect::{self, Received},
};

impl Store {
    /// The documents of a collection whose unsent changes a remote refuses.
    pub fn refused(&self, collection: &str) -> Result<Vec<(DocumentId, RemoteId, RefusedWrite)>, StoreError> {
        let find = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT document.name, remote, since, code, reason FROM refused \
                 JOIN document ON document.id = refused.document \
                 JOIN collection ON collection.id = document.collection WHERE collection.name = ?1 \
                 ORDER BY document.name",
            )?;
            let found = statement.query_map([collection], |row| {
                let code = RefusalCode::parse(&row.get::<_, String>(3)?);
                let refused = RefusedWrite { since: row.get(2)?, code, reason: row.get(4)? };
                Ok((DocumentId::new(row.get::<_, String>(0)?), RemoteId(row.get(1)?), refused))
            })?;
            found.collect()
        };
        find().map_err(|error| self.sqlite(error))
    }
}

/// Notes that a remote refuses a document's unsent changes, or that it does so no longer.
pub(super) fn note(
    transaction: &Transaction,
    remote: RemoteId,
    collection: &str,
    id: &DocumentId,
    refused: Option<&RefusedWrite>,
) -> rusqlite::Result<()> {
    let Some(document) = find_document(transaction, collection, id)? else { return Ok(()) };
    match refused {
        Some(RefusedWrite { since, code, reason }) => transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO refused (document, remote, since, code, reason) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![document, remote.0, since, code.as_str(), reason])?,
        None => transaction.prepare_cached("DELETE FROM refused WHERE document = ?1")?.execute([document])?,
    };
    Ok(())
}

/// Drops the changes of a document that the remote does not have.
///
/// A remote has all that its changes depend on. Where such a change is not marked as held, because the answer to its
/// push was lost, it is marked now and stays. So does a snapshot: all of its changes were in a log when it was made, and
/// the marks were dropped since, because the log is read again from its beginning. The log's rows do not name it.
///
/// Changes that another remote has go as well, so the store no longer has everything of that remote's log: it is read
/// from its beginning when it is followed again.
pub(super) fn discard(
    transaction: &Transaction,
    remote: RemoteId,
    collection: &str,
    id: &DocumentId,
) -> rusqlite::Result<()> {
    let Some(document) = find_document(transaction, collection, id)? else { return Ok(()) };
    for chunk in dependencies(transaction, remote, document)? {
        transaction.prepare_cached("UPDATE chunk SET holder = ?1 WHERE id = ?2")?.execute(params![remote.0, chunk])?;
    }
    transaction.prepare_cached("DELETE FROM refused WHERE document = ?1")?.execute([document])?;
    transaction
        .prepare_cached(
            "DELETE FROM checkpoint WHERE remote <> ?1 AND remote IN (SELECT holder FROM chunk WHERE document = ?2) \
             AND collection = (SELECT collection FROM document WHERE id = ?2)",
        )?
        .execute(params![remote.0, document])?;
    transaction
        .prepare_cached("DELETE FROM chunk WHERE document = ?1 AND holder IS NOT ?2")?
        .execute(params![document, remote.0])?;
    let left: i64 = transaction
        .prepare_cached("SELECT count(*) FROM chunk WHERE document = ?1")?
        .query_row([document], |row| row.get(0))?;
    match left {
        0 => transaction.prepare_cached("DELETE FROM document WHERE id = ?1")?.execute([document])?,
        // The replica writes the value that the document has now. If it cannot, the value is computed when it is read.
        _ => transaction
            .prepare_cached("UPDATE document SET chunks = ?2, value_heads = NULL WHERE id = ?1")?
            .execute([document, left])?,
    };
    Ok(())
}

/// The rows that are not marked as held and that the remote has: snapshots, and changes that others which it has depend
/// on.
fn dependencies(transaction: &Transaction, remote: RemoteId, document: i64) -> rusqlite::Result<Vec<i64>> {
    let mut loose: BTreeMap<ChangeHash, (i64, Vec<ChangeHash>)> = BTreeMap::new();
    let mut wanted: Vec<ChangeHash> = Vec::new();
    let mut kept = BTreeSet::new();
    let mut statement =
        transaction.prepare_cached("SELECT id, holder IS ?2, kind, bytes FROM chunk WHERE document = ?1")?;
    let mut rows = statement.query(params![document, remote.0])?;
    while let Some(row) = rows.next()? {
        let (id, is_held, kind): (i64, bool, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let is_snapshot = kind == kind_to_number(ChunkKind::Snapshot);
        let bytes = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        let changes = changes(bytes);
        let deps: Vec<ChangeHash> = changes.iter().flat_map(|change| change.deps().iter().copied()).collect();
        if is_snapshot && !is_held {
            kept.insert(id);
        }
        match is_held || is_snapshot {
            true => wanted.extend(deps),
            false => loose.extend(changes.iter().map(|change| (change.hash(), (id, deps.clone())))),
        }
    }
    while let Some(hash) = wanted.pop() {
        if let Some((id, deps)) = loose.remove(&hash) {
            kept.insert(id);
            wanted.extend(deps);
        }
    }
    Ok(kept.into_iter().collect())
}

/// The changes of a chunk; none if it cannot be read, which is reported when its document is loaded.
fn changes(bytes: &[u8]) -> Vec<Change> {
    match inspect::received(bytes) {
        Ok(Received::Change(change)) => vec![*change],
        Ok(Received::Snapshot(changes)) => changes,
        Err(_) => Vec::new(),
    }
}
