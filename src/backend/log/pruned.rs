//! The names and the position that are kept of pruned documents.

use std::{collections::HashMap, sync::Arc};

use crate::{DocumentId, record::Position};

/// The scope that a pruned document was in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Home {
    /// Nobody knows: the document was pruned before formats of the log kept this.
    Unknown,
    Known(Option<Arc<str>>),
}

/// The data that a collection keeps about its pruned documents.
#[derive(Default)]
pub(super) struct Pruned {
    /// The names of the documents, so that a client that was away for longer does not bring them back, and their scopes,
    /// so that nobody outside a scope learns that it had them.
    pub(super) names: HashMap<DocumentId, Home>,
    /// The newest row that is gone, or a position after it. A client that has not read that far may have missed a
    /// deletion.
    newest: Position,
}

impl Pruned {
    pub fn remember(&mut self, id: DocumentId, home: Home, last: Position) {
        self.names.insert(id, home);
        self.newest = self.newest.max(last);
    }

    /// The position to remember for a document whose last row was `last`. Pages identify a pruning by the commit of its
    /// newest position, so each pruning needs a new one. If the document was found to be deleted late, its own position
    /// is too old, and it gets a position after the newest one.
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
