//! What a store keeps, and what it is asked to write.

use std::sync::Arc;

use automerge::ChangeHash;

use super::Checkpoint;
use crate::{format::Value, id::DocumentId};

/// A document as the store has it at start.
#[derive(Clone, Debug)]
pub struct StoredDocument {
    /// Its name.
    pub id: DocumentId,
    /// The heads `value` was computed from; the same as the stored changes'.
    pub heads: Vec<ChangeHash>,
    /// Its root map.
    pub value: Value,
}

/// Names a (deployment, epoch) in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemoteId(pub i64);

/// One thing to write. Writes of a batch are carried out in order.
#[derive(Clone, Debug)]
pub enum Write {
    /// Add changes to a document and set what it is now.
    Document(DocumentWrite),
    /// The remote has these changes now.
    Sent {
        /// The remote.
        remote: RemoteId,
        /// The document's collection.
        collection: String,
        /// The document. Hashes alone do not name it: one actor that makes the same first edit to two documents in the
        /// same second makes the same change twice.
        id: DocumentId,
        /// The changes, or snapshots.
        changes: Vec<ChangeHash>,
    },
    /// Everything up to `checkpoint` of the remote's log is in this store (or in this batch).
    Checkpoint {
        /// The remote.
        remote: RemoteId,
        /// The collection.
        collection: String,
        /// The last row covered.
        checkpoint: Checkpoint,
    },
    /// Drop a document and all of its changes, unsent ones too: a backend has pruned it, long after it was deleted. The
    /// checkpoints of the collection's other logs are dropped as well, so that the document comes back from a log that
    /// still has it.
    Forget {
        /// The backend.
        remote: RemoteId,
        /// The collection.
        collection: String,
        /// The document.
        id: DocumentId,
    },
}

impl Write {
    /// Whether a backend gives everything in this write again, should it be lost. Only what was made here is promised
    /// to be durable as soon as possible; any other write may wait for more of them, so that the disk is not
    /// synchronised for each.
    pub fn can_wait(&self) -> bool {
        match self {
            Write::Document(write) => write.chunks.iter().all(|chunk| chunk.remote.is_some()),
            Write::Sent { .. } | Write::Checkpoint { .. } | Write::Forget { .. } => true,
        }
    }
}

/// Changes of a document, and its state with them.
#[derive(Clone, Debug)]
pub struct DocumentWrite {
    /// The collection.
    pub collection: String,
    /// The document.
    pub id: DocumentId,
    /// New changes or snapshots, raw.
    pub chunks: Vec<StoredChunk>,
    /// The document's heads after them.
    pub heads: Vec<ChangeHash>,
    /// Its root map after them: the cache that fills the world at start.
    pub value: Value,
}

/// A change (or a snapshot of several).
#[derive(Clone, Debug)]
pub struct StoredChunk {
    /// The change's hash; for a snapshot the SHA-256 of its bytes.
    pub hash: ChangeHash,
    /// What it holds.
    pub kind: ChunkKind,
    /// Raw bytes, as the wire carries them.
    pub bytes: Arc<[u8]>,
    /// The remote it came from, which therefore has it; `None`: it was made here.
    pub remote: Option<RemoteId>,
    /// For a change made here: the root fields it touches. Empty otherwise.
    pub fields: Vec<String>,
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    /// One Automerge change.
    Change,
    /// Many, saved together.
    Snapshot,
}
