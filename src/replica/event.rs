//! The inputs and outputs of a replica.

use std::sync::Arc;

use automerge::ChangeHash;

use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    failure::FailureKind,
    format::Value,
    record::{RemoteId, Write},
};
// These are re-exported for this room's callers.
#[cfg(any(test, feature = "internals"))]
pub use crate::record::PulledChunk;
pub use crate::{
    chunk::Part,
    record::{
        Checkpoint, Edit, EditKind, EditSeq, FromBackend, Generation, Kept, Origin, Page, Position, Push, PushAnswer,
        PushNumber, PushedDocument, Put, Refusal, RefusalCode, RefusedWrite, Schema, StoredDocument, ToBackend, View,
    },
};

/// The number of a write, from 1. The store reports the number when the write is done.
pub type WriteId = u64;

/// Counts the edits of a run, from 1, in the order in which they were made.
pub type EditNumber = u64;

/// A version of a document for the world.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The document.
    pub document: DocumentKey,
    /// Its number.
    pub generation: Generation,
    /// The last capture of the world that this version includes.
    pub seen: EditSeq,
    /// The document's root map. `None` if the document is deleted.
    pub value: Option<Value>,
    /// The origin of the version.
    pub origin: Origin,
}

/// A change of this client that a backend lacks.
#[derive(Clone, Debug)]
pub struct UnsentChange {
    /// Its hash.
    pub hash: ChangeHash,
    /// The stored chunk that the backend has after it accepted this change: the change itself, or the snapshot whose
    /// last change this is.
    pub chunk: ChangeHash,
    /// Its raw bytes.
    pub bytes: Arc<[u8]>,
}

/// The changes of a document that a backend lacks, as they are in the store.
#[derive(Clone, Debug)]
pub struct UnsentDocument {
    /// The document.
    pub id: DocumentId,
    /// The changes, dependencies first.
    pub changes: Vec<UnsentChange>,
    /// The root fields that the changes touch, with their present values. `None` if they are not known.
    pub fields: Option<std::collections::BTreeMap<String, Option<Value>>>,
}

/// The store's knowledge of a backend from earlier runs.
#[derive(Clone, Debug, Default)]
pub struct RemoteState {
    /// The store's name for the backend's log. `None` if there never was a log.
    pub remote: Option<RemoteId>,
    /// For each collection, the position up to which everything is stored.
    pub checkpoints: Vec<Checkpoint>,
    /// For each collection, the documents with changes that the backend lacks, oldest first.
    pub unsent: Vec<Vec<DocumentId>>,
    /// For each collection, whether the store marks chunks as held by the backend although the log has not been read
    /// beyond its beginning.
    pub unread: Vec<bool>,
}

/// An input of a replica.
#[derive(Debug)]
pub enum Event {
    /// These documents are in the store. All of these events come before any other event.
    Opened {
        /// The collection.
        collection: CollectionIndex,
        /// Some of its documents.
        documents: Vec<StoredDocument>,
    },
    /// The store's notes of documents that a remote refuses. They come with the collection's [`Event::Opened`].
    Refused {
        /// The collection.
        collection: CollectionIndex,
        /// The documents, with the remote that refuses each.
        documents: Vec<(DocumentId, RemoteId, RefusedWrite)>,
    },
    /// The world edited a document.
    Edit(EditNumber, Edit),
    /// The world edited a document, and the edit failed before it reached the replica. Later versions count as
    /// including it.
    Unwritable {
        /// The document.
        document: DocumentKey,
        /// The count of this edit.
        seq: EditSeq,
    },
    /// The world shows these generations.
    Applied(Vec<(DocumentKey, Generation)>),
    /// The world shows a version in part. Comes before [`Event::Applied`] of that version.
    Kept(Kept),
    /// The world wants a document again.
    Show(DocumentKey),
    /// A document's chunks, in the order to load them. Answers [`StoreRequest::Load`] and
    /// [`StoreRequest::LoadDiscarded`].
    Loaded {
        /// The document.
        document: DocumentKey,
        /// Its chunks.
        chunks: Vec<Arc<[u8]>>,
    },
    /// The store cannot read a document's chunks. Answers [`StoreRequest::Load`] and [`StoreRequest::LoadDiscarded`].
    Unreadable {
        /// The document.
        document: DocumentKey,
        /// The problem with the chunks.
        problem: String,
    },
    /// The store's knowledge of a backend. Answers [`StoreRequest::LookUp`].
    Remote {
        /// The id of its log, if that is known.
        epoch: Option<String>,
        /// The store's knowledge.
        state: RemoteState,
    },
    /// All writes up to this one are on the disk.
    Written(WriteId),
    /// The store refused a change of this document for good, so the document in memory is the only whole copy.
    Lost(DocumentKey),
    /// Answers [`StoreRequest::ReadUnsent`].
    Unsent {
        /// The collection.
        collection: CollectionIndex,
        /// The documents asked for, in the same order.
        documents: Vec<UnsentDocument>,
        /// The number of the read that this answers.
        read: u64,
    },
    /// The connection to the backend is up.
    Connected,
    /// The connection has ended.
    Disconnected,
    /// An answer of the backend.
    Backend(FromBackend),
    /// Offer refused documents again.
    Retry,
    /// Offer this refused document again.
    RetryOne(DocumentKey),
    /// Drop the unsent changes of this refused document.
    Discard(DocumentKey),
    /// A discard has dropped changes that the collection's log may have, so that the log must be read from its
    /// beginning. Comes before the answer to [`StoreRequest::LoadDiscarded`].
    ReadAgain(CollectionIndex),
    /// The time that [`Replica::due`](super::Replica::due) returned has come.
    Due,
}

