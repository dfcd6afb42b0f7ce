//! The state of the log: its collections, and each collection's documents, rows and waiting parts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use convex::Value;

use super::{
    cache::DocumentCache,
    document::Document,
    outcomes::Outcomes,
    pruned::Pruned,
    record::{Outcome, Record, RequestKey},
    rows::Rows,
    waiting::{Incomplete, Sender},
};
use crate::{DocumentId, record::Position};

/// The answer of `changeStream` for a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::backend) struct StreamState {
    /// The newest commit.
    pub timestamp: i64,
    /// The number of documents, tombstones included.
    pub count: usize,
}

/// How much is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::backend) struct Size {
    pub collections: usize,
    /// Documents, tombstones included.
    pub documents: usize,
    pub rows: usize,
    /// The bytes in the rows.
    pub bytes: usize,
}

/// All collections. See the documentation of `log`.
pub(in crate::backend) struct Log {
    pub(super) epoch: Arc<str>,
    /// The newest commit.
    pub(super) last: i64,
    /// The newest commit that readers see.
    pub(super) published: i64,
    /// The log knows what it had at this time and later. Compaction and pruning take the times before.
    pub(super) past_from: i64,
    pub(super) collections: HashMap<Arc<str>, Collection>,
    pub(super) cache: DocumentCache,
    /// Documents whose rows were taken as sent and not compared with the merged document yet.
    pub(super) unchecked: BTreeSet<(Arc<str>, DocumentId)>,
    /// Documents with enough rows for a snapshot.
    pub(super) compactable: BTreeSet<(Arc<str>, DocumentId)>,
    /// The outcomes of mutations that clients may send again.
    pub(super) outcomes: Outcomes,
}

#[derive(Default)]
pub(super) struct Collection {
    pub(super) documents: HashMap<DocumentId, Document>,
    pub(super) rows: Rows,
    pub(super) scopes: HashMap<Arc<str>, Scope>,
    /// Documents by the commit of their last change.
    pub(super) modified: BTreeSet<(i64, DocumentId)>,
    /// The part of `modified` whose rows say that the document is deleted.
    pub(super) tombstones: BTreeSet<(i64, DocumentId)>,
    /// Chunks that lack some of their parts.
    pub(super) waiting: HashMap<DocumentId, HashMap<Sender, Incomplete>>,
    pub(super) pruned: Pruned,
    /// The newest commit of this collection.
    pub(super) last: i64,
    /// The answer of `changeStream`, as of the newest published commit.
    pub(super) stream: StreamState,
}

/// The part of a collection that one scope sees.
#[derive(Default)]
pub(super) struct Scope {
    pub(super) rows: BTreeSet<Position>,
    pub(super) last: i64,
}

impl Collection {
    /// The incomplete chunks of one sender for a document.
    pub(super) fn waiting(&self, document: &DocumentId, sender: &Sender) -> Option<&Incomplete> {
        self.waiting.get(document)?.get(sender)
    }

    /// Sets the incomplete chunks of one sender for a document.
    pub(super) fn keep_waiting(&mut self, document: &DocumentId, sender: Sender, chunks: Incomplete) {
        if !chunks.is_empty() {
            self.waiting.entry(document.clone()).or_default().insert(sender, chunks);
        } else if let Some(senders) = self.waiting.get_mut(document) {
            senders.remove(&sender);
            if senders.is_empty() {
                self.waiting.remove(document);
            }
        }
    }
}

impl Log {
    /// An empty log with a name that no other log has.
    pub fn new(epoch: impl Into<Arc<str>>) -> Self {
        Self {
            epoch: epoch.into(),
            last: 0,
            published: 0,
            past_from: 0,
            collections: HashMap::new(),
            cache: DocumentCache::default(),
            unchecked: BTreeSet::new(),
            compactable: BTreeSet::new(),
            outcomes: Outcomes::default(),
        }
    }

    /// The log's name.
    pub fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// Gives the log another name. Readers take it for another log from then on, so call this before there are readers.
    pub fn renew_epoch(&mut self, epoch: impl Into<Arc<str>>) {
        self.epoch = epoch.into();
    }

    /// The newest commit that readers see.
    pub fn published(&self) -> i64 {
        self.published
    }

    /// The outcome of a mutation that has run under this name.
    pub fn outcome(&self, key: RequestKey) -> Option<&Outcome> {
        self.outcomes.find(key)
    }

    /// Remembers the outcome of a mutation. The records belong in the transaction of the mutation.
    pub fn remember_outcome(&mut self, outcome: Outcome, records: &mut Vec<Record>) {
        self.outcomes.remember(outcome, records);
    }

    /// Lets readers see all commits made so far. The writer calls it when their records are durable.
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

    /// Continues after the commits that readers of `former` may have seen. `former` is the same log before it was read
    /// from the disk again. The times of a pruning and of refused rows are not on the disk, and the clock may have gone
    /// back. If a time came twice, open queries would take a new commit for one that they have answered. They all run
    /// again, because a write that failed may be on the disk.
    pub fn go_on_after(&mut self, former: &Self) {
        self.last = self.last.max(former.last) + 1;
        for collection in self.collections.values_mut() {
            collection.last = self.last;
            for scope in collection.scopes.values_mut() {
                scope.last = self.last;
            }
        }
        self.past_from = self.last;
        self.published = self.last;
    }

    /// The newest commit that touched a collection, or one scope of it. This commit may not be published yet.
    pub fn touched(&self, collection: &str, scope: Option<&str>) -> i64 {
        let Some(collection) = self.collections.get(collection) else {
            return 0;
        };
        match scope {
            None => collection.last,
            Some(scope) => collection.scopes.get(scope).map_or(0, |scope| scope.last),
        }
    }

    /// The app's table: one row per document, sorted by name.
    pub fn rows(&self, collection: &str) -> Vec<(DocumentId, Value)> {
        let Some(collection) = self.collections.get(collection) else {
            return Vec::new();
        };
        let mut rows: Vec<_> =
            collection.documents.values().map(|document| (document.id.clone(), document.row())).collect();
        rows.sort_by(|(left, _), (right, _)| left.cmp(right));
        rows
    }

    /// Counts of collections, documents, log rows and chunk bytes. This reads counters and not the rows.
    pub fn size(&self) -> Size {
        self.collections.values().fold(
            Size { collections: self.collections.len(), ..Size::default() },
            |Size { collections, documents, rows, bytes }, of| Size {
                collections,
                documents: documents + of.documents.len(),
                rows: rows + of.rows.len(),
                bytes: bytes + of.rows.bytes(),
            },
        )
    }

    /// The number of changes in the log, including those in snapshots.
    pub fn changes(&self) -> usize {
        self.collections.values().flat_map(|of| of.documents.values()).map(|document| document.history.len()).sum()
    }

    /// The time of the next commit: later than all before it.
    pub(super) fn next_ts(&self, now: i64) -> i64 {
        now.max(self.last + 1)
    }

    /// The stored name of a collection. All rows share it.
    pub(super) fn name(&self, collection: &str) -> Arc<str> {
        self.collections.get_key_value(collection).map_or_else(|| collection.into(), |(name, _)| name.clone())
    }
}
