//! A cache of documents in their Automerge form. Each push is tried on its document.

use std::sync::Arc;

use automerge::Automerge;
use hashlink::LruCache;

use crate::{
    DocumentId,
    backend::limits::{MERGED_BYTES, MERGED_DOCUMENTS},
};

/// Documents that were merged recently. A cached document has exactly the changes that the log has.
pub(super) struct DocumentCache {
    documents: LruCache<(Arc<str>, DocumentId), Kept>,
    bytes: usize,
}

struct Kept {
    document: Automerge,
    /// The document's bytes in the log.
    bytes: usize,
}

impl Default for DocumentCache {
    fn default() -> Self {
        // `put` limits the count and the bytes.
        Self { documents: LruCache::new_unbounded(), bytes: 0 }
    }
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
            if let Some((_, oldest)) = self.documents.remove_lru() {
                self.bytes -= oldest.bytes;
            }
        }
        self.bytes += bytes;
        self.documents.insert((collection.clone(), document.clone()), Kept { document: merged, bytes });
    }
}
