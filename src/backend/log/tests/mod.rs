//! Tests of the log alone: readers get every change once, in whatever order things happen.

mod model;
mod past;
mod pruning;
mod pushes;
mod rows;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet};

use automerge::{ActorId, AutoCommit, Automerge, ChangeHash, ROOT, ReadDoc, transaction::Transactable};

use super::{state::StreamState, *};
use crate::backend::access::Rights;
use crate::{
    DocumentId,
    chunk::Part,
    record::{Position, RefusalCode},
    wire::{Chunk, DocumentChanges, LogChunk, PullDeltas, PushChanges},
};

/// A replica that writes one document.
struct Replica {
    document: AutoCommit,
    pushed: Vec<ChangeHash>,
}

impl Replica {
    fn new(actor: u8) -> Self {
        Self { document: AutoCommit::new().with_actor(ActorId::from([actor; 16])), pushed: Vec::new() }
    }

    fn edit(&mut self, value: i64) -> PushChanges {
        self.document.put(ROOT, "value", value).unwrap();
        self.document.commit();
        let changes = self.document.get_changes(&self.pushed);
        self.pushed = self.document.get_heads();
        push("d", changes.iter().map(|change| change.raw_bytes().to_vec()))
    }

    fn merge(&mut self, log: &Log) {
        let documents = log.pull_changes("c", 0.0, None).documents;
        if let Some(document) = documents.iter().find(|document| document.id.as_str() == "d") {
            self.document.load_incremental(&document.bytes).unwrap();
            self.pushed = self.document.get_heads();
        }
    }
}

fn push(id: &str, changes: impl IntoIterator<Item = Vec<u8>>) -> PushChanges {
    let changes = changes.into_iter().map(|bytes| Chunk { bytes: bytes.into(), part: None }).collect();
    PushChanges {
        documents: vec![DocumentChanges { id: id.into(), changes, fields: None, removed: Vec::new() }],
        scope: None,
    }
}

/// Pulls everything after a checkpoint, in pages of the sizes in `limits`, which are used in turn.
fn pull(log: &Log, mut checkpoint: Position, limits: &[u8]) -> Vec<LogChunk> {
    let mut all = Vec::new();
    let mut limits = limits.iter().cycle();
    loop {
        let limit = limits.next().map(|limit| f64::from(*limit));
        let page = log
            .pull_deltas(
                "c",
                &PullDeltas { checkpoint: Some(checkpoint), limit, scope: None, pruned: log.pruned_to("c") },
            )
            .unwrap();
        assert!(page.checkpoint >= checkpoint);
        checkpoint = page.checkpoint;
        all.extend(page.rows);
        if !page.has_more {
            return all;
        }
    }
}

/// The log that a restart makes of the records.
fn restored(epoch: &str, records: &[Record]) -> Log {
    let mut documents = BTreeMap::new();
    let mut rows = BTreeMap::new();
    for record in records {
        match record {
            Record::Document(document) => {
                documents.insert(document.id.clone(), record.clone());
            }
            Record::Row(row) => {
                rows.insert(row.position, record.clone());
            }
            Record::RowGone(position) => {
                rows.remove(position);
            }
            Record::DocumentGone { id, .. } => {
                documents.insert(id.clone(), record.clone());
            }
            Record::Part { .. } | Record::PartsGone { .. } | Record::Outcome(_) | Record::OutcomeGone(_) => {}
        }
    }
    let mut restore = Restore::new(epoch);
    documents.into_values().chain(rows.into_values()).for_each(|record| restore.add(record).unwrap());
    restore.finish().unwrap()
}

/// The size of the log, counted by hand.
fn counted(log: &Log) -> Size {
    let mut size = Size { collections: log.collections.len(), ..Size::default() };
    for collection in log.collections.values() {
        size.documents += collection.documents.len();
        for (_, row) in collection.rows.range(..) {
            size.rows += 1;
            size.bytes += row.bytes.len();
        }
    }
    size
}

/// A change that cannot be compressed.
fn noise(replica: &mut Replica, seed: u64) -> PushChanges {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let bytes: Vec<u8> = (0..150_000).map(|_| byte()).collect();
    replica.document.put(ROOT, "noise", bytes).unwrap();
    replica.edit(seed as i64)
}

/// Puts a reader's rows together.
fn assembled(rows: &[LogChunk]) -> Automerge {
    let bytes: Vec<u8> = rows.iter().flat_map(|row| row.bytes.iter().copied()).collect();
    Automerge::load(&bytes).unwrap()
}
