//! Care of the log: snapshots, and the check of rows that were taken as sent.

use std::{collections::BTreeSet, sync::Arc};

use automerge::{Automerge, ChangeHash};

use super::{
    document::Snapshot,
    merge, pieces,
    record::{Record, Row},
    row::TableRow,
    rows::LogRow,
    state::Log,
};
use crate::{
    DocumentId,
    backend::limits::{COMPACT_BYTES_PER_ROW, COMPACT_ROWS, COMPACT_TAIL},
    chunk::inspect,
    limits::{CHANGE_BYTES, ORDINAL_STEP},
    record::{Position, Refusal},
};

impl Log {
    /// Compares a few rows that were taken as sent with their merged documents, and corrects them. Empty if no such row
    /// is left.
    pub fn check_rows(&mut self, most: usize) -> Vec<Record> {
        let mut records = Vec::new();
        for _ in 0..most {
            let Some((name, id)) = self.unchecked.pop_first() else {
                break;
            };
            let cached = self.cache.take(&name, &id);
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
                Err(refusal) => {
                    warn(&name, &id, &refusal);
                    continue;
                }
            };
            let row = merge::fields(&merged).map(|fields| TableRow::new(fields, &id));
            self.cache.put(&name, &id, merged, document.bytes);
            let TableRow { fields, deleted } = match row {
                Ok(row) => row,
                Err(refusal) => {
                    warn(&name, &id, &refusal);
                    continue;
                }
            };
            let Some(known) = self.collections.get_mut(&name) else { continue };
            let Some(document) = known.documents.get_mut(&id) else { continue };
            if *document.fields != fields || document.deleted != deleted {
                tracing::warn!(
                    target: "bevy_convex_replicate::backend",
                    collection = &*name, document = %id,
                    "a row differed from its document and was corrected"
                );
                document.fields = Arc::new(fields);
                document.deleted = deleted;
                let modified = (document.modified, id.clone());
                match deleted {
                    true => known.tombstones.insert(modified),
                    false => known.tombstones.remove(&modified),
                };
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
                Err(refusal) => warn(&name, &id, &refusal),
            }
        }
        Vec::new()
    }

    /// Replaces a document's rows, except for the newest `tail`, by a snapshot at the place of the last replaced row. A
    /// reader before that place gets the snapshot and misses nothing. A reader after it does not get the old changes
    /// again.
    ///
    /// A snapshot in parts takes that place and the places right before it, which the log keeps free. A reader can be
    /// between them only after it has read a part of this snapshot.
    pub fn compact(&mut self, name: &Arc<str>, id: &DocumentId, tail: usize) -> Result<Vec<Record>, Refusal> {
        let Some(known) = self.collections.get(name) else {
            return Ok(Vec::new());
        };
        let Some(document) = known.documents.get(id) else {
            return Ok(Vec::new());
        };
        // Rows that readers have not been shown yet are not replaced, and the snapshot keeps the place of a published
        // row.
        let published = document.rows.partition_point(|position| position.ts <= self.published);
        let mut end = document.rows.len().saturating_sub(tail).min(published);
        // A change that came in parts is either replaced whole or kept whole.
        let is_last_part = |index: usize| {
            let row = known.rows.get(&document.rows[index]);
            row.is_none_or(|row| row.part.as_ref().is_none_or(|part| part.index + 1 == part.count))
        };
        while end > 0 && !is_last_part(end - 1) {
            end -= 1;
        }
        if end < 2 || document.snapshot.is_some_and(|snapshot| end <= snapshot.rows) {
            return Ok(Vec::new());
        }
        // If all changes of a snapshot have the same author, that user is its author. Otherwise it has none.
        let mut authors = document.rows[..end].iter().map(|position| known.rows.get(position)?.author.as_ref());
        let author = authors.next().flatten().filter(|first| authors.all(|author| author == Some(first))).cloned();
        let mut bytes = Vec::new();
        let (mut changes, first) = document.snapshot.map_or((0, 0), |snapshot| (snapshot.changes, snapshot.rows));
        for (index, position) in document.rows[..end].iter().enumerate() {
            let Some(row) = known.rows.get(position) else {
                continue;
            };
            bytes.extend_from_slice(&row.bytes);
            changes += usize::from(index >= first && is_last_part(index));
        }
        let prefix = merge::load_bytes(&bytes, document)?;
        let snapshot = inspect::guarded("save", || prefix.save())?;
        let covered = document.history.covered(changes);
        let expected: BTreeSet<ChangeHash> = covered.iter().map(|covered| covered.hash).collect();
        if hashes(&prefix)? != expected || hashes(&merge::load_bytes(&snapshot, document)?)? != expected {
            return Err(Refusal::invalid_change(
                "the snapshot of the document is incomplete, so its changes stay in the log",
            ));
        }
        let pieces = pieces::cut(&snapshot);
        let Some(last) = document.rows.get(end - 1).copied() else {
            return Ok(Vec::new());
        };
        let places = places(last, pieces.len()).filter(|places| known.rows.range(places[0]..last).next().is_none());
        let Some(known) = self.collections.get_mut(name) else {
            return Ok(Vec::new());
        };
        let Some(document) = known.documents.get_mut(id) else {
            return Ok(Vec::new());
        };
        let Some(places) = places.filter(|places| places.len() < end && snapshot.len() <= CHANGE_BYTES) else {
            document.compact_at = document.rows.len() * 2;
            return Ok(Vec::new());
        };
        self.past_from = self.past_from.max(last.ts);
        let mut records = Vec::with_capacity(end + pieces.len());
        let scope = document.scope.as_ref().and_then(|scope| known.scopes.get_mut(scope));
        let mut scope_rows = scope.map(|scope| &mut scope.rows);
        for gone in document.rows.drain(..end) {
            if let Some(row) = known.rows.remove(&gone) {
                document.bytes -= row.bytes.len();
            }
            if let Some(rows) = &mut scope_rows {
                rows.remove(&gone);
            }
            records.push(Record::RowGone(gone));
        }
        document.rows.splice(..0, places.iter().copied());
        document.bytes += snapshot.len();
        document.compact_at = document.rows.len() + rows_worth_compacting(snapshot.len());
        let hash = pieces.first().and_then(|(_, part)| part.as_ref()).map(|part| part.hash);
        document.snapshot = Some(Snapshot { changes, rows: pieces.len(), hash });
        let mut covers = covered;
        for (position, (bytes, part)) in places.into_iter().zip(pieces) {
            if let Some(rows) = &mut scope_rows {
                rows.insert(position);
            }
            known.rows.insert(
                position,
                LogRow { document: id.clone(), bytes: bytes.clone(), part: part.clone(), author: author.clone() },
            );
            records.push(Record::Row(Row {
                collection: name.clone(),
                position,
                document: id.clone(),
                bytes,
                part,
                // The first part has the list of the changes.
                covers: std::mem::take(&mut covers),
                author: author.clone(),
            }));
        }
        Ok(records)
    }
}

