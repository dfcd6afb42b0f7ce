//! The rows of a collection's log, and the number of their bytes.

use std::{
    collections::{BTreeMap, btree_map},
    ops::RangeBounds,
    sync::Arc,
};

use crate::{
    DocumentId,
    chunk::Part,
    record::{Position, UserId},
};

/// A row of the log.
pub(super) struct LogRow {
    pub(super) document: DocumentId,
    pub(super) bytes: Arc<[u8]>,
    pub(super) part: Option<Part>,
    pub(super) author: Option<UserId>,
}

/// The rows, by position. Their bytes are counted as they come and go, so that asking for the size costs nothing.
#[derive(Default)]
pub(super) struct Rows {
    by_position: BTreeMap<Position, LogRow>,
    bytes: usize,
}

impl Rows {
    pub fn insert(&mut self, position: Position, row: LogRow) {
        self.bytes += row.bytes.len();
        if let Some(former) = self.by_position.insert(position, row) {
            self.bytes -= former.bytes.len();
        }
    }

    pub fn remove(&mut self, position: &Position) -> Option<LogRow> {
        let gone = self.by_position.remove(position)?;
        self.bytes -= gone.bytes.len();
        Some(gone)
    }

    pub fn get(&self, position: &Position) -> Option<&LogRow> {
        self.by_position.get(position)
    }

    pub fn range(&self, range: impl RangeBounds<Position>) -> btree_map::Range<'_, Position, LogRow> {
        self.by_position.range(range)
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.by_position.len()
    }

    /// The number of bytes in them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
