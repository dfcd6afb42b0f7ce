//! What is written down, and read back at start.

use std::{collections::BTreeMap, sync::Arc};

use automerge::{ActorId, Automerge, Change, ChangeHash};
use convex::Value;

use crate::{
    DocumentId,
    chunk::{Part, inspect::guarded},
    record::{Position, Refusal},
};

/// One thing to persist. The records of one mutation belong into one transaction, in order.
#[derive(Clone, Debug)]
pub(in crate::backend) enum Record {
    /// A row of the log.
    Row(Row),
    /// A row that compaction has replaced, or that went with its document.
    RowGone(Position),
    /// A document as it is now.
    Document(DocumentRecord),
    /// A document that was deleted long ago is forgotten, but for its name. `last` was its last row.
    DocumentGone { collection: Arc<str>, id: DocumentId, last: Position },
    /// A part of a chunk whose other parts are still to come. `ts` is when it came.
    Part { collection: Arc<str>, document: DocumentId, part: Part, bytes: Arc<[u8]>, ts: i64 },
    /// All parts of a chunk that waited: it is complete, was none, or the others never came.
    PartsGone { collection: Arc<str>, document: DocumentId, hash: [u8; 32] },
}

/// A row of the log: a change or a snapshot, or a part of a change.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Row {
    pub collection: Arc<str>,
    pub position: Position,
    pub document: DocumentId,
    pub bytes: Arc<[u8]>,
    pub part: Option<Part>,
    /// The changes in it if it is a snapshot, in log order; empty for a change, which tells by itself.
    pub covers: Vec<Covered>,
}

/// What the log remembers of a change, for as long as the document exists.
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
    /// Whether `fields` are the merged document's, rather than the writer's word.
    pub merged: bool,
}

/// A mutation's answer and what must be durable before anyone hears it.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Committed<T> {
    pub answer: T,
    /// The commit whose effects the answer tells of.
    pub ts: i64,
    pub records: Vec<Record>,
}

impl Covered {
    /// What is remembered of this change.
    pub fn of(change: &Change) -> Self {
        Self {
            hash: change.hash(),
            actor: change.actor_id().clone(),
            seq: change.seq(),
            // As `Change::max_op`, which would overflow for a change without operations that starts at 0.
            max_op: (change.start_op().get() + change.len() as u64).saturating_sub(1),
        }
    }

    /// The changes in a snapshot of the log's own. To store them beside it would take many times its bytes, anew with each compaction.
    pub fn by_snapshot(bytes: &[u8]) -> Result<Vec<Self>, Refusal> {
        let snapshot = guarded("load", || Automerge::load(bytes))?
            .map_err(|error| Refusal::invalid_change(format!("it cannot be loaded: {error}")))?;
        Ok(guarded("read", || snapshot.get_changes(&[]).iter().map(Self::of).collect())?)
    }
}
