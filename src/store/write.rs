use automerge::ChangeHash;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{ChunkKind, DocumentWrite, RemoteId, Store, StoreError, StoredChunk, Write, refused, repair::stamp};
use crate::{DocumentId, record::Checkpoint};

impl Store {
    /// Carries out `writes` in order, in one transaction that is on the disk when this returns. If it fails, none of
    /// the writes is carried out and the store can be used as before.
    ///
    /// Writing a chunk that is there changes nothing, except its holder if the write names one.
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        self.may_write()?;
        let path = &self.path;
        let sqlite = |error| StoreError::sqlite(path, error);
        // Rolled back when dropped.
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
        for write in writes {
            carry_out(&transaction, write).map_err(|error| StoreError::write(path, write.place(), error))?;
        }
        transaction.commit().map_err(sqlite)
    }

    /// The remote for a deployment's URL and the epoch of its log, made if it does not exist. From now on it is the
    /// deployment's [last](Self::last_remote) remote. An epoch that is not empty names the remote that had an empty
    /// one, if there is one: a log may have no name before it is written to.
    pub fn remote(&mut self, deployment: &str, epoch: &str) -> Result<RemoteId, StoreError> {
        self.may_write()?;
        let path = &self.path;
        let sqlite = |error| StoreError::sqlite(path, error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
        let remote = find_remote(&transaction, deployment, epoch).map_err(sqlite)?;
        transaction.commit().map_err(sqlite)?;
        Ok(remote)
    }

    /// Drops a remote's checkpoints and its marks on chunks. It stays the deployment's last remote.
    pub fn forget(&mut self, remote: RemoteId) -> Result<(), StoreError> {
        self.may_write()?;
        let path = &self.path;
        let sqlite = |error| StoreError::sqlite(path, error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
        transaction.execute("DELETE FROM checkpoint WHERE remote = ?1", params![remote.0]).map_err(sqlite)?;
        transaction.execute("UPDATE chunk SET holder = NULL WHERE holder = ?1", params![remote.0]).map_err(sqlite)?;
        transaction.commit().map_err(sqlite)
    }
}

impl Write {
    /// The collection of the write, and its document if it concerns one.
    pub(crate) fn place(&self) -> (&str, Option<&DocumentId>) {
        match self {
            Self::Document(DocumentWrite { collection, id, .. })
            | Self::Sent { collection, id, .. }
            | Self::Forget { collection, id, .. }
            | Self::Refused { collection, id, .. }
            | Self::Discard { collection, id, .. } => (collection, Some(id)),
            Self::Checkpoint { collection, .. } => (collection, None),
        }
    }
}

fn carry_out(transaction: &Transaction, write: &Write) -> rusqlite::Result<()> {
    match write {
        Write::Document(write) => write_document(transaction, write),
        Write::Sent { remote, collection, id, changes } => set_holder(transaction, *remote, collection, id, changes),
        Write::Checkpoint { remote, collection, checkpoint } => {
            set_checkpoint(transaction, *remote, collection, *checkpoint)
        }
        Write::Forget { remote, collection, id } => forget_document(transaction, *remote, collection, id),
        Write::Refused { remote, collection, id, refused } => {
            refused::note(transaction, *remote, collection, id, refused.as_ref())
        }
        Write::Discard { remote, collection, id } => refused::discard(transaction, *remote, collection, id),
    }
}

fn write_document(transaction: &Transaction, write: &DocumentWrite) -> rusqlite::Result<()> {
    let collection = intern_collection(transaction, &write.collection)?;
    let (heads, value) = (heads_to_blob(&write.heads), write.value.to_json_text());
    let stamp = stamp(&heads, &value);
    let made = write.chunks.len() as i64;
    let known = transaction
        .prepare_cached("SELECT id FROM document WHERE collection = ?1 AND name = ?2")?
        .query_row(params![collection, write.id.as_str()], |row| row.get::<_, i64>(0))
        .optional()?;
    let document = match known {
        Some(document) => document,
        None => transaction
            .prepare_cached(
                "INSERT INTO document (collection, name, chunks, heads, value, value_heads) VALUES (?1, ?2, ?6, ?3, ?4, ?5)",
            )?
            .insert(params![collection, write.id.as_str(), heads, value, stamp, made])?,
    };
    let mut added = 0_i64;
    for chunk in &write.chunks {
        added += add_chunk(transaction, collection, document, chunk)?;
    }
    if known.is_none() {
        if added == made {
            return Ok(());
        }
        // The same chunk twice.
        transaction
            .prepare_cached("UPDATE document SET chunks = ?2 WHERE id = ?1")?
            .execute(params![document, added])?;
    } else if added > 0 || write.chunks.is_empty() {
        transaction
            .prepare_cached(
                "UPDATE document SET chunks = chunks + ?2, heads = ?3, value = ?4, value_heads = ?5 WHERE id = ?1",
            )?
            .execute(params![document, added, heads, value, stamp])?;
    }
    // Otherwise the write is a repeat, maybe of an older one: the stored document has its changes.
    Ok(())
}

/// Returns how many rows it made: 0 or 1.
fn add_chunk(transaction: &Transaction, collection: i64, document: i64, chunk: &StoredChunk) -> rusqlite::Result<i64> {
    let holder = chunk.remote.map(|remote| remote.0);
    // The touched fields are known only for this client's own changes.
    let fields = (holder.is_none() && chunk.kind == ChunkKind::Change)
        .then(|| serde_json::Value::from(chunk.fields.as_slice()).to_string());
    let added = transaction
        .prepare_cached(
            "INSERT INTO chunk (document, collection, hash, kind, holder, fields, bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (document, hash) DO NOTHING",
        )?
        .execute(params![
            document,
            collection,
            chunk.hash.0,
            kind_to_number(chunk.kind),
            holder,
            fields,
            &chunk.bytes[..],
        ])?;
    if added == 0 && holder.is_some() {
        hold(transaction, holder, document, &chunk.hash)?;
    }
    Ok(i64::from(added > 0))
}

fn set_holder(
    transaction: &Transaction,
    remote: RemoteId,
    collection: &str,
    id: &DocumentId,
    changes: &[ChangeHash],
) -> rusqlite::Result<()> {
    let Some(document) = find_document(transaction, collection, id)? else {
        return Ok(());
    };
    for hash in changes {
        hold(transaction, Some(remote.0), document, hash)?;
    }
    Ok(())
}

fn hold(transaction: &Transaction, holder: Option<i64>, document: i64, hash: &ChangeHash) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE chunk SET holder = ?1 WHERE document = ?2 AND hash = ?3 AND holder IS NOT ?1")?
        .execute(params![holder, document, hash.0])?;
    Ok(())
}

