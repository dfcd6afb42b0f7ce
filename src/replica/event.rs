//! What goes into a replica and what comes out.

use std::sync::Arc;

use automerge::ChangeHash;

use crate::{CollectionIndex, DocumentId, DocumentKey, format::Value};

/// How often the world has been given a version of a document. 0: never; the first delta is 1.
pub type Generation = u64;
/// How many edits the world has sent of a document.
pub type EditSeq = u64;
/// Names a write, so that its end can be told. Counts up from 1.
pub type WriteId = u64;

/// What an app knows of a collection's documents.
pub trait Schema: Send + Sync + 'static {
    /// The part of `document` that the app's types hold, as they would write it: what an edit is compared with, so
    /// that keys the app does not know survive. `mask` has bit `i` set for each of the collection's component types that the edit speaks of.
    /// A part that does not fit its type is left out, and named.
    fn view(&self, document: &Value, mask: u32) -> View;
}

/// What an app's types make of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The document as they would write it.
    pub value: Value,
    /// The component types of which the document has something that does not fit.
    pub misfits: u32,
}

impl From<Value> for View {
    fn from(value: Value) -> Self {
        Self { value, misfits: 0 }
    }
}

/// A version that the world shows only in part: some component types do not fit it, and the entity goes on to show what
/// it showed of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The document.
    pub document: DocumentKey,
    /// The version.
    pub generation: Generation,
    /// The version that it showed before.
    pub from: Generation,
    /// The component types, bit `i` for each.
    pub components: u32,
}

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

/// A place in a backend's log, in commit order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The commit, in nanoseconds since 1970.
    pub ts: i64,
    /// The row within the commit.
    pub ordinal: u32,
}

/// How far a collection of a backend's log has been read, and what its backend has to be told with the next question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Everything up to here is taken in.
    pub position: Position,
    /// How far the log was pruned, as every page from its beginning up to here has said. A log that has been pruned beyond `position` goes on
    /// only for one who says how far: nothing that this one has read can have been pruned since. `None`: it never was, or not all pages said the same.
    pub pruned: Option<i64>,
}

impl From<Position> for Checkpoint {
    fn from(position: Position) -> Self {
        Self { position, pruned: None }
    }
}

/// Counts the edits of a run, from 1, in the order in which they were made.
pub type EditNumber = u64;

/// An edit of the world. `V` is what an entity holds: on its way to the worker a captured component, then its value and a mask with bit `i` set for
/// each of the collection's component types that the value speaks of.
#[derive(Clone, Debug)]
pub struct Edit<V = (Value, u32)> {
    /// The document.
    pub document: DocumentKey,
    /// The generation the entity showed.
    pub generation: Generation,
    /// The count of this edit, from 1.
    pub seq: EditSeq,
    /// What happened to it.
    pub kind: EditKind<V>,
}

/// What the world did to a document.
#[derive(Clone, Debug)]
pub enum EditKind<V = (Value, u32)> {
    /// It holds this now.
    Put {
        /// What it holds.
        value: V,
        /// Why.
        put: Put,
    },
    /// It is deleted.
    Delete,
    /// It is no longer deleted.
    Restore,
}

impl<V> EditKind<V> {
    /// An entity that shows the document was changed to this.
    pub fn put(value: V) -> Self {
        Self::Put { value, put: Put::Edited }
    }

    /// The same edit with another form of what the entity holds.
    pub(crate) fn try_map<W, E>(self, convert: impl FnOnce(V) -> Result<W, E>) -> Result<EditKind<W>, E> {
        Ok(match self {
            Self::Put { value, put } => EditKind::Put { value: convert(value)?, put },
            Self::Delete => EditKind::Delete,
            Self::Restore => EditKind::Restore,
        })
    }
}

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

/// One chunk as a backend's log gives it.
#[derive(Clone, Debug)]
pub struct PulledChunk {
    /// The document.
    pub id: DocumentId,
    /// Where in the log.
    pub position: Position,
    /// A change or a snapshot, or a part of one.
    pub bytes: Vec<u8>,
    /// Which part.
    pub part: Option<Part>,
}

/// Says which part of a chunk some bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// SHA-256 of the whole chunk.
    pub hash: [u8; 32],
    /// From 0 to `count` - 1.
    pub index: u32,
    /// How many there are.
    pub count: u32,
}

