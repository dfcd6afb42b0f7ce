//! Looking after the log: snapshots, and rows that were their writers' word.

use std::{collections::BTreeSet, sync::Arc};

use automerge::{Automerge, ChangeHash};

use super::{Log, LogRow, Record, Row, merge, row};
use crate::{
    DocumentId,
    backend::{
        failure::Failure,
        limits::{COMPACT_ROWS, COMPACT_TAIL},
    },
    inspect,
    limits::CHUNK_BYTES,
};

impl Log {
    /// Compares a few rows that were taken as sent with their merged documents, and corrects them. Empty if there is none left to check.
    pub fn check_rows(&mut self, most: usize) -> Vec<Record> {
        let mut records = Vec::new();
        for _ in 0..most {
            let Some((name, id)) = self.unchecked.pop_first() else {
                break;
            };
            let cached = self.merged.take(&name, &id);
            let Some(known) = self.collections.get(&name) else {
                continue;
            };
            let Some(document) = known.documents.get(&id) else {
                continue;
            };
            if document.merged {
                continue;
            }
            let merged = match cached.map_or_else(|| merge::load(known, document), Ok) {
                Ok(merged) => merged,
                Err(failure) => {
                    warn(&name, &id, &failure);
                    continue;
                }
            };
            let fields = merge::fields(&merged).map(row::split);
            self.merged.put(&name, &id, merged);
            let (fields, deleted) = match fields.and_then(|split| row::check(&split.0).map(|()| split)) {
                Ok(split) => split,
                Err(failure) => {
                    warn(&name, &id, &failure);
                    continue;
                }
            };
            let Some(document) = self.collections.get_mut(&name).and_then(|known| known.documents.get_mut(&id)) else {
                continue;
            };
            if *document.fields != fields || document.deleted != deleted {
                tracing::warn!(
                    target: "bevy_convex_replicate::backend",
                    collection = &*name, document = %id,
                    "a row was not what its document says: corrected"
                );
                document.fields = Arc::new(fields);
                document.deleted = deleted;
            }
            document.merged = true;
            records.push(Record::Document(document.record(&name)));
        }
        records
    }

    /// Whether [`check_rows`](Self::check_rows) or [`compact_next`](Self::compact_next) has anything to do.
    pub fn needs_care(&self) -> bool {
        !self.unchecked.is_empty() || !self.compactable.is_empty()
    }

    /// Compacts one document that has enough rows. Empty if there is none.
    pub fn compact_next(&mut self) -> Vec<Record> {
        while let Some((name, id)) = self.compactable.pop_first() {
            match self.compact(&name, &id, COMPACT_TAIL) {
                Ok(records) if records.is_empty() => {}
                Ok(records) => return records,
                Err(failure) => warn(&name, &id, &failure),
            }
        }
        Vec::new()
    }

    /// Replaces a document's rows, but for the newest `tail`, by a snapshot at the place of the last of them. A reader before that place
    /// gets the snapshot and misses nothing; one after it is not sent old news again.
    ///
    /// Nothing happens where a snapshot would not fit into one row: its parts would need places of their own, and a reader between them
    /// would be left with half of it.
    pub fn compact(&mut self, name: &Arc<str>, id: &DocumentId, tail: usize) -> Result<Vec<Record>, Failure> {
        let Some(known) = self.collections.get(name) else {
            return Ok(Vec::new());
        };
        let Some(document) = known.documents.get(id) else {
            return Ok(Vec::new());
        };
        // What readers have been shown is not moved to where they do not look yet.
        let published = document.rows.partition_point(|position| position.ts <= self.published);
        let mut end = document.rows.len().saturating_sub(tail).min(published);
        // A change that came in parts is replaced whole or kept whole.
        let is_last_part = |index: usize| {
            let row = known.rows.get(&document.rows[index]);
            row.is_none_or(|row| row.part.as_ref().is_none_or(|part| part.index + 1 == part.count))
        };
        while end > 0 && !is_last_part(end - 1) {
            end -= 1;
        }
        if end < 2 {
            return Ok(Vec::new());
        }
        let mut bytes = Vec::new();
        let mut changes = document.snapshot;
        for (index, position) in document.rows[..end].iter().enumerate() {
            let Some(row) = known.rows.get(position) else {
                continue;
            };
            bytes.extend_from_slice(&row.bytes);
            if !(index == 0 && document.snapshot > 0) && is_last_part(index) {
                changes += 1;
            }
        }
        let prefix = merge::load_bytes(&bytes, document)?;
        let snapshot: Arc<[u8]> = inspect::guarded("save", || prefix.save())?.into();
        let covered = document.history.covered(changes);
        let expected: BTreeSet<ChangeHash> = covered.iter().map(|covered| covered.hash).collect();
        if hashes(&prefix)? != expected || hashes(&merge::load_bytes(&snapshot, document)?)? != expected {
            return Err(Failure::invalid_change(
                "its snapshot does not hold what it should; the log keeps the changes",
            ));
        }
        let Some(known) = self.collections.get_mut(name) else {
            return Ok(Vec::new());
        };
        let Some(document) = known.documents.get_mut(id) else {
            return Ok(Vec::new());
        };
        if snapshot.len() > CHUNK_BYTES {
            document.compact_at = document.rows.len() * 2;
            return Ok(Vec::new());
        }
        let replaced: Vec<_> = document.rows.drain(..end).collect();
        let Some(position) = replaced.last().copied() else {
            return Ok(Vec::new());
        };
        document.rows.insert(0, position);
        document.snapshot = changes;
        document.compact_at = document.rows.len() + COMPACT_ROWS;
        let mut records = Vec::with_capacity(replaced.len() + 1);
        for gone in replaced {
            known.rows.remove(&gone);
            if let Some(scope) = document.scope.as_ref().and_then(|scope| known.scopes.get_mut(scope)) {
                scope.rows.remove(&gone);
            }
            records.push(Record::RowGone(gone));
        }
        if let Some(scope) = document.scope.as_ref().and_then(|scope| known.scopes.get_mut(scope)) {
            scope.rows.insert(position);
        }
        known.rows.insert(position, LogRow { document: id.clone(), bytes: snapshot.clone(), part: None });
        records.push(Record::Row(Row {
            collection: name.clone(),
            position,
            document: id.clone(),
            bytes: snapshot,
            part: None,
            covers: covered,
        }));
        Ok(records)
    }
}

fn hashes(document: &Automerge) -> Result<BTreeSet<ChangeHash>, Failure> {
    Ok(inspect::guarded("read", || document.get_changes(&[]).iter().map(automerge::Change::hash).collect())?)
}

fn warn(collection: &str, document: &DocumentId, failure: &Failure) {
    tracing::warn!(
        target: "bevy_convex_replicate::backend",
        collection, %document, %failure, "a document cannot be looked after"
    );
}
