//! Documents in their Automerge form that are kept in memory: each push is tried on its document.

use std::{collections::HashMap, sync::Arc};

use automerge::Automerge;

use crate::{
    DocumentId,
    backend::limits::{MERGED_BYTES, MERGED_DOCUMENTS},
};

/// Documents that were merged recently. A cached document has exactly the changes that the log has.
#[derive(Default)]
pub(super) struct DocumentCache {
    documents: HashMap<(Arc<str>, DocumentId), Kept>,
    uses: u64,
    bytes: usize,
}

struct Kept {
    document: Automerge,
    /// When it was last put here: a count, not a time.
    used: u64,
    /// Its bytes in the log.
    bytes: usize,
}

impl DocumentCache {
    /// Takes a document out. Put it back only if it still has exactly the changes that the log has.
    pub fn take(&mut self, collection: &Arc<str>, document: &DocumentId) -> Option<Automerge> {
        let kept = self.documents.remove(&(collection.clone(), document.clone()))?;
        self.bytes -= kept.bytes;
        Some(kept.document)
    }

    /// Keeps a document that has `bytes` in the log, and drops the documents that were used least recently.
    pub fn put(&mut self, collection: &Arc<str>, document: &DocumentId, merged: Automerge, bytes: usize) {
        self.take(collection, document);
        while !self.documents.is_empty()
            && (self.documents.len() >= MERGED_DOCUMENTS || self.bytes + bytes > MERGED_BYTES)
        {
            let oldest = self.documents.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone());
            if let Some((collection, document)) = oldest {
                self.take(&collection, &document);
            }
        }
        self.uses += 1;
        self.bytes += bytes;
        let kept = Kept { document: merged, used: self.uses, bytes };
        self.documents.insert((collection.clone(), document.clone()), kept);
    }
}
