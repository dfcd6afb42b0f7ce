//! The truth about a document is its chunks; what is cached beside them can always be had again.

use automerge::{Automerge, ChangeHash};
use rusqlite::params;

use super::{Store, StoreError, StoredChunk, write::heads_to_blob};
use crate::{DocumentId, format, inspect, replica::StoredDocument};

impl Store {
    /// Computes a document's heads and value from its chunks, and stores them.
    pub(super) fn recompute(&self, collection: &str, key: i64, id: DocumentId) -> Result<StoredDocument, StoreError> {
        let rows = self.chunk_rows(key).map_err(|error| self.sqlite(error))?;
        let document = load(rows.iter().map(|row| &row.chunk))
            .map_err(|problem| self.damaged_document(collection, &id, problem))?;
        let mut heads: Vec<ChangeHash> = document.get_heads();
        heads.sort();
        let value = inspect::guarded("read", || format::read(&document))
            .map_err(|problem| self.damaged_document(collection, &id, problem.to_string()))?;
        let blob = heads_to_blob(&heads);
        let stored = self
            .connection
            .prepare_cached("UPDATE document SET heads = ?2, value = ?3, value_heads = ?2 WHERE id = ?1")
            .and_then(|mut update| update.execute(params![key, blob, value.to_json_text()]));
        match stored {
            Ok(_) => {
                tracing::warn!(target: "bevy_convex_replicate::store", collection, document = %id, "computed a value anew that did not match its changes");
            }
            // Then the next one to read it does this again.
            Err(error) => {
                tracing::warn!(target: "bevy_convex_replicate::store", collection, document = %id, %error, "cannot store a value computed anew");
            }
        }
        Ok(StoredDocument { id, heads, value })
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

/// The document that these chunks make up, in any order.
pub(super) fn load<'a>(chunks: impl Iterator<Item = &'a StoredChunk>) -> Result<Automerge, String> {
    let bytes: Vec<u8> = chunks.flat_map(|chunk| chunk.bytes.iter().copied()).collect();
    if bytes.is_empty() {
        // Automerge would make an empty document of that.
        return Err("none of its changes is there".to_owned());
    }
    // The file may have been written by anyone: a panic here would end the store's thread.
    let document = inspect::guarded("load", || Automerge::load(&bytes))
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    match automerge::ReadDoc::get_missing_deps(&document, &[]).first() {
        Some(hash) => Err(format!("change {hash} is missing")),
        None => Ok(document),
    }
}
