//! What is written down, and read back at start.

use std::{collections::BTreeMap, sync::Arc};

use automerge::{ActorId, ChangeHash};
use convex::Value;

use crate::{
    DocumentId,
    replica::{Part, Position},
};

/// One thing to persist. The records of one mutation belong into one transaction, in order.
#[derive(Clone, Debug)]
pub(in crate::backend) enum Record {
    /// A row of the log.
    Row(Row),
    /// A row that compaction has replaced.
    RowGone(Position),
    /// A document as it is now.
    Document(DocumentRecord),
    /// A part of a chunk whose other parts are still to come.
    Part { collection: Arc<str>, document: DocumentId, part: Part, bytes: Arc<[u8]> },
    /// All parts of a chunk that waited: it is complete, or was none.
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
    /// Appends the form that snapshots are stored with: hash, sequence number, last operation, actor.
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.0);
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.max_op.to_le_bytes());
        let actor = self.actor.to_bytes();
        out.extend_from_slice(&(actor.len() as u32).to_le_bytes());
        out.extend_from_slice(actor);
    }

    pub fn write_all(covered: &[Self]) -> Vec<u8> {
        let mut out = Vec::new();
        covered.iter().for_each(|covered| covered.write(&mut out));
        out
    }

    /// Reads what [`write_all`](Self::write_all) wrote; `None` if it is damaged.
    pub fn read_all(mut bytes: &[u8]) -> Option<Vec<Self>> {
        fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
            let (taken, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Some(taken)
        }
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let hash = ChangeHash(take(&mut bytes, 32)?.try_into().ok()?);
            let seq = u64::from_le_bytes(take(&mut bytes, 8)?.try_into().ok()?);
            let max_op = u64::from_le_bytes(take(&mut bytes, 8)?.try_into().ok()?);
            let length = u32::from_le_bytes(take(&mut bytes, 4)?.try_into().ok()?);
            let actor = ActorId::from(take(&mut bytes, length as usize)?);
            all.push(Self { hash, actor, seq, max_op });
        }
        Some(all)
    }
}