impl Effect {
    /// The effect of an edit that changed nothing.
    pub(super) fn nothing_of(document: &DocumentKey, seq: EditSeq) -> Self {
        Effect::Compared { document: document.clone(), seq, fields: Vec::new() }
    }
}

/// A request to the store.
#[derive(Debug)]
pub enum StoreRequest {
    /// Store something. Many writes are carried out in one transaction.
    Write(WriteId, Write),
    /// Read a document's chunks: [`Event::Loaded`] or [`Event::Unreadable`].
    Load(DocumentKey),
    /// Read the chunks of a document of which changes were just discarded: [`Event::ReadAgain`] if the store's
    /// checkpoint of the collection is at the beginning, and then as for [`Load`](Self::Load).
    LoadDiscarded(DocumentKey),
    /// Look up the store's knowledge of a backend: [`Event::Remote`].
    LookUp(Lookup),
    /// Read the changes of these documents that the backend lacks; with `history`, all of their changes:
    /// [`Event::Unsent`].
    ReadUnsent {
        /// The collection.
        collection: CollectionIndex,
        /// The documents.
        documents: Vec<DocumentId>,
        /// For each document, whether all its changes are requested.
        history: Vec<bool>,
        /// The number of this request in its collection. The answer repeats it.
        read: u64,
    },
    /// Set the store aside before it is opened the next time. The replica does not ask for this.
    Rebuild,
}

/// A question about a backend.
#[derive(Debug)]
pub enum Lookup {
    /// The backend that was used last. This is asked once, when the store has been opened.
    LastUsed,
    /// The backend whose log has this id.
    Epoch(String),
    /// The backend that was used last, after its checkpoints and sent marks are dropped. The answer has no epoch.
    Forget(RemoteId),
}

/// An output of a replica, which its owner must carry out.
#[derive(Debug)]
pub enum Effect {
    /// Give a version to the world.
    Deliver(Delta),
    /// Ask the store for something. Requests are carried out in order.
    Store(StoreRequest),
    /// An edit was taken in and is durable as soon as this write is (0: at once). An edit of a document that is being
    /// loaded is taken in after later edits of other documents.
    Edited(EditNumber, WriteId),
    /// Ask the backend for something.
    Backend(ToBackend),
    /// The whole log of a collection is taken in, and all versions that follow from it were delivered before. This
    /// comes again with each page that ends the log.
    Read(CollectionIndex),
    /// An edit was compared with the document. `fields` are the root fields it changed: none if it changed nothing or
    /// was not taken in.
    Compared {
        /// The document.
        document: DocumentKey,
        /// The count of the edit.
        seq: EditSeq,
        /// The root fields.
        fields: Vec<String>,
    },
    /// A backend refuses this document's changes; or, with `None`, it does so no longer.
    Refused(DocumentKey, Option<RefusedWrite>),
    /// Report a failure to the app.
    Failed {
        /// The kind of the failure.
        kind: FailureKind,
        /// The collection, if one is concerned.
        collection: Option<CollectionIndex>,
        /// The document, if one is concerned.
        document: Option<DocumentId>,
        /// A description of the failure, and what to do.
        message: String,
    },
}
