//! A commit: it adds new changes of documents as rows of the log, and their fields as rows of the table.

use std::{collections::BTreeMap, sync::Arc};

use automerge::{Automerge, Change};
use convex::Value;

use super::{
    commit::Commit,
    document::Document,
    history::{History, Overlay},
    merge::{self, Tried},
    pieces::{Pieces, Whole},
    record::{Record, Row},
    row::TableRow,
    rows::LogRow,
    state::{Collection, Log},
};
use crate::{
    DocumentId,
    backend::access::{Rights, WriteKind, WriteRequest},
    chunk::inspect,
    format::NOT_IN_ROW,
    limits::{DOCUMENT_BYTES, ORDINAL_STEP},
    record::{Position, Refusal},
};

/// The document of the changes.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub collection: &'a Arc<str>,
    /// The scope of the document, if the document is new.
    pub scope: Option<&'a Arc<str>>,
    pub id: &'a DocumentId,
    /// The rights of the caller. It was asked for the scope already.
    pub rights: Rights<'a>,
}

/// How new changes set a document's row.
pub(super) enum NewRow {
    /// The row takes the pushed fields as they were sent.
    Sent { fields: BTreeMap<String, Value>, removed: Vec<String> },
    /// The row is computed from the merged document.
    Merged,
}

/// A verified change that the log lacks, with its log rows.
pub(super) struct NewChange {
    pub change: Change,
    pub bytes: Pieces,
    /// The hash that its parts announced, if the change came in parts.
    pub hash: Option<[u8; 32]>,
}

impl NewChange {
    fn len(&self) -> usize {
        self.bytes.iter().map(|(bytes, _)| bytes.len()).sum()
    }
}

impl Log {
    /// Appends the changes among `chunks` that the log lacks, and sets the row. If any of them is refused, nothing
    /// changes.
    pub(super) fn append(
        &mut self,
        target: Target<'_>,
        chunks: Vec<Whole>,
        new_row: NewRow,
        commit: &mut Commit,
    ) -> Result<(), Refusal> {
        let mut changes = Vec::with_capacity(chunks.len());
        for Whole { bytes, pieces, hash } in chunks {
            changes.push(NewChange { change: inspect::change(&bytes)?, bytes: pieces, hash });
        }
        self.append_changes(target, changes, new_row, commit)
    }

    /// Does the same with changes that were verified on their own.
    pub(super) fn append_changes(
        &mut self,
        target: Target<'_>,
        changes: Vec<NewChange>,
        new_row: NewRow,
        commit: &mut Commit,
    ) -> Result<(), Refusal> {
        let Target { collection, id, rights, .. } = target;
        let existing = self.collections.get(collection).and_then(|known| known.documents.get(id));
        let nothing = History::default();
        let mut trial = Overlay::new(existing.map_or(&nothing, |existing| &existing.history));
        // If changes of other writers came between these changes, they may have replaced values that the earlier ones
        // set.
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
        // A rule judges the merged document, and not what the client says about it.
        let fast = match &new_row {
            NewRow::Sent { .. } => is_chain && trial.continues() && is_complete && !rights.looks_at_rows(),
            NewRow::Merged => false,
        };
        // The changes are tried before they are accepted. If a change that does not fit were accepted, no client could
        // load the document.
        let stored = self.collections.get(collection).zip(existing);
        let mut cached = self.cache.take(collection, id);
        let before = match rights.looks_at_rows() {
            true => row_before(stored, &mut cached)?,
            false => None,
        };
        let tried = Tried::new(stored, cached, new.iter().map(|new| new.change.clone()).collect())?;
        let (row, merged) = match new_row {
            NewRow::Sent { fields, removed } if fast => {
                let sent = sent_row(existing, id, fields, &removed);
                let merged = matches!(tried, Tried::Plain(_)) && TableRow::new(tried.fields()?, id) == sent;
                (sent, merged)
            }
            _ => (TableRow::new(tried.fields()?, id), true),
        };
        let was_deleted = before.as_ref().map(|before| before.deleted);
        let kind = match was_deleted.or(existing.map(|existing| existing.deleted)) {
            None => WriteKind::New,
            Some(false) if row.deleted => WriteKind::Deleted,
            Some(true) if !row.deleted => WriteKind::Restored,
            _ => WriteKind::Changed,
        };
        let changed = match rights.looks_at_rows() {
            true => tried.changed_fields(existing.map(|existing| &existing.history.heads))?,
            false => Vec::new(),
        };
        rights.check_write(WriteRequest {
            user: rights.user,
            collection,
            document: id.as_str(),
            scope: home(existing, target.scope),
            kind,
            before: before.as_ref().map(TableRow::shown),
            after: row.shown(),
            changed: &changed,
        })?;
        if let Tried::Document(document) = tried {
            if bytes > DOCUMENT_BYTES {
                merge::check_size(&document)?;
            }
            self.cache.put(collection, id, *document, bytes);
        }
        commit.changed.insert(id.clone(), bytes);
        self.write(target, new, row, merged, commit);
        Ok(())
    }

    fn write(&mut self, target: Target<'_>, new: Vec<NewChange>, row: TableRow, merged: bool, commit: &mut Commit) {
        let Target { collection: name, scope, id, rights } = target;
        let author = rights.user.cloned();
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
                let (bytes_, part_, author_) = (bytes.clone(), part.clone(), author.clone());
                let row = LogRow { document: id.clone(), bytes: bytes_, part: part_, author: author_ };
                collection.rows.insert(position, row);
                commit.records.push(Record::Row(Row {
                    collection: name.clone(),
                    position,
                    document: id.clone(),
                    bytes,
                    part,
                    covers: Vec::new(),
                    author: author.clone(),
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

/// The scope of a document: the one that it has, or the one that a new document enters.
fn home<'a>(existing: Option<&'a Document>, scope: Option<&'a Arc<str>>) -> Option<&'a str> {
    match existing {
        Some(existing) => existing.scope.as_deref(),
        None => scope.map(|scope| &**scope),
    }
}

/// The row that the document has before a write, as merged. `cached` is its Automerge form, if that is at hand.
pub(super) fn row_before(
    stored: Option<(&Collection, &Document)>,
    cached: &mut Option<Automerge>,
) -> Result<Option<TableRow>, Refusal> {
    let Some((collection, document)) = stored else { return Ok(None) };
    if document.merged {
        return Ok(Some(TableRow { fields: (*document.fields).clone(), deleted: document.deleted }));
    }
    // The row is what a writer said.
    let merged = match cached.take() {
        Some(merged) => merged,
        None => merge::load(collection, document)?,
    };
    let row = TableRow::new(merge::fields(&merged)?, &document.id);
    *cached = Some(merged);
    Ok(Some(row))
}

/// The row with the fields as they were sent.
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