/// A page of a backend's log.
#[derive(Clone, Debug)]
pub struct Page {
    /// The collection.
    pub collection: CollectionIndex,
    /// The position it was asked from. It begins after it.
    pub from: Position,
    /// What came after, in order.
    pub deltas: Vec<PulledChunk>,
    /// The position of the last of them, or `from` if there are none.
    pub to: Position,
    /// Whether there is more already.
    pub has_more: bool,
    /// The id of the log.
    pub epoch: String,
    /// How far the log was pruned when it gave out this page: documents deleted up to there are gone from it.
    pub pruned: Option<i64>,
}

/// A document's changes on their way to a backend.
#[derive(Clone, Debug)]
pub struct PushedDocument {
    /// The document.
    pub id: DocumentId,
    /// Its changes, dependencies first, each whole (the transport makes parts) and with its hash.
    pub changes: Vec<(ChangeHash, Arc<[u8]>)>,
    /// The root fields they set and their values now; `None` leaves it to the backend to merge.
    pub fields: Option<std::collections::BTreeMap<String, Value>>,
    /// The root fields they delete.
    pub removed: Vec<String>,
}

/// A push of this run: each has another number, so that the answer to one that was given up is not taken for the next one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushNumber(pub u64);

/// A batch on its way to a backend. One is in flight at a time.
#[derive(Clone, Debug)]
pub struct Push {
    /// Its number, which what becomes of it is told with.
    pub number: PushNumber,
    /// The collection.
    pub collection: CollectionIndex,
    /// At most [`PUSH_DOCUMENTS`](crate::limits::PUSH_DOCUMENTS), together at most
    /// [`PUSH_BYTES`](crate::limits::PUSH_BYTES) unless a single change is larger.
    pub documents: Vec<PushedDocument>,
}

/// Why a document was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The wire's code, e.g. `missingDependencies`.
    pub code: String,
    /// What the backend said.
    pub message: String,
}

/// A backend's answer to a push.
#[derive(Clone, Debug)]
pub struct PushAnswer {
    /// Which push.
    pub number: PushNumber,
    /// The collection.
    pub collection: CollectionIndex,
    /// The id of the log that has them now.
    pub epoch: String,
    /// Per document: accepted, or why not.
    pub results: Vec<(DocumentId, Result<(), Refusal>)>,
}

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

/// Who changed a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// This app, in this run.
    Local,
    /// Someone else, through a backend.
    Remote,
    /// It was in the store.
    Stored,
}

/// A change made here that a backend lacks.
#[derive(Clone, Debug)]
pub struct UnsentChange {
    /// Its hash.
    pub hash: ChangeHash,
    /// The stored chunk that the backend has once it has this change: the change itself, or the snapshot of which it is the last.
    pub chunk: ChangeHash,
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
    pub remote: Option<crate::store::RemoteId>,
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
    Edit(EditNumber, Edit),
    /// The world edited a document, and the edit came to nothing before it got here: versions from here on have no more of it than they have.
    Unwritable {
        /// The document.
        document: DocumentKey,
        /// The count of this edit.
        seq: EditSeq,
    },
    /// The world shows these generations.
    Applied(Vec<(DocumentKey, Generation)>),
    /// The world shows a version in part. Told before it is told that the version is shown.
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
    /// The store refuses a change of this document for good: it cannot be read again as it is.
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
    pub(super) fn nothing_of(document: &DocumentKey, seq: EditSeq) -> Self {
        Effect::Compared { document: document.clone(), seq, fields: Vec::new() }
    }
}

/// What the store is asked for.
#[derive(Debug)]
pub enum StoreRequest {
    /// Store something. Many writes are carried out in one transaction.
    Write(WriteId, crate::store::Write),
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
    Forget(crate::store::RemoteId),
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Give the world a version.
    Deliver(Delta),
    /// Ask the store for something. Requests are carried out in order.
    Store(StoreRequest),
    /// An edit was taken in, which may be after later ones of other documents: it is durable as soon as this write is (0: at once).
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
    /// All that the backend had of a collection is taken in: every version it led to was delivered before. Comes again
    /// with each page that ends the log.
    Read(CollectionIndex),
    /// What an edit of the world changed: the root fields that hold something else now. Empty if it changed nothing, or
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
        kind: crate::worker::FailureKind,
        /// The collection, if one is concerned.
        collection: Option<CollectionIndex>,
        /// The document, if one is concerned.
        document: Option<DocumentId>,
        /// What happened and what to do.
        message: String,
    },
}