fn set_checkpoint(
    transaction: &Transaction,
    remote: RemoteId,
    collection: &str,
    Checkpoint { position, pruned }: Checkpoint,
) -> rusqlite::Result<()> {
    let collection = intern_collection(transaction, collection)?;
    transaction
        .prepare_cached(
            "INSERT INTO checkpoint (remote, collection, ts, ordinal, pruned) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (remote, collection) \
             DO UPDATE SET ts = excluded.ts, ordinal = excluded.ordinal, pruned = excluded.pruned",
        )?
        .execute(params![remote.0, collection, position.ts, position.ordinal, pruned])?;
    Ok(())
}

fn forget_document(
    transaction: &Transaction,
    remote: RemoteId,
    collection: &str,
    id: &DocumentId,
) -> rusqlite::Result<()> {
    let Some(document) = find_document(transaction, collection, id)? else {
        return Ok(());
    };
    for sql in [
        "DELETE FROM refused WHERE document = ?1",
        "DELETE FROM chunk WHERE document = ?1",
        "DELETE FROM document WHERE id = ?1",
    ] {
        transaction.prepare_cached(sql)?.execute([document])?;
    }
    transaction
        .prepare_cached(
            "DELETE FROM checkpoint WHERE remote <> ?1 AND collection = (SELECT id FROM collection WHERE name = ?2)",
        )?
        .execute(params![remote.0, collection])?;
    Ok(())
}

fn find_remote(transaction: &Transaction, deployment: &str, epoch: &str) -> rusqlite::Result<RemoteId> {
    let latest: i64 =
        transaction.prepare_cached("SELECT coalesce(max(used), 0) FROM remote")?.query_row([], |row| row.get(0))?;
    if !epoch.is_empty() {
        // A log that was not written to has no epoch. Nothing was ever sent to it, so all stored data about it stays
        // true under its epoch.
        transaction
            .prepare_cached("UPDATE OR IGNORE remote SET epoch = ?2 WHERE deployment = ?1 AND epoch = ''")?
            .execute([deployment, epoch])?;
    }
    let known: Option<(i64, i64)> = transaction
        .prepare_cached("SELECT id, used FROM remote WHERE deployment = ?1 AND epoch = ?2")?
        .query_row([deployment, epoch], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let id = match known {
        Some((id, used)) if used == latest => id,
        Some((id, _)) => {
            transaction.prepare_cached("UPDATE remote SET used = ?2 WHERE id = ?1")?.execute([id, latest + 1])?;
            id
        }
        None => transaction
            .prepare_cached("INSERT INTO remote (deployment, epoch, used) VALUES (?1, ?2, ?3)")?
            .insert(params![deployment, epoch, latest + 1])?,
    };
    Ok(RemoteId(id))
}

fn intern_collection(transaction: &Transaction, name: &str) -> rusqlite::Result<i64> {
    match find_collection(transaction, name)? {
        Some(collection) => Ok(collection),
        None => transaction.prepare_cached("INSERT INTO collection (name) VALUES (?1)")?.insert([name]),
    }
}

pub(super) fn find_collection(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM collection WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

pub(super) fn find_document(
    connection: &Connection,
    collection: &str,
    id: &DocumentId,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT document.id FROM collection JOIN document ON document.collection = collection.id \
             WHERE collection.name = ?1 AND document.name = ?2",
        )?
        .query_row([collection, id.as_str()], |row| row.get(0))
        .optional()
}

pub(super) fn heads_to_blob(heads: &[ChangeHash]) -> Vec<u8> {
    heads.iter().flat_map(|hash| hash.0).collect()
}

pub(super) fn kind_to_number(kind: ChunkKind) -> i64 {
    match kind {
        ChunkKind::Change => 0,
        ChunkKind::Snapshot => 1,
    }
}
