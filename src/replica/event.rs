//! What goes into a replica and what comes out.

use std::sync::Arc;

use automerge::ChangeHash;

use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    failure::FailureKind,
    format::Value,
    record::{RemoteId, Write},
};
// Re-exported for this room's callers.
pub use crate::{
    chunk::Part,
    record::{
        Checkpoint, Edit, EditKind, EditSeq, Generation, Kept, Origin, Page, Position, PulledChunk, Push, PushAnswer,
        PushNumber, PushedDocument, Put, Refusal, RefusalCode, Schema, StoredDocument, View,
    },
};

/// Names a write: the store says when it is done. Counts up from 1.
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
    /// The last capture of the world it includes.
    pub seen: EditSeq,
    /// Its root map; `None`: it is deleted.
    pub value: Option<Value>,
    /// Where it comes from.
    pub origin: Origin,
}

/// A change that was made here and that a backend lacks.
#[derive(Clone, Debug)]
pub struct UnsentChange {
    /// Its hash.
    pub hash: ChangeHash,
    /// The stored chunk that the backend has once it has this change: the change itself, or the snapshot of which it is
    /// the last.
    pub chunk: ChangeHash,
    /// Its raw bytes.
    pub bytes: Arc<[u8]>,
}

/// A document's changes that a backend lacks, as the store has them.
#[derive(Clone, Debug)]
pub struct UnsentDocument {
    /// The document.
    pub id: DocumentId,
    /// The changes, dependencies first.
    pub changes: Vec<UnsentChange>,
    /// The root fields they touch and the values these have now; `None`: not known.
    pub fields: Option<std::collections::BTreeMap<String, Option<Value>>>,
}

/// What the store knows of a backend from earlier runs.
#[derive(Clone, Debug, Default)]
pub struct RemoteState {
    /// The store's name for the backend's log; `None`: there never was one.
    pub remote: Option<RemoteId>,
    /// Per collection: everything up to here is stored.
    pub checkpoints: Vec<Checkpoint>,
    /// Per collection: the documents with changes that the backend lacks, oldest first.
    pub unsent: Vec<Vec<DocumentId>>,
    /// Per collection: whether the store marks chunks as held by the backend although the log has not been read beyond
    /// its beginning.
    pub unread: Vec<bool>,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The store has these documents. All of these events come before any other event.
    Opened {
        /// The collection.
        collection: CollectionIndex,
        /// Some of its documents.
        documents: Vec<StoredDocument>,
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
    /// A document's chunks, in the order to load them. Answers [`StoreRequest::Load`].
    Loaded {
        /// The document.
        document: DocumentKey,
        /// Its chunks.
        chunks: Vec<Arc<[u8]>>,
    },
    /// The store cannot read a document's chunks. Answers [`StoreRequest::Load`].
    Unreadable {
        /// The document.
        document: DocumentKey,
        /// What is wrong with them.
        problem: String,
    },
    /// What is stored of a backend. Answers [`StoreRequest::LookUp`].
    Remote {
        /// The id of its log, if that is known.
        epoch: Option<String>,
        /// What is stored.
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
        /// Which effect it answers.
        read: u64,
    },
    /// The connection to the backend is up.
    Connected,
    /// The connection has ended.
    Disconnected,
    /// The next page of a collection's log.
    Page(Page),
    /// The backend refuses to give a collection's log.
    PullRefused {
        /// The collection.
        collection: CollectionIndex,
        /// Why.
        refusal: Refusal,
    },
    /// The answer to a push.
    Answered(PushAnswer),
    /// A push was refused as a whole.
    PushRefused {
        /// Which push.
        number: PushNumber,
        /// The collection.
        collection: CollectionIndex,
        /// Why.
        refusal: Refusal,
    },
    /// A push ended without an answer.
    PushDropped(PushNumber),
    /// Offer refused documents again.
    Retry,
    /// The time that [`Replica::due`](super::Replica::due) returned has come.
    Due,
}

impl Effect {
    /// An edit changed nothing.
    pub(super) fn nothing_of(document: &DocumentKey, seq: EditSeq) -> Self {
        Effect::Compared { document: document.clone(), seq, fields: Vec::new() }
    }
}

/// What the store is asked for.
#[derive(Debug)]
pub enum StoreRequest {
    /// Store something. Many writes are carried out in one transaction.
    Write(WriteId, Write),
    /// Read a document's chunks: [`Event::Loaded`] or [`Event::Unreadable`].
    Load(DocumentKey),
    /// Look up what is stored of a backend: [`Event::Remote`].
    LookUp(Lookup),
    /// Read what the backend lacks of these documents; with `history`, all of their changes: [`Event::Unsent`].
    ReadUnsent {
        /// The collection.
        collection: CollectionIndex,
        /// The documents.
        documents: Vec<DocumentId>,
        /// For which of them all changes are asked for.
        history: Vec<bool>,
        /// Names this request among those of the collection: its answer repeats it.
        read: u64,
    },
    /// Set the store aside before it is opened the next time. The replica does not ask for this.
    Rebuild,
}

/// Which backend the store is asked about.
#[derive(Debug)]
pub enum Lookup {
    /// The one last used. Asked once, when the store has been opened.
    LastUsed,
    /// The one whose log has this id.
    Epoch(String),
    /// The one last used, after its checkpoints and sent marks are dropped. The answer has no epoch.
    Forget(RemoteId),
}

/// What the owner of the replica must do.
#[derive(Debug)]
pub enum Effect {
    /// Give the world a version.
    Deliver(Delta),
    /// Ask the store for something. Requests are carried out in order.
    Store(StoreRequest),
    /// An edit was taken in and is durable as soon as this write is (0: at once). An edit of a document that is being
    /// loaded is taken in after later edits of other documents.
    Edited(EditNumber, WriteId),
    /// Follow a collection's log from here on.
    Subscribe {
        /// The collection.
        collection: CollectionIndex,
        /// Exclusive.
        checkpoint: Checkpoint,
    },
    /// Send a batch.
    Push(Push),
    /// All that the backend had of a collection is taken in, and every version that follows from it was delivered
    /// before. Comes again with each page that ends the log.
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
    /// Tell the app.
    Failed {
        /// What kind of failure it is.
        kind: FailureKind,
        /// The collection, if one is concerned.
        collection: Option<CollectionIndex>,
        /// The document, if one is concerned.
        document: Option<DocumentId>,
        /// What happened and what to do.
        message: String,
    },
}
