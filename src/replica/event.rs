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
        Capture, Checkpoint, Generation, Kept, Origin, Page, Position, PulledChunk, Push, PushAnswer, PushNumber,
        PushedDocument, Refusal, RefusalCode, Schema, StoredDocument, View,
    },
};

/// Names a write, so that its end can be told. Counts up from 1.
pub type WriteId = u64;

/// Why the world puts a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Put {
    /// An entity that shows the document was changed.
    #[default]
    Edited,
    /// An entity was given the document's name. A document that is there already is shown instead; a deleted one comes
    /// back.
    Spawned,
    /// The app wants the document to be there. One that is there already is shown instead, and a deleted one stays
    /// deleted.
    Ensured,
}

/// What the world did to a document.
#[derive(Clone, Debug)]
pub enum Change {
    /// It holds this now.
    Put {
        /// What it holds.
        value: Value,
        /// Which of the collection's component types the value speaks of.
        mask: u32,
        /// Why.
        put: Put,
    },
    /// It is deleted.
    Delete,
    /// It is no longer deleted.
    Restore,
}

/// Counts the edits of a run, from 1, in the order in which they were made.
pub type EditNumber = u64;

/// An edit of the world.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Which of the run's edits this is.
    pub number: EditNumber,
    /// The document.
    pub document: DocumentKey,
    /// The generation the entity showed.
    pub generation: Generation,
    /// The count of this edit, from 1.
    pub capture: Capture,
    /// What happened to it.
    pub change: Change,
}

/// A version of a document for the world.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The document.
    pub document: DocumentKey,
    /// Its number.
    pub generation: Generation,
    /// The last capture of the world it includes.
    pub seen: Capture,
    /// Its root map; `None`: it is deleted.
    pub value: Option<Value>,
    /// Where it comes from.
    pub origin: Origin,
}

/// A change made here that a backend lacks.
#[derive(Clone, Debug)]
pub struct UnsentChange {
    /// Its hash.
    pub hash: ChangeHash,
    /// The stored chunk that the backend has once it has this change: the change itself, or the snapshot of which it is the last.
    pub row: ChangeHash,
    /// It, raw.
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

/// What a replica knows of a backend from earlier runs.
#[derive(Clone, Debug, Default)]
pub struct RemoteState {
    /// The backend's name in the store; `None`: there never was one.
    pub remote: Option<RemoteId>,
    /// Per collection: everything up to here is stored.
    pub checkpoints: Vec<Checkpoint>,
    /// Per collection: the documents with changes that the backend lacks, oldest first.
    pub unsent: Vec<Vec<DocumentId>>,
    /// Per collection: whether it is believed to have something, though its log has not been read beyond the beginning.
    pub unread: Vec<bool>,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The store has these documents. All of them are told before anything else happens.
    Opened {
        /// The collection.
        collection: CollectionIndex,
        /// Some of its documents.
        documents: Vec<StoredDocument>,
    },
    /// The world edited a document.
    Edit(Edit),
    /// The world edited a document, and the edit came to nothing before it got here: versions from here on have no more of it than they have.
    Unwritable {
        /// The document.
        document: DocumentKey,
        /// The count of this edit.
        capture: Capture,
    },
    /// The world shows these generations.
    Applied(Vec<(DocumentKey, Generation)>),
    /// The world shows a version in part. Told before it is told that the version is shown.
    Kept(Kept),
    /// The world wants a document again.
    Show(DocumentKey),
    /// A document's chunks, in the order to load them. Answers [`Effect::Load`].
    Loaded {
        /// The document.
        document: DocumentKey,
        /// Its chunks.
        chunks: Vec<Arc<[u8]>>,
    },
    /// What is stored of a backend. Answers [`Effect::Identify`] and [`Effect::Forget`], and is told once at start with the
    /// backend last used.
    Remote {
        /// The id of its log, if that is known.
        epoch: Option<String>,
        /// What is stored.
        state: RemoteState,
    },
    /// All writes up to this one are on the disk.
    Written(WriteId),
    /// The store refuses a change of this document for good: it cannot be read again as it is.
    Lost(DocumentKey),
    /// Answers [`Effect::ReadUnsent`].
    Unsent {
        /// The collection.
        collection: CollectionIndex,
        /// The documents asked for, in the same order.
        documents: Vec<UnsentDocument>,
        /// Which effect it answers.
        read: u64,
    },
    /// The backend can be reached.
    Connected,
    /// It no longer can.
    Disconnected,
    /// News from the backend.
    Page(Page),
    /// The backend does not give news of a collection.
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
    /// A push went without an answer.
    PushDropped(PushNumber),
    /// Offer refused documents again.
    Retry,
    /// The time has come that [`Replica::due`](super::Replica::due) told of.
    Due,
}

impl Effect {
    /// An edit changed nothing.
    pub(super) fn nothing_of(document: &DocumentKey, capture: Capture) -> Self {
        Effect::Compared { document: document.clone(), capture, fields: Vec::new() }
    }
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Give the world a version.
    Deliver(Delta),
    /// Read a document's chunks.
    Load(DocumentKey),
    /// Store something. Writes are carried out in order, and many in one transaction.
    Write(WriteId, Write),
    /// An edit was taken in, which may be after later ones of other documents: it is durable as soon as this write is (0: at once).
    Edited(EditNumber, WriteId),
    /// Look up what is stored of the backend whose log has this id: [`Event::Remote`] with it.
    Identify {
        /// The id of its log.
        epoch: String,
    },
    /// Drop the checkpoints and sent marks of a backend, then look up again: [`Event::Remote`] without an epoch.
    Forget(RemoteId),
    /// Read what the backend lacks of these documents; with `history`, all of their changes.
    ReadUnsent {
        /// The collection.
        collection: CollectionIndex,
        /// The documents.
        documents: Vec<DocumentId>,
        /// For which of them all changes are asked for.
        history: Vec<bool>,
        /// Names this effect among those of the collection: its answer repeats it.
        read: u64,
    },
    /// Follow a collection's log from here on.
    Subscribe {
        /// The collection.
        collection: CollectionIndex,
        /// Exclusive.
        checkpoint: Checkpoint,
    },
    /// Send a batch.
    Push(Push),
    /// All that the backend had of a collection is taken in: every version it led to was delivered before. Comes again
    /// with each page that ends the log.
    Read(CollectionIndex),
    /// What an edit of the world changed: the root fields that hold something else now. Empty if it changed nothing, or
    /// was not taken in.
    Compared {
        /// The document.
        document: DocumentKey,
        /// The count of the edit.
        capture: Capture,
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
