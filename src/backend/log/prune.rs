//! Forgetting documents that were deleted long ago.

use std::{
    collections::HashSet,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use super::{Collection, Log, Record};
use crate::{DocumentId, backend::failure::Failure, replica::Position};

/// What a collection remembers of the documents that it has forgotten.
#[derive(Default)]
pub(super) struct Pruned {
    /// Their names, so that nobody who was away for longer brings them back.
    names: HashSet<DocumentId>,
    /// The newest row that is gone: who has not read that far may have missed a delete.
    pub newest: Position,
}

impl Pruned {
    pub fn remember(&mut self, id: DocumentId, last: Position) {
        self.names.insert(id);
        self.newest = self.newest.max(last);
    }
}

impl Log {
    /// Forgets documents that were deleted, and not changed since, before a time: at most `most` of them, those of one collection, oldest first.
    /// `now` is the time of the commit. Empty if there is none.
    ///
    /// Tombstones whose rows are their writers' word wait until [`check_rows`](Self::check_rows) has found that they are deleted.
    pub fn prune(&mut self, before: i64, most: usize, now: i64) -> Vec<Record> {
        // What is not published yet is not old, whatever the clock says.
        let end = before.min(self.published + 1);
        let due = self.collections.iter().map(|(name, known)| (name, tombstones(known, end, most)));
        let Some((name, due)) = due.filter(|(_, due)| !due.is_empty()).min_by_key(|(name, _)| *name) else {
            return Vec::new();
        };
        let name = name.clone();
        // Readers look again: those who have not read so far have to start over.
        let ts = self.next_ts(now);
        let records = due.into_iter().flat_map(|id| self.forget(&name, &id, ts)).collect();
        self.last = ts;
        if let Some(known) = self.collections.get_mut(&name) {
            known.last = ts;
        }
        records
    }

    /// Refuses what was pruned: it would be a new document with an old name, of which others have a history that this log lacks.
    pub(super) fn check_remembered(&self, collection: &str, id: &str) -> Result<(), Failure> {
        match self.has_pruned(collection, &DocumentId::new(id)) {
            false => Ok(()),
            true => {
                Err(Failure::new("pruned", format!("document {id:?} was deleted so long ago that its history is gone")))
            }
        }
    }

    /// Whether a document was pruned.
    pub fn has_pruned(&self, collection: &str, id: &DocumentId) -> bool {
        self.collections.get(collection).is_some_and(|known| known.pruned.names.contains(id))
    }

    /// The documents of a collection that were pruned.
    #[cfg(feature = "simulation")]
    pub fn pruned(&self, collection: &str) -> std::collections::BTreeSet<DocumentId> {
        self.collections.get(collection).map(|known| known.pruned.names.iter().cloned().collect()).unwrap_or_default()
    }

    fn forget(&mut self, name: &Arc<str>, id: &DocumentId, ts: i64) -> Vec<Record> {
        let Some(known) = self.collections.get_mut(name) else { return Vec::new() };
        let Some(document) = known.documents.remove(id) else { return Vec::new() };
        let last = document.rows.last().copied().unwrap_or_default();
        let mut records: Vec<_> = document.rows.iter().copied().map(Record::RowGone).collect();
        let mut scope = document.scope.as_ref().and_then(|scope| known.scopes.get_mut(scope));
        for position in &document.rows {
            known.rows.remove(position);
            if let Some(scope) = &mut scope {
                scope.rows.remove(position);
            }
        }
        for scope in known.scopes.values_mut() {
            scope.last = ts;
        }
        known.modified.remove(&(document.modified, id.clone()));
        known.waiting.remove(id);
        known.pruned.remember(id.clone(), last);
        self.merged.take(name, id);
        self.unchecked.remove(&(name.clone(), id.clone()));
        self.compactable.remove(&(name.clone(), id.clone()));
        records.push(Record::DocumentGone { collection: name.clone(), id: id.clone(), last });
        records
    }
}

/// The documents last changed before `end` that are deleted.
fn tombstones(known: &Collection, end: i64, most: usize) -> Vec<DocumentId> {
    let old = known.modified.range((Unbounded, Excluded((end, DocumentId::new("")))));
    let is_tombstone =
        |id: &DocumentId| known.documents.get(id).is_some_and(|document| document.deleted && document.merged);
    old.map(|(_, id)| id).filter(|id| is_tombstone(id)).take(most).cloned().collect()
}
