//! A commit: new changes of documents become rows of the log, and their fields rows of the table.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use automerge::Change;
use convex::Value;

use super::{
    Committed, Document, Log, LogRow, Record, Row,
    document::{History, Overlay},
    merge::{self, Tried},
    receive::{Pieces, Whole},
    row::TableRow,
};
use crate::{
    DocumentId,
    backend::failure::Failure,
    chunk::inspect,
    format::NOT_IN_ROW,
    limits::{COMMIT_BYTES, DOCUMENT_BYTES, ORDINAL_STEP},
    record::Position,
};

/// A commit in the making.
pub(super) struct Commit {
    pub ts: i64,
    /// The last row's.
    pub ordinal: u32,
    pub records: Vec<Record>,
    /// The documents that it changes, with the bytes of their logs.
    pub changed: HashMap<DocumentId, usize>,
}

impl Commit {
    /// Whether a document whose log will have so many bytes may be changed beside the others. One alone always may.
    fn admit(&self, id: &DocumentId, bytes: usize) -> Result<(), Failure> {
        let others = self.changed.iter().filter(|(other, _)| *other != id);
        let (count, all) = others.fold((0, bytes), |(count, all), (_, bytes)| (count + 1, all + bytes));
        if count > 0 && all > COMMIT_BYTES {
            return Err(Failure::too_large(
                "the documents of one commit would be too large to be pulled together: send this one again by itself",
                COMMIT_BYTES,
            ));
        }
        Ok(())
    }
}

/// The document that changes are for.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub collection: &'a Arc<str>,
    /// The scope it is in if it is new.
    pub scope: Option<&'a Arc<str>>,
    pub id: &'a DocumentId,
}

/// What new changes do to a document's row.
pub(super) enum NewRow {
    /// The writer says what the fields are now.
    Sent { fields: BTreeMap<String, Value>, removed: Vec<String> },
    /// The row is to be read from the merged document.
    Merged,
}

/// A change that the log lacks, verified, with the rows it is to be.
pub(super) struct NewChange {
    pub change: Change,
    pub bytes: Pieces,
    /// What its parts called it, if it came in parts.
    pub hash: Option<[u8; 32]>,
}

impl NewChange {
    fn len(&self) -> usize {
        self.bytes.iter().map(|(bytes, _)| bytes.len()).sum()
    }
}

impl Log {
    /// Begins a commit.
    pub(super) fn begin(&self, now: i64) -> Commit {
        Commit { ts: self.next_ts(now), ordinal: 0, records: Vec::new(), changed: HashMap::new() }
    }

    /// Ends a commit. One that wrote no row is none, and takes no time.
    pub(super) fn end<T>(&mut self, collection: &Arc<str>, commit: Commit, answer: T) -> Committed<T> {
        if commit.ordinal > 0 {
            self.last = commit.ts;
            self.collections.entry(collection.clone()).or_default().last = commit.ts;
        }
        Committed { answer, ts: self.last, records: commit.records }
    }

    /// Appends the changes among `chunks` that the log lacks, and sets the row. Changes nothing if any of them is refused.
    pub(super) fn append(
        &mut self,
        target: Target<'_>,
        chunks: Vec<Whole>,
        new_row: NewRow,
        commit: &mut Commit,
    ) -> Result<(), Failure> {
        let mut changes = Vec::with_capacity(chunks.len());
        for Whole { bytes, pieces, hash } in chunks {
            changes.push(NewChange { change: inspect::change(&bytes)?, bytes: pieces, hash });
        }
        self.append_changes(target, changes, new_row, commit)
    }

