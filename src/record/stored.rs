//! The data that a store keeps, and the writes to it.

use std::sync::Arc;

use automerge::ChangeHash;

use super::{Checkpoint, RefusedWrite};
use crate::{format::Value, id::DocumentId};

/// A document that the store has at the start.
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
    /// Add changes to a document and set its value.
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
    /// Drop a document and all of its changes, including unsent ones, because a backend pruned it long after it was
    /// deleted. The checkpoints of the collection's other logs are dropped as well, so that the document comes back
    /// from a log that still has it.
    Forget {
        /// The backend.
        remote: RemoteId,
        /// The collection.
        collection: String,
        /// The document.
        id: DocumentId,
    },
    /// The remote refuses a document's unsent changes; or, with `None`, it does so no longer.
    Refused {
        /// The remote.
        remote: RemoteId,
        /// The document's collection.
        collection: String,
        /// The document.
        id: DocumentId,
        /// The refusal.
        refused: Option<RefusedWrite>,
    },
    /// Drop the changes of a document that the remote is not known to have, and the note that it refuses them. A document
    /// without other changes goes. Where a remote may have some of them, its log is read from the beginning again.
    Discard {
        /// The remote.
        remote: RemoteId,
        /// The document's collection.
        collection: String,
        /// The document.
        id: DocumentId,
    },
}

impl Write {
    /// Whether a backend gives everything in this write again if it is lost. Only this client's own changes are
    /// promised to be durable as soon as possible. Any other write may wait for further writes, so that the disk is not
    /// synchronised for each of them.
    pub fn can_wait(&self) -> bool {
        match self {
            Write::Document(write) => write.chunks.iter().all(|chunk| chunk.remote.is_some()),
            Write::Discard { .. } => false,
            Write::Sent { .. } | Write::Checkpoint { .. } | Write::Forget { .. } | Write::Refused { .. } => true,
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
    /// The kind of the chunk.
    pub kind: ChunkKind,
    /// Raw bytes, as the wire carries them.
    pub bytes: Arc<[u8]>,
    /// The remote that the chunk came from, which therefore has it. `None` if this client made it.
    pub remote: Option<RemoteId>,
    /// For a change made here: the root fields it touches. Empty otherwise.
    pub fields: Vec<String>,
}

/// The kind of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    /// One Automerge change.
    Change,
    /// Many, saved together.
    Snapshot,
}
