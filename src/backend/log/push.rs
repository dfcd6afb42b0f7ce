//! The function `pushChanges`, which accepts or refuses each document as a whole.

use std::sync::Arc;

use convex::Value;

use super::{
    append::{NewRow, Target, row_before},
    commit::Commit,
    pruned::Home,
    record::Committed,
    row::TableRow,
    state::Log,
    waiting::Sender,
};
use crate::{
    DocumentId,
    backend::access::{Rights, WriteKind, WriteRequest},
    limits::{DOCUMENT_ID_BYTES, PUSH_BYTES, PUSH_CHANGES, PUSH_DOCUMENTS},
    record::{Refusal, RefusalCode},
    wire::{DocumentChanges, PushChanges},
};

/// For each document of a push, in order: whether the log has accepted its changes.
pub(in crate::backend) type PushResults = Vec<(String, Result<(), Refusal>)>;

impl Log {
    /// Appends a batch of documents' changes.
    pub fn push_changes(
        &mut self,
        collection: &str,
        rights: Rights<'_>,
        args: PushChanges,
        now: i64,
    ) -> Result<Committed<PushResults>, Refusal> {
        check_push(&args)?;
        let collection = self.name(collection);
        let scope: Option<Arc<str>> = args.scope.map(Into::into);
        let mut commit = self.begin(now);
        let mut results = Vec::with_capacity(args.documents.len());
        for document in args.documents {
            let id = document.id.clone();
            let result = self.push_document(&collection, scope.as_ref(), rights, document, &mut commit);
            results.push((id, result));
        }
        Ok(self.end(&collection, commit, results))
    }

    fn push_document(
        &mut self,
        collection: &Arc<str>,
        scope: Option<&Arc<str>>,
        rights: Rights<'_>,
        pushed: DocumentChanges,
        commit: &mut Commit,
    ) -> Result<(), Refusal> {
        let id = DocumentId::new(pushed.id);
        // Strangers learn nothing about a document in a scope that they may not enter.
        self.check_enter(collection, &id, scope.map(|scope| &**scope), rights)?;
        let fields = match pushed.fields {
            None => None,
            Some(Value::Object(fields)) => Some(fields),
            Some(_) => return Err(Refusal::new(RefusalCode::ForbiddenField, "`fields` is not an object")),
        };
        check_id(id.as_str())?;
        self.check_remembered(collection, id.as_str())?;
        let sender = Sender { user: rights.user.cloned(), scope: scope.cloned() };
        let mut parts = self.receive(collection, &id, sender, pushed.changes, commit.ts)?;
        if parts.is_waiting() {
            self.check_parts(collection, &id, rights)?;
        }
        let new_row = match fields {
            Some(fields) => NewRow::Sent { fields, removed: pushed.removed },
            None => NewRow::Merged,
        };
        let target = Target { collection, scope, id: &id, rights };
        self.append(target, std::mem::take(&mut parts.whole), new_row, commit)?;
        parts.keep(self, collection, id, commit);
        Ok(())
    }
}

impl Log {
    /// Refuses a caller that may not enter the scope of a document. `scope` is the one that a new document would enter.
    pub(super) fn check_enter(
        &self,
        collection: &str,
        id: &DocumentId,
        scope: Option<&str>,
        rights: Rights<'_>,
    ) -> Result<(), Refusal> {
        let known = self.collections.get(collection);
        let home = match known.and_then(|known| known.documents.get(id)) {
            Some(existing) => existing.scope.as_deref(),
            None => match known.and_then(|known| known.pruned.names.get(id)) {
                Some(Home::Known(home)) => home.as_deref(),
                Some(Home::Unknown) | None => scope,
            },
        };
        rights.check_enter(collection, home, id.as_str())
    }

    /// Refuses parts that would wait in a document that the caller may not write. Their effect is not known yet, so the
    /// rule is asked whether the caller may write the document as it is. It is asked again when the change is complete.
    fn check_parts(&self, collection: &Arc<str>, id: &DocumentId, rights: Rights<'_>) -> Result<(), Refusal> {
        let stored = self.collections.get(collection).and_then(|known| Some((known, known.documents.get(id)?)));
        let Some((_, document)) = stored else { return Ok(()) };
        let row = match rights.looks_at_rows() {
            true => row_before(stored, &mut None)?,
            false => None,
        };
        let empty = TableRow::default();
        let shown = row.as_ref().unwrap_or(&empty).shown();
        rights.check_write(WriteRequest {
            user: rights.user,
            collection,
            document: id.as_str(),
            scope: document.scope.as_deref(),
            kind: WriteKind::Changed,
            before: Some(shown),
            after: shown,
            changed: &[],
        })
    }
}

fn check_push(args: &PushChanges) -> Result<(), Refusal> {
    let too_large = |what: &str, count: usize, limit: usize| {
        let message = format!("{count} {what} in one push; at most {limit} are taken");
        Refusal::new(RefusalCode::PushTooLarge, message).over(limit as u64)
    };
    let changes: usize = args.documents.iter().map(|document| document.changes.len()).sum();
    let bytes: usize =
        args.documents.iter().flat_map(|document| &document.changes).map(|chunk| chunk.bytes.len()).sum();
    if args.documents.len() > PUSH_DOCUMENTS {
        return Err(too_large("documents", args.documents.len(), PUSH_DOCUMENTS));
    }
    if changes > PUSH_CHANGES {
        return Err(too_large("changes", changes, PUSH_CHANGES));
    }
    if bytes > PUSH_BYTES {
        return Err(too_large("chunk bytes", bytes, PUSH_BYTES));
    }
    Ok(())
}

pub(super) fn check_id(id: &str) -> Result<(), Refusal> {
    if id.is_empty() {
        return Err(Refusal::invalid_change("a document's id is empty"));
    }
    if id.len() > DOCUMENT_ID_BYTES {
        return Err(Refusal::too_large(format!("a document's id has {} bytes", id.len()), DOCUMENT_ID_BYTES));
    }
    Ok(())
}