/// The number of rows that a document may gain before it is compacted again, by the bytes of its snapshot. Making a
/// snapshot takes time in proportion to the document's history. A longer history is therefore compacted less often, so
/// that all its snapshots together take time in proportion to the history, and not to its square.
pub(super) fn rows_worth_compacting(snapshot: usize) -> usize {
    COMPACT_ROWS.max(snapshot / COMPACT_BYTES_PER_ROW)
}

/// The places of a snapshot's parts: the place of the last row, and the places right before it. `None` if there are not
/// enough free places.
fn places(last: Position, count: usize) -> Option<Vec<Position>> {
    let before = u32::try_from(count.checked_sub(1)?).ok().filter(|before| *before < ORDINAL_STEP)?;
    let first = last.ordinal.checked_sub(before)?;
    Some((first..=last.ordinal).map(|ordinal| Position { ts: last.ts, ordinal }).collect())
}

fn hashes(document: &Automerge) -> Result<BTreeSet<ChangeHash>, Refusal> {
    Ok(inspect::guarded("read", || document.get_changes(&[]).iter().map(automerge::Change::hash).collect())?)
}

fn warn(collection: &str, document: &DocumentId, refusal: &Refusal) {
    tracing::warn!(
        target: "bevy_convex_replicate::backend",
        collection, %document, %refusal, "a document cannot be looked after"
    );
}
