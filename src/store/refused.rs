//! Documents whose unsent changes a remote refuses, and how these changes are dropped.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Automerge, Change, ChangeHash};
use rusqlite::{Transaction, params};
use sha2::{Digest, Sha256};

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

/// Drops the changes of a document that the remote is not known to have.
///
/// A remote has all that its changes depend on. Where such a change is not marked as held, because the answer to its
/// push was lost, it is marked now and stays.
///
/// A row is marked with the last remote that was known to have all of it. So another remote may have what this discard
/// drops, and its log is read from the beginning when it is followed again. The same is true of this remote's log if it
/// is not the only one that the store knows, because another may have taken the mark, or if a snapshot goes: when a log
/// is read again, its rows name changes, and no row of the store has the name of a change that is in a snapshot.
pub(super) fn discard(
    transaction: &Transaction,
    remote: RemoteId,
    collection: &str,
    id: &DocumentId,
) -> rusqlite::Result<()> {
    let Some(document) = find_document(transaction, collection, id)? else { return Ok(()) };
    let mut rows = rows_of(transaction, remote, document)?;
    let kept = dependencies(&rows);
    rows.retain(|row| !row.is_held);
    let is_known =
        |row: &Row| !row.changes.is_empty() && row.changes.iter().all(|change| kept.contains(&change.hash()));
    let (known, dropped): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_known);
    for row in known {
        transaction.prepare_cached("UPDATE chunk SET holder = ?1 WHERE id = ?2")?.execute(params![remote.0, row.id])?;
    }
    let mut is_exact: bool = transaction
        .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM remote WHERE id <> ?1)")?
        .query_row([remote.0], |row| row.get(0))?;
    for row in &dropped {
        is_exact &= !row.is_snapshot;
        take_apart(transaction, remote, row, &kept)?;
    }
    if !dropped.is_empty() {
        transaction
            .prepare_cached(
                "UPDATE checkpoint SET ts = 0, ordinal = 0 \
                 WHERE collection = (SELECT collection FROM document WHERE id = ?2) AND (remote <> ?1 OR NOT ?3)",
            )?
            .execute(params![remote.0, document, is_exact])?;
    }
    transaction.prepare_cached("DELETE FROM refused WHERE document = ?1")?.execute([document])?;
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

/// A row of a document, and its changes.
struct Row {
    id: i64,
    /// Whether the remote is known to have it.
    is_held: bool,
    is_snapshot: bool,
    changes: Vec<Change>,
}

fn rows_of(transaction: &Transaction, remote: RemoteId, document: i64) -> rusqlite::Result<Vec<Row>> {
    let mut statement = transaction
        .prepare_cached("SELECT id, holder IS ?2, kind, bytes FROM chunk WHERE document = ?1 ORDER BY id")?;
    let rows = statement.query_map(params![document, remote.0], |row| {
        let kind: i64 = row.get(2)?;
        Ok(Row {
            id: row.get(0)?,
            is_held: row.get(1)?,
            is_snapshot: kind == kind_to_number(ChunkKind::Snapshot),
            changes: changes(row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?),
        })
    })?;
    rows.collect()
}

/// The changes that held ones depend on, among those of rows that are not held.
fn dependencies(rows: &[Row]) -> BTreeSet<ChangeHash> {
    let (held, loose): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.is_held);
    let loose: BTreeMap<ChangeHash, &Change> =
        loose.iter().flat_map(|row| &row.changes).map(|change| (change.hash(), change)).collect();
    let mut wanted: Vec<ChangeHash> =
        held.iter().flat_map(|row| &row.changes).flat_map(|change| change.deps().iter().copied()).collect();
    let mut kept = BTreeSet::new();
    while let Some(hash) = wanted.pop() {
        if let Some(change) = loose.get(&hash)
            && kept.insert(hash)
        {
            wanted.extend(change.deps());
        }
    }
    kept
}

/// Deletes a row. Of a snapshot, the changes that are in `kept` stay as a smaller one.
fn take_apart(
    transaction: &Transaction,
    remote: RemoteId,
    row: &Row,
    kept: &BTreeSet<ChangeHash>,
) -> rusqlite::Result<()> {
    let kept: Vec<Change> = row.changes.iter().filter(|change| kept.contains(&change.hash())).cloned().collect();
    if !kept.is_empty()
        // A snapshot has all that its changes depend on, and so has what is kept of it.
        && let Ok(Ok(bytes)) = inspect::guarded("save", || {
            let mut document = Automerge::new();
            document.apply_changes(kept).map(|()| document.save())
        })
    {
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        let changed = transaction
            .prepare_cached("UPDATE OR IGNORE chunk SET hash = ?2, bytes = ?3, holder = ?4 WHERE id = ?1")?
            .execute(params![row.id, hash, bytes, remote.0])?;
        if changed > 0 {
            return Ok(());
        }
    }
    transaction.prepare_cached("DELETE FROM chunk WHERE id = ?1")?.execute([row.id])?;
    Ok(())
}

/// The changes of a chunk; none if it cannot be read, which is reported when its document is loaded.
fn changes(bytes: &[u8]) -> Vec<Change> {
    match inspect::received(bytes) {
        Ok(Received::Change(change)) => vec![*change],
        Ok(Received::Snapshot(changes)) => changes,
        Err(_) => Vec::new(),
    }
}
