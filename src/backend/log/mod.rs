//! The log of all collections, in memory. Sans-IO: no clock, randomness, disk, socket or thread.
//!
//! # The loop
//!
//! One writer owns a [`Log`]. Per mutation it calls one of [`push_changes`](Log::push_changes), [`put_document`](Log::put_document),
//! [`delete_document`](Log::delete_document) with the time, and is given the answer and the [`Record`]s to write down. After any
//! number of mutations it makes the records durable, all in one transaction, then calls [`publish`](Log::publish), and only then
//! sends the answers. Should the disk fail, the log is thrown away and read again with [`Restore`].
//!
//! ```text
//!   mutation, time -->  Log  --> answer, records --> disk
//!                        ^                             |
//!   readers  <-----------+ <------ publish <-----------+
//! ```
//!
//! What was deleted long ago goes the other way round, so that nobody misses it who may see it again: [`prunable`](Log::prunable) gives the
//! records, and once they are durable [`forget`](Log::forget) takes them in.
//!
//! Readers ([`pull_deltas`](Log::pull_deltas) and the rest) see what is published and nothing later: nobody is shown what a power
//! cut could take back.
//!
//! # Positions
//!
//! Every commit has a timestamp later than all before, also if the clock went back; its rows share it and are told apart by their
//! ordinal. Rows are never moved; compaction replaces a document's first rows by a snapshot at the place of the last of them. Only the rows of
//! documents that were deleted long ago go away for good; a reader that has not read so far is told to start over.

mod append;
mod compact;
mod document;
mod merge;
mod original;
mod prune;
mod pull;
mod push;
mod receive;
mod record;
mod restore;
mod row;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use convex::Value;

use self::{document::Document, merge::Merged, prune::Pruned};
use crate::{DocumentId, chunk::Part, record::Position};

pub(super) use self::{
    original::{DocumentPage, PutDocument, StreamState},
    pull::{LogPage, PullDeltas},
    push::{Chunk, PushAnswer, PushChanges, PushedDocument},
    record::{Committed, Covered, DocumentRecord, Record, Row},
    restore::{Damage, Restore},
};

/// All collections. See the module's documentation.
pub(super) struct Log {
    epoch: Arc<str>,
    /// The newest commit.
    last: i64,
    /// The newest commit that readers see.
    published: i64,
    collections: HashMap<Arc<str>, Collection>,
    merged: Merged,
    /// Documents whose rows are their writers' word.
    unchecked: BTreeSet<(Arc<str>, DocumentId)>,
    /// Documents with enough rows for a snapshot.
    compactable: BTreeSet<(Arc<str>, DocumentId)>,
}

#[derive(Default)]
struct Collection {
    documents: HashMap<DocumentId, Document>,
    rows: BTreeMap<Position, LogRow>,
    scopes: HashMap<Arc<str>, Scope>,
    /// Documents by the commit of their last change.
    modified: BTreeSet<(i64, DocumentId)>,
    /// Of those the documents whose rows say that they are deleted.
    tombstones: BTreeSet<(i64, DocumentId)>,
    /// Chunks of which parts are missing.
    waiting: HashMap<DocumentId, HashMap<[u8; 32], Waiting>>,
    pruned: Pruned,
    /// The newest commit here.
    last: i64,
    /// What `changeStream` answers: as of the newest published commit.
    stream: StreamState,
}

struct LogRow {
    document: DocumentId,
    bytes: Arc<[u8]>,
    part: Option<Part>,
}

/// The part of a collection that one scope sees.
#[derive(Default)]
struct Scope {
    rows: BTreeSet<Position>,
    last: i64,
}

/// The parts of a chunk that have arrived.
#[derive(Clone, Default)]
struct Waiting {
    count: u32,
    parts: BTreeMap<u32, Arc<[u8]>>,
    /// When the last of them came, or came again.
    since: i64,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.parts.values().map(|part| part.len()).sum()
    }
}

impl Log {
    /// An empty log with a name that no other log has.
    pub fn new(epoch: impl Into<Arc<str>>) -> Self {
        Self {
            epoch: epoch.into(),
            last: 0,
            published: 0,
            collections: HashMap::new(),
            merged: Merged::default(),
            unchecked: BTreeSet::new(),
            compactable: BTreeSet::new(),
        }
    }

    /// The log's name.
    pub fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// Gives the log another name: to readers it is another log from now on. To be called before there are any.
    pub fn renew_epoch(&mut self, epoch: impl Into<Arc<str>>) {
        self.epoch = epoch.into();
    }

    /// The newest commit that readers see.
    pub fn published(&self) -> i64 {
        self.published
    }

    /// Lets readers see all commits made so far. To be called when their records are durable.
    pub fn publish(&mut self) {
        if self.published == self.last {
            return;
        }
        for collection in self.collections.values_mut().filter(|collection| collection.last > self.published) {
            let timestamp = collection.modified.last().map_or(0, |(modified, _)| *modified);
            collection.stream = StreamState { timestamp, count: collection.documents.len() };
        }
        self.published = self.last;
    }

    /// The newest commit that touched a collection, or one scope of it. May be one that is not published yet.
    pub fn touched(&self, collection: &str, scope: Option<&str>) -> i64 {
        let Some(collection) = self.collections.get(collection) else {
            return 0;
        };
        match scope {
            None => collection.last,
            Some(scope) => collection.scopes.get(scope).map_or(0, |scope| scope.last),
        }
    }

    /// The app's table: a row per document, in the order of their names.
    pub fn rows(&self, collection: &str) -> Vec<(DocumentId, Value)> {
        let Some(collection) = self.collections.get(collection) else {
            return Vec::new();
        };
        let mut rows: Vec<_> =
            collection.documents.values().map(|document| (document.id.clone(), document.row())).collect();
        rows.sort_by(|(left, _), (right, _)| left.cmp(right));
        rows
    }

    /// How much there is: collections, documents, log rows, chunk bytes.
    pub fn size(&self) -> (usize, usize, usize, usize) {
        self.collections.values().fold(
            (self.collections.len(), 0, 0, 0),
            |(collections, documents, rows, bytes), of| {
                (
                    collections,
                    documents + of.documents.len(),
                    rows + of.rows.len(),
                    bytes + of.rows.values().map(|row| row.bytes.len()).sum::<usize>(),
                )
            },
        )
    }

    /// How many changes it has taken in, those in snapshots included.
    pub fn changes(&self) -> usize {
        self.collections.values().flat_map(|of| of.documents.values()).map(|document| document.history.len()).sum()
    }

    /// The time of the next commit: later than all before it.
    fn next_ts(&self, now: i64) -> i64 {
        now.max(self.last + 1)
    }

    /// The name by which a collection is kept, so that rows share one copy of it.
    fn name(&self, collection: &str) -> Arc<str> {
        self.collections.get_key_value(collection).map_or_else(|| collection.into(), |(name, _)| name.clone())
    }
}

/// Whole microseconds, as the original API and rows have them.
fn micros(ts: i64) -> f64 {
    ts.div_euclid(1_000) as f64
}
