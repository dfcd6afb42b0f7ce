//! A document is its chunks. Heads and value are cached beside them and can be computed again.
//!
//! SQLite has no checksums of its own, so a flipped bit reads as another letter. Chunks are therefore compared with
//! their hashes whenever they are read, and a cached value with its stamp: the hash of value and heads together.
//!
//! A document may be incomplete: its store was damaged, and not all of its chunks could be read. It shows the value of
//! the chunks it has, is never stamped, and is complete again when a deployment has sent the missing chunks.

use automerge::{Automerge, AutomergeError, ChangeHash, LoadOptions, OnPartialLoad, ROOT, ReadDoc};
use rusqlite::params;
use sha2::{Digest, Sha256};

use super::{
    ChunkKind, Store, StoreError, StoredChunk,
    read::{ChunkRow, DocumentEntry, chunk_rows},
    write::heads_to_blob,
};
use crate::{
    DocumentId,
    chunk::{change_hash, chunk_hash, inspect},
    format::{self, Value},
    record::StoredDocument,
};

impl Store {
    /// Computes a document's heads and value from its chunks, and stores them if the document is complete. Returns
    /// whether it is.
    pub(super) fn recompute(
        &self,
        collection: &str,
        entry: DocumentEntry,
    ) -> Result<(StoredDocument, bool), StoreError> {
        let DocumentEntry { key, id, chunks, .. } = entry;
        let rows = self.whole_rows(collection, &id, key, chunks)?;
        let Loaded { document, missing } = load(rows.iter().map(|row| &row.chunk))
            .map_err(|problem| self.damaged_document(collection, &id, problem))?;
        let mut heads: Vec<ChangeHash> = document.get_heads();
        heads.sort();
        let value = inspect::guarded("read", || match has_arrived(&document) {
            true => format::read(&document),
            false => Value::Null,
        });
        let value = value.map_err(|problem| self.damaged_document(collection, &id, problem.to_string()))?;
        if missing.is_some() {
            return Ok((StoredDocument { id, heads, value }, false));
        }
        let (blob, text) = (heads_to_blob(&heads), value.to_json_text());
        let stored = self
            .connection
            .prepare_cached("UPDATE document SET heads = ?2, value = ?3, value_heads = ?4 WHERE id = ?1")
            .and_then(|mut update| update.execute(params![key, blob, text, stamp(&blob, &text)]));
        match stored {
            Ok(_) => {
                tracing::warn!(target: "bevy_convex_replicate::store", collection, document = %id, "computed a value anew that did not match its changes");
            }
            // Then the next reader computes it again.
            Err(error) => {
                tracing::warn!(target: "bevy_convex_replicate::store", collection, document = %id, %error, "cannot store a value computed anew");
            }
        }
        Ok((StoredDocument { id, heads, value }, true))
    }

    /// All chunks of a document, each compared with its hash.
    pub(super) fn whole_rows(
        &self,
        collection: &str,
        id: &DocumentId,
        key: i64,
        count: i64,
    ) -> Result<Vec<ChunkRow>, StoreError> {
        let rows = chunk_rows(&self.connection, key).map_err(|error| self.sqlite(error))?;
        if i64::try_from(rows.len()) != Ok(count) {
            let problem = format!("{} changes are there and {count} should be", rows.len());
            return Err(self.damaged_document(collection, id, problem));
        }
        self.check(collection, id, rows)
    }

    /// Gives rows back whose bytes have the hashes they are stored under.
    pub(super) fn check(
        &self,
        collection: &str,
        id: &DocumentId,
        rows: Vec<ChunkRow>,
    ) -> Result<Vec<ChunkRow>, StoreError> {
        match rows.iter().find(|row| !is_whole(&row.chunk)) {
            Some(row) => {
                let problem = format!("the bytes of change {} are not those that were stored", row.chunk.hash);
                Err(self.damaged_document(collection, id, problem))
            }
            None => Ok(rows),
        }
    }

    pub(super) fn damaged_document(&self, collection: &str, id: &DocumentId, problem: String) -> StoreError {
        StoreError::DamagedDocument {
            path: self.path.clone(),
            collection: collection.to_owned(),
            document: id.clone(),
            problem,
        }
    }
}

/// The first bytes of every chunk. <https://automerge.org/automerge-binary-format-spec/>
const CHUNK_MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];

fn is_whole(chunk: &StoredChunk) -> bool {
    match chunk.kind {
        // A change's hash does not cover the first eight bytes: these, and a checksum, which is the start of the hash.
        ChunkKind::Change => {
            change_hash(&chunk.bytes) == Some(chunk.hash)
                && chunk.bytes.starts_with(&CHUNK_MAGIC)
                && chunk.bytes[4..8] == chunk.hash.0[..4]
        }
        ChunkKind::Snapshot => chunk_hash(&chunk.bytes) == chunk.hash,
    }
}

/// Whether a document has arrived whole. One with a plain name is made by several changes, of which a discard may leave
/// the first. It shows nothing until the others are there, and the last of them sets its id.
fn has_arrived(document: &Automerge) -> bool {
    document.get(ROOT, format::ID).is_ok_and(|id| id.is_some())
        || document.get_changes(&[]).iter().any(|change| !format::is_place_change(change))
}

/// The hash that shows that a value (as JSON) and heads belong together and are as they were stored.
pub(super) fn stamp(heads: &[u8], value: &str) -> [u8; 32] {
    Sha256::new().chain_update(heads).chain_update(value).finalize().into()
}

/// The document of some chunks.
pub(super) struct Loaded {
    pub(super) document: Automerge,
    /// A change that others depend on and that is not there.
    pub(super) missing: Option<ChangeHash>,
}

/// Loads the document of these chunks, in any order.
pub(super) fn load<'a>(chunks: impl Iterator<Item = &'a StoredChunk>) -> Result<Loaded, String> {
    let bytes: Vec<u8> = chunks.flat_map(|chunk| chunk.bytes.iter().copied()).collect();
    if bytes.is_empty() {
        // Automerge would load no bytes as an empty document.
        return Err("none of its changes is there".to_owned());
    }
    // Any program may have written the file, and a panic here would end the store's thread.
    let document = inspect::guarded("load", || match Automerge::load(&bytes) {
        // All chunks were read, and some changes lack their dependencies.
        Err(AutomergeError::MissingDeps) => {
            Automerge::load_with_options(&bytes, LoadOptions::new().on_partial_load(OnPartialLoad::Ignore))
        }
        other => other,
    });
    let document = document.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let missing = document.get_missing_deps(&[]).first().copied();
    Ok(Loaded { document, missing })
}
