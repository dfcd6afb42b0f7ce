//! Reads a log back from its records.

use std::{collections::HashMap, sync::Arc};

use super::{
    compact::rows_worth_compacting,
    document::{Document, Snapshot},
    record::{Covered, DocumentRecord, Record, Row},
    rows::LogRow,
    state::Log,
    waiting::Waiting,
};
use crate::{DocumentId, chunk::inspect};

/// An inconsistency in the records that were read.
#[derive(Debug, thiserror::Error)]
#[error("document {document:?} of {collection:?}: {problem}")]
pub(in crate::backend) struct Damage {
    collection: String,
    document: String,
    problem: String,
}

/// A log that is being read. It takes documents first, including pruned ones, then rows in order, then waiting parts.
pub(in crate::backend) struct Restore {
    log: Log,
    /// Chunks whose parts have not all been read yet.
    partial: HashMap<[u8; 32], Vec<u8>>,
}

impl Restore {
    pub fn new(epoch: impl Into<Arc<str>>) -> Self {
        Self { log: Log::new(epoch), partial: HashMap::new() }
    }

    /// Adds a record.
    pub fn add(&mut self, record: Record) -> Result<(), Damage> {
        match record {
            Record::Document(record) => self.document(record),
            Record::Row(row) => return self.row(row),
            Record::Part { collection, document, sender, part, bytes, ts } => {
                let name = self.log.name(&collection);
                let waiting = self.log.collections.entry(name).or_default().waiting.entry(document).or_default();
                let chunk = waiting
                    .entry(sender)
                    .or_default()
                    .entry(part.hash)
                    .or_insert_with(|| Waiting { count: part.count, ..Waiting::default() });
                chunk.parts.insert(part.index, bytes);
                chunk.since = chunk.since.max(ts);
            }
            Record::DocumentGone { collection, id, home, last } => {
                let name = self.log.name(&collection);
                let known = self.log.collections.entry(name).or_default();
                known.pruned.remember(id, home, last);
                // New commits must come after pruned ones, even if the clock goes back.
                known.last = known.last.max(last.ts);
                self.log.last = self.log.last.max(last.ts);
            }
            Record::Outcome(outcome) => self.log.outcomes.insert(outcome),
            Record::RowGone(_) | Record::PartsGone { .. } | Record::OutcomeGone(_) => {}
        }
        Ok(())
    }

    /// Returns the log, if it is whole.
    pub fn finish(mut self) -> Result<Log, Damage> {
        for (name, collection) in &self.log.collections {
            for document in collection.documents.values() {
                if document.snapshot.is_some_and(|snapshot| document.rows.len() < snapshot.rows) {
                    return Err(damage(name, &document.id, "a part of its snapshot is missing"));
                }
                if document.history.len() == 0 {
                    return Err(damage(name, &document.id, "none of its changes is there"));
                }
                if document.history.heads.iter().any(|head| !document.history.has(head)) {
                    return Err(damage(name, &document.id, "a change that it had is not there"));
                }
            }
        }
        self.log.publish();
        // The log may have been compacted or pruned before.
        self.log.past_from = self.log.last;
        Ok(self.log)
    }

    fn document(&mut self, record: DocumentRecord) {
        let name = self.log.name(&record.collection);
        let collection = self.log.collections.entry(name.clone()).or_default();
        let mut document = Document::new(record.id.clone(), record.scope);
        document.history.heads = record.heads.into_iter().collect();
        document.fields = record.fields;
        document.deleted = record.deleted;
        document.modified = record.modified;
        document.merged = record.merged;
        if !record.merged {
            self.log.unchecked.insert((name, record.id.clone()));
        }
        collection.modified.insert((record.modified, record.id.clone()));
        if record.deleted {
            collection.tombstones.insert((record.modified, record.id.clone()));
        }
        collection.last = collection.last.max(record.modified);
        self.log.last = self.log.last.max(record.modified);
        collection.documents.insert(record.id, document);
    }

    fn row(&mut self, row: Row) -> Result<(), Damage> {
        let name = self.log.name(&row.collection);
        let collection = self.log.collections.entry(name.clone()).or_default();
        let Some(document) = collection.documents.get_mut(&row.document) else {
            return Err(damage(&name, &row.document, "its log row has no document"));
        };
        let snapshot = document.snapshot.and_then(|snapshot| snapshot.hash);
        if !row.covers.is_empty() {
            let rows = row.part.as_ref().map_or(1, |part| part.count as usize);
            let hash = row.part.as_ref().map(|part| part.hash);
            document.snapshot = Some(Snapshot { changes: row.covers.len(), rows, hash });
            document.compact_at = rows + rows_worth_compacting(row.bytes.len() * rows);
            row.covers.iter().for_each(|covered| document.history.remember(covered));
        } else if snapshot.is_none() || row.part.as_ref().map(|part| part.hash) != snapshot {
            let change = match &row.part {
                None => Some(row.bytes.to_vec()),
                Some(part) => {
                    let bytes = self.partial.entry(part.hash).or_default();
                    bytes.extend_from_slice(&row.bytes);
                    document.whole.insert(part.hash);
                    (part.index + 1 == part.count).then(|| self.partial.remove(&part.hash)).flatten()
                }
            };
            if let Some(bytes) = change {
                let change =
                    inspect::change(&bytes).map_err(|refusal| damage(&name, &row.document, &refusal.to_string()))?;
                document.history.remember(&Covered::of(&change));
            }
        }
        document.rows.push(row.position);
        document.bytes += row.bytes.len();
        if document.rows.len() > document.compact_at {
            self.log.compactable.insert((name, row.document.clone()));
        }
        if let Some(scope) = &document.scope {
            let scope = collection.scopes.entry(scope.clone()).or_default();
            scope.rows.insert(row.position);
            scope.last = row.position.ts;
        }
        self.log.last = self.log.last.max(row.position.ts);
        collection.last = collection.last.max(row.position.ts);
        let Row { document, bytes, part, author, .. } = row;
        collection.rows.insert(row.position, LogRow { document, bytes, part, author });
        Ok(())
    }
}

fn damage(collection: &str, document: &DocumentId, problem: &str) -> Damage {
    Damage { collection: collection.to_owned(), document: document.to_string(), problem: problem.to_owned() }
}