    /// The same for changes that are verified by themselves.
    pub(super) fn append_changes(
        &mut self,
        target: Target<'_>,
        changes: Vec<NewChange>,
        new_row: NewRow,
        commit: &mut Commit,
    ) -> Result<(), Failure> {
        let Target { collection, id, .. } = target;
        let existing = self.collections.get(collection).and_then(|known| known.documents.get(id));
        let nothing = History::default();
        let mut trial = Overlay::new(existing.map_or(&nothing, |existing| &existing.history));
        // With others' changes between them, the values after the first may be what those have replaced since.
        let is_chain = changes.windows(2).all(|pair| pair[1].change.deps() == [pair[0].change.hash()]);
        let mut new = Vec::new();
        for change in changes {
            if trial.admit(&change.change)? {
                new.push(change);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let bytes = existing.map_or(0, |existing| existing.bytes) + new.iter().map(NewChange::len).sum::<usize>();
        commit.admit(id, bytes)?;
        // A field that the row lacks may fit after the next change. Only the merged document shows whether it does.
        let is_complete = existing.is_none_or(|existing| !existing.fields.contains_key(NOT_IN_ROW));
        let fast = match &new_row {
            NewRow::Sent { .. } => is_chain && trial.continues() && is_complete,
            NewRow::Merged => false,
        };
        // Tried before they are accepted: what does not fit would leave everyone with a document that cannot be loaded.
        let stored = self.collections.get(collection).zip(existing);
        let cached = self.merged.take(collection, id);
        let tried = Tried::new(stored, cached, new.iter().map(|new| new.change.clone()).collect())?;
        let (row, merged) = match new_row {
            NewRow::Sent { fields, removed } if fast => {
                let sent = sent_row(existing, id, fields, &removed);
                let merged = matches!(tried, Tried::Plain(_)) && TableRow::new(tried.fields()?, id) == sent;
                (sent, merged)
            }
            _ => (TableRow::new(tried.fields()?, id), true),
        };
        if let Tried::Document(document) = tried {
            if bytes > DOCUMENT_BYTES {
                merge::check_size(&document)?;
            }
            self.merged.put(collection, id, *document, bytes);
        }
        commit.changed.insert(id.clone(), bytes);
        self.write(target, new, row, merged, commit);
        Ok(())
    }

    fn write(&mut self, target: Target<'_>, new: Vec<NewChange>, row: TableRow, merged: bool, commit: &mut Commit) {
        let Target { collection: name, scope, id } = target;
        let collection = self.collections.entry(name.clone()).or_default();
        let document =
            collection.documents.entry(id.clone()).or_insert_with(|| Document::new(id.clone(), scope.cloned()));
        for NewChange { change, bytes, hash } in new {
            document.history.take(&change);
            document.whole.extend(hash);
            for (bytes, part) in bytes {
                commit.ordinal += ORDINAL_STEP;
                let position = Position { ts: commit.ts, ordinal: commit.ordinal };
                document.bytes += bytes.len();
                document.rows.push(position);
                if let Some(scope) = &document.scope {
                    let scope = collection.scopes.entry(scope.clone()).or_default();
                    scope.rows.insert(position);
                    scope.last = commit.ts;
                }
                collection
                    .rows
                    .insert(position, LogRow { document: id.clone(), bytes: bytes.clone(), part: part.clone() });
                commit.records.push(Record::Row(Row {
                    collection: name.clone(),
                    position,
                    document: id.clone(),
                    bytes,
                    part,
                    covers: Vec::new(),
                }));
            }
        }
        let before = (document.modified, id.clone());
        collection.modified.remove(&before);
        collection.tombstones.remove(&before);
        collection.modified.insert((commit.ts, id.clone()));
        if row.deleted {
            collection.tombstones.insert((commit.ts, id.clone()));
        }
        document.modified = commit.ts;
        document.fields = Arc::new(row.fields);
        document.deleted = row.deleted;
        document.merged = merged;
        if !merged {
            self.unchecked.insert((name.clone(), id.clone()));
        }
        if document.rows.len() > document.compact_at {
            self.compactable.insert((name.clone(), id.clone()));
        }
        commit.records.push(Record::Document(document.record(name)));
    }
}

/// The row as the writer says it is now.
fn sent_row(
    existing: Option<&Document>,
    id: &DocumentId,
    fields: BTreeMap<String, Value>,
    removed: &[String],
) -> TableRow {
    let mut row = existing.map(|existing| (*existing.fields).clone()).unwrap_or_default();
    if existing.is_some_and(|existing| existing.deleted) {
        row.insert("deleted".into(), Value::Boolean(true));
    }
    for name in removed {
        row.remove(name);
    }
    row.extend(fields);
    TableRow::new(row, id)
}
