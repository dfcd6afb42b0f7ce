//! The records that are written to disk, and read back at start.

use std::{collections::BTreeMap, sync::Arc};

use automerge::{ActorId, Automerge, Change, ChangeHash};
use convex::Value;

use super::{pruned::Home, waiting::Sender};
use crate::{
    DocumentId,
    chunk::{Part, inspect::guarded},
    record::{Position, Refusal, UserId},
};

/// One thing to persist. The records of one mutation belong in one transaction, in order.
#[derive(Clone, Debug)]
pub(in crate::backend) enum Record {
    /// A row of the log.
    Row(Row),
    /// A row is gone: compaction replaced it, or its document is gone.
    RowGone(Position),
    /// A document in its present state.
    Document(DocumentRecord),
    /// A document that was deleted long ago is forgotten, except for its name and its scope. `last` was its last row.
    DocumentGone { collection: Arc<str>, id: DocumentId, home: Home, last: Position },
    /// A part of a chunk that lacks other parts. `ts` is the time when it came.
    Part { collection: Arc<str>, document: DocumentId, sender: Sender, part: Part, bytes: Arc<[u8]>, ts: i64 },
    /// All waiting parts of a sender's chunk are gone: the chunk is complete, the chunk is invalid, or the other parts
    /// never came.
    PartsGone { collection: Arc<str>, document: DocumentId, sender: Sender, hash: [u8; 32] },
    /// The outcome of a mutation, in case the client sends the mutation again.
    Outcome(Outcome),
    /// An outcome is forgotten.
    OutcomeGone(RequestKey),
}

/// A row of the log: a change or a snapshot, or a part of a change.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Row {
    pub collection: Arc<str>,
    pub position: Position,
    pub document: DocumentId,
    pub bytes: Arc<[u8]>,
    pub part: Option<Part>,
    /// The changes in it, in log order, if the row is a snapshot. It is empty for a change, whose bytes name the
    /// change.
    pub covers: Vec<Covered>,
    /// The user who put it into the log. `None`: nobody with a name, or several users' changes in a snapshot.
    pub author: Option<UserId>,
}

/// A change, as the log remembers it for as long as the document exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend) struct Covered {
    pub hash: ChangeHash,
    pub actor: ActorId,
    pub seq: u64,
    /// The number of its last operation.
    pub max_op: u64,
}

/// A document without its changes.
#[derive(Clone, Debug)]
pub(in crate::backend) struct DocumentRecord {
    pub collection: Arc<str>,
    pub id: DocumentId,
    pub scope: Option<Arc<str>>,
    pub heads: Vec<ChangeHash>,
    pub fields: Arc<BTreeMap<String, Value>>,
    pub deleted: bool,
    /// The commit of its last change.
    pub modified: i64,
    /// Whether `fields` come from the merged document. If not, they are the fields that the writer sent.
    pub merged: bool,
}

/// The name of a call: the session id that the client chose, and the number of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::backend) struct RequestKey {
    pub session: [u8; 16],
    pub request: u32,
}

/// The result of a mutation that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend) struct Outcome {
    pub key: RequestKey,
    /// When the mutation ran.
    pub at: i64,
    /// The commit that its answer named.
    pub ts: i64,
    /// Its value, in Convex's JSON encoding.
    pub value: Arc<str>,
}

/// A mutation's answer, and the records that must be durable before the answer is sent.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Committed<T> {
    pub answer: T,
    /// The commit that the answer depends on.
    pub ts: i64,
    pub records: Vec<Record>,
}

impl Covered {
    /// Takes the remembered data from a change.
    pub fn of(change: &Change) -> Self {
        Self {
            hash: change.hash(),
            actor: change.actor_id().clone(),
            seq: change.seq(),
            // `Change::max_op` would overflow for a change without operations that starts at 0, so this computes the
            // same without it.
            max_op: (change.start_op().get() + change.len() as u64).saturating_sub(1),
        }
    }

    /// Reads the changes from a snapshot that the log made. Storing this data beside the snapshot would take many times
    /// the snapshot's bytes, again with each compaction.
    pub fn by_snapshot(bytes: &[u8]) -> Result<Vec<Self>, Refusal> {
        let snapshot = guarded("load", || Automerge::load(bytes))?
            .map_err(|error| Refusal::invalid_change(format!("it cannot be loaded: {error}")))?;
        Ok(guarded("read", || snapshot.get_changes(&[]).iter().map(Self::of).collect())?)
    }
}
