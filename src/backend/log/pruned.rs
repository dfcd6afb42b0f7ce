//! What is left of documents that were deleted long ago.

use std::collections::HashSet;

use crate::{DocumentId, record::Position};

/// What a collection remembers of the documents that it has forgotten.
#[derive(Default)]
pub(super) struct Pruned {
    /// Their names, so that nobody who was away for longer brings them back.
    pub(super) names: HashSet<DocumentId>,
    /// The newest row that is gone, or a place after it: who has not read that far may have missed a delete.
    newest: Position,
}

impl Pruned {
    pub fn remember(&mut self, id: DocumentId, last: Position) {
        self.names.insert(id);
        self.newest = self.newest.max(last);
    }

    /// The place to remember a document by whose last row this was. One that is found to be deleted late goes after newer ones: readers on their way are
    /// told by the commit of the newest how far the log was pruned, and must not be told the same when more of it goes.
    pub(super) fn beyond(&self, last: Position) -> Position {
        match self.newest().filter(|newest| last.ts <= newest.ts) {
            Some(newest) => Position { ts: newest.ts.saturating_add(1), ordinal: 0 },
            None => last,
        }
    }

    /// The newest row that is gone, if any is.
    pub fn newest(&self) -> Option<Position> {
        (self.newest > Position::default()).then_some(self.newest)
    }
}
