//! The data that a client and a backend's log exchange: positions, pages of rows, pushes and their answers.

use std::{collections::BTreeMap, sync::Arc};

use automerge::ChangeHash;

use super::{Refusal, UserId};
use crate::{
    chunk::Part,
    format::Value,
    id::{CollectionIndex, DocumentId},
};

/// A place in a backend's log, in commit order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The commit, in nanoseconds since 1970.
    pub ts: i64,
    /// The row within the commit.
    pub ordinal: u32,
}

/// The position up to which a client has read a collection of a backend's log, and the pruning that its next query
/// names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Every row up to here has been read.
    pub position: Position,
    /// The commit up to which the log was pruned, if every page from its beginning up to `position` said the same;
    /// otherwise `None`, as for a log that was never pruned. A backend refuses a position from before its last pruning,
    /// unless the question names that pruning: then nothing that this client has read can have been pruned since.
    pub pruned: Option<i64>,
}

impl From<Position> for Checkpoint {
    fn from(position: Position) -> Self {
        Self { position, pruned: None }
    }
}

/// A chunk from a backend's log.
#[derive(Clone, Debug)]
pub struct PulledChunk {
    /// The document.
    pub id: DocumentId,
    /// The chunk's position in the log.
    pub position: Position,
    /// A change or a snapshot, or a part of one.
    pub bytes: Vec<u8>,
    /// The part of a chunk that `bytes` has; `None` if it has the whole chunk.
    pub part: Option<Part>,
    /// The user who put the chunk into the log. `None` for an unknown user, and for a snapshot with the changes of
    /// several users.
    #[allow(dead_code, reason = "for features that show who changed something; only tests read it so far")]
    pub author: Option<UserId>,
}

/// A page of a backend's log.
#[derive(Clone, Debug)]
pub struct Page {
    /// The collection.
    pub collection: CollectionIndex,
    /// The position it was asked from. The page begins after it.
    pub from: Position,
    /// The rows after that, in order.
    pub rows: Vec<PulledChunk>,
    /// The position of the last row, or `from` if the page has no rows.
    pub to: Position,
    /// Whether the log has more rows already.
    pub has_more: bool,
    /// The id of the log.
    pub epoch: String,
    /// The commit up to which the log was pruned when it gave out this page: documents deleted up to there are gone
    /// from it.
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
    pub fields: Option<BTreeMap<String, Value>>,
    /// The root fields they delete.
    pub removed: Vec<String>,
}

/// Names a push of this run. Numbers are not used again, so that a late answer to a push that was given up is not taken
/// for the answer to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushNumber(pub u64);

/// A batch on its way to a backend. Only one batch is in flight at a time.
#[derive(Clone, Debug)]
pub struct Push {
    /// Its number. Every report about this push repeats it.
    pub number: PushNumber,
    /// The collection.
    pub collection: CollectionIndex,
    /// At most [`PUSH_DOCUMENTS`](crate::limits::PUSH_DOCUMENTS), together at most
    /// [`PUSH_BYTES`](crate::limits::PUSH_BYTES) unless a single change is larger.
    pub documents: Vec<PushedDocument>,
}

/// A backend's answer to a push.
#[derive(Clone, Debug)]
pub struct PushAnswer {
    /// The number of the push.
    pub number: PushNumber,
    /// The collection.
    pub collection: CollectionIndex,
    /// The id of the log that has the changes now.
    pub epoch: String,
    /// For each document: accepted, or the reason why it was refused.
    pub results: Vec<(DocumentId, Result<(), Refusal>)>,
}

/// A request of a replica to its backend.
#[derive(Clone, Debug)]
pub enum ToBackend {
    /// Follow a collection's log from a checkpoint, in this connection and all later ones. This replaces an earlier
    /// subscription of the collection.
    Subscribe {
        /// The collection.
        collection: CollectionIndex,
        /// The checkpoint, which is exclusive.
        checkpoint: Checkpoint,
    },
    /// Send a batch. Answered by exactly one of [`FromBackend::Answered`], [`FromBackend::PushRefused`] and
    /// [`FromBackend::PushDropped`].
    Push(Push),
}

/// The answer to a [`ToBackend`].
#[derive(Clone, Debug)]
pub enum FromBackend {
    /// The next page of a collection's log.
    Page(Page),
    /// A collection cannot be read, for example because it is not allowed, there is no such function, or the log does
    /// not know the checkpoint.
    PullRefused {
        /// The collection.
        collection: CollectionIndex,
        /// The reason.
        refusal: Refusal,
    },
    /// A push was answered. Documents in it may have been refused.
    Answered(PushAnswer),
    /// A push was refused as a whole. Nothing of it is stored.
    PushRefused {
        /// The number of the push.
        number: PushNumber,
        /// The collection.
        collection: CollectionIndex,
        /// The reason.
        refusal: Refusal,
    },
    /// The connection ended before the answer to a push. The push may or may not be stored.
    PushDropped {
        /// The number of the push.
        number: PushNumber,
        /// The collection.
        #[cfg_attr(not(feature = "internals"), expect(dead_code, reason = "read by tests"))]
        collection: CollectionIndex,
    },
}
