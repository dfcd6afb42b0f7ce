//! Forgetting documents that were deleted long ago.

use std::{
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use super::{
    pruned::Home,
    record::Record,
    state::{Collection, Log},
};
use crate::{
    DocumentId,
    record::{Position, Refusal, RefusalCode},
};

impl Log {
    /// The records that forget old data; empty if there is nothing to forget. They name up to `most` documents of one
    /// collection that were deleted before `before` and not changed since, oldest first, and the other documents of the
    /// last one's commit. They also name parts that have waited for the other parts of their change since before
    /// `parts_before`.
    ///
    /// This does not change the log yet, because a power cut could bring back a document that readers were told is
    /// gone. When the records are durable, [`forget`](Self::forget) carries them out. A tombstone whose row was taken
    /// as sent waits until [`check_rows`](Self::check_rows) has confirmed that the document is deleted.
    pub fn prunable(&self, before: i64, parts_before: i64, most: usize) -> Vec<Record> {
        // A commit that is not published yet is not old, even if the clock says so.
        let end = before.min(self.published + 1);
        let due = self.collections.iter().map(|(name, known)| (name, tombstones(known, end, most)));
        let due = due.filter(|(_, due)| !due.is_empty()).min_by_key(|(name, _)| *name);
        let mut records = Vec::new();
        for (name, id) in due.into_iter().flat_map(|(name, ids)| ids.into_iter().map(move |id| (name, id))) {
            let Some(document) = self.collections.get(name).and_then(|known| known.documents.get(&id)) else {
                continue;
            };
            records.extend(document.rows.iter().copied().map(Record::RowGone));
            let last = document.rows.last().copied().unwrap_or_default();
            let last = self.collections.get(name).map_or(last, |known| known.pruned.beyond(last));
            let home = Home::Known(document.scope.clone());
            records.push(Record::DocumentGone { collection: name.clone(), id, home, last });
        }
        for (name, known) in &self.collections {
            let waiting = known.waiting.iter().flat_map(|(id, senders)| senders.iter().map(move |of| (id, of)));
            for (id, (sender, chunks)) in waiting {
                let old = chunks.iter().filter(|(_, chunk)| chunk.since < parts_before).take(most);
                records.extend(old.map(|(hash, _)| Record::PartsGone {
                    collection: name.clone(),
                    document: id.clone(),
                    sender: sender.clone(),
                    hash: *hash,
                }));
            }
        }
        records
    }

    /// Removes from memory the data that [`prunable`](Self::prunable) named, after it is gone from the disk. `now` is
    /// the time of the commit.
    pub fn forget(&mut self, records: &[Record], now: i64) {
        let ts = self.next_ts(now);
        for record in records {
            match record {
                Record::DocumentGone { collection, id, home, last } => {
                    self.forget_document(collection, id, home, *last, ts);
                    // Readers must query again: a reader that has not read up to this commit has to start over.
                    self.last = ts;
                }
                Record::PartsGone { collection, document, sender, hash } => {
                    let Some(known) = self.collections.get_mut(collection) else { continue };
                    let chunks = known.waiting.get_mut(document).and_then(|senders| senders.remove(sender));
                    let mut chunks = chunks.unwrap_or_default();
                    chunks.remove(hash);
                    known.keep_waiting(document, sender.clone(), chunks);
                }
                // These records go with their document.
                _ => {}
            }
        }
    }

    fn forget_document(&mut self, name: &Arc<str>, id: &DocumentId, home: &Home, last: Position, ts: i64) {
        let Some(known) = self.collections.get_mut(name) else { return };
        let Some(document) = known.documents.remove(id) else { return };
        let mut scope = document.scope.as_ref().and_then(|scope| known.scopes.get_mut(scope));
        for position in &document.rows {
            known.rows.remove(position);
            if let Some(scope) = &mut scope {
                scope.rows.remove(position);
            }
        }
        self.past_from = ts;
        known.last = ts;
        for scope in known.scopes.values_mut() {
            scope.last = ts;
        }
        known.modified.remove(&(document.modified, id.clone()));
        known.tombstones.remove(&(document.modified, id.clone()));
        known.waiting.remove(id);
        known.pruned.remember(id.clone(), home.clone(), last);
        self.cache.take(name, id);
        self.unchecked.remove(&(name.clone(), id.clone()));
        self.compactable.remove(&(name.clone(), id.clone()));
    }

    /// Refuses a document that was pruned. Other clients may still have its history, so it cannot become a new document
    /// under the same name.
    pub(super) fn check_remembered(&self, collection: &str, id: &str) -> Result<(), Refusal> {
        match self.has_pruned(collection, &DocumentId::new(id)) {
            false => Ok(()),
            true => Err(Refusal::new(
                RefusalCode::Pruned,
                format!("document {id:?} was deleted so long ago that its history is gone"),
            )),
        }
    }

    /// Whether a document was pruned.
    pub fn has_pruned(&self, collection: &str, id: &DocumentId) -> bool {
        self.collections.get(collection).is_some_and(|known| known.pruned.names.contains_key(id))
    }

    /// The commit up to which a collection was pruned: the newest commit of the pruned documents.
    #[cfg(any(test, feature = "simulation"))]
    pub fn pruned_to(&self, collection: &str) -> Option<i64> {
        self.collections.get(collection).and_then(|known| known.pruned.newest()).map(|newest| newest.ts)
    }

    /// The documents of a collection that were pruned.
    #[cfg(feature = "simulation")]
    pub fn pruned(&self, collection: &str) -> std::collections::BTreeSet<DocumentId> {
        self.collections.get(collection).map(|known| known.pruned.names.keys().cloned().collect()).unwrap_or_default()
    }
}

/// The deleted documents that were last changed before `end`. A commit is pruned whole, because readers learn how far
/// the log was pruned from a commit. If a commit were pruned in two steps, readers would be told the same commit for
/// both.
fn tombstones(known: &Collection, end: i64, most: usize) -> Vec<DocumentId> {
    let is_sure = |id: &DocumentId| known.documents.get(id).is_some_and(|document| document.merged);
    let mut due = Vec::new();
    let mut old = known.tombstones.range((Unbounded, Excluded((end, DocumentId::new(""))))).peekable();
    while due.len() < most
        && let Some((ts, _)) = old.peek()
    {
        let ts = *ts;
        let commit: Vec<_> =
            std::iter::from_fn(|| old.next_if(|(modified, _)| *modified == ts)).map(|(_, id)| id).collect();
        if commit.iter().all(|id| is_sure(id)) {
            due.extend(commit.into_iter().cloned());
        }
    }
    due
}
