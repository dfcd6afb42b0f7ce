//! One document in the log.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use convex::Value;

use super::{history::History, record::DocumentRecord};
use crate::{DocumentId, backend::limits::COMPACT_ROWS, record::Position};

/// A document: its changes, the places of their bytes in the log, and its row.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub id: DocumentId,
    pub scope: Option<Arc<str>>,
    pub history: History,
    /// The document's rows in the log, in order.
    pub rows: Vec<Position>,
    /// The number of bytes in them.
    pub bytes: usize,
    /// The snapshot that stands at the place of its first rows, if any.
    pub snapshot: Option<Snapshot>,
    /// The number of rows at which compaction is tried (again).
    pub compact_at: usize,
    /// SHA-256 of the chunks in the log that came in parts, so that a repeated part is recognised.
    pub whole: HashSet<[u8; 32]>,
    pub fields: Arc<BTreeMap<String, Value>>,
    pub deleted: bool,
    /// The commit of its last change.
    pub modified: i64,
    /// Whether `fields` come from the merged document. If not, they are the fields that the writer sent.
    pub merged: bool,
}

/// A snapshot in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot {
    /// The number of changes in it.
    pub changes: usize,
    /// The number of its rows, one for each part.
    pub rows: usize,
    /// SHA-256 of the whole snapshot, if it is in parts.
    pub hash: Option<[u8; 32]>,
}

impl Document {
    pub fn new(id: DocumentId, scope: Option<Arc<str>>) -> Self {
        Self {
            id,
            scope,
            history: History::default(),
            rows: Vec::new(),
            bytes: 0,
            snapshot: None,
            compact_at: COMPACT_ROWS,
            whole: HashSet::new(),
            fields: Arc::default(),
            deleted: false,
            modified: 0,
            merged: true,
        }
    }

    pub fn record(&self, collection: &Arc<str>) -> DocumentRecord {
        DocumentRecord {
            collection: collection.clone(),
            id: self.id.clone(),
            scope: self.scope.clone(),
            heads: self.history.heads.iter().copied().collect(),
            fields: self.fields.clone(),
            deleted: self.deleted,
            modified: self.modified,
            merged: self.merged,
        }
    }

    /// The document's row in the app's table.
    pub fn row(&self) -> Value {
        let mut row = (*self.fields).clone();
        row.insert("id".into(), Value::from(self.id.as_str()));
        row.insert("version".into(), Value::Float64(self.history.len() as f64));
        row.insert("timestamp".into(), Value::Float64(micros(self.modified)));
        if self.deleted {
            row.insert("deleted".into(), Value::Boolean(true));
        }
        Value::Object(row)
    }
}

/// Whole microseconds, which the original API and the rows use.
pub(super) fn micros(ts: i64) -> f64 {
    ts.div_euclid(1_000) as f64
}
