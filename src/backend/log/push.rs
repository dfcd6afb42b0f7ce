//! `pushChanges`: each document is taken whole or not at all.

use std::sync::Arc;

use convex::Value;

use super::{
    Committed, Log,
    append::{Commit, NewRow, Target},
};
use crate::{
    DocumentId,
    backend::failure::Failure,
    chunk::Part,
    limits::{DOCUMENT_ID_BYTES, PUSH_BYTES, PUSH_CHANGES, PUSH_DOCUMENTS},
};

/// The arguments of `pushChanges`.
#[derive(Clone, Debug)]
pub(in crate::backend) struct PushChanges {
    pub documents: Vec<PushedDocument>,
    pub scope: Option<String>,
}

/// A document of a push.
#[derive(Clone, Debug)]
pub(in crate::backend) struct PushedDocument {
    pub id: String,
    pub changes: Vec<Chunk>,
    pub fields: Option<Value>,
    pub removed: Vec<String>,
}

/// A change, or a part of one.
#[derive(Clone, Debug)]
pub(in crate::backend) struct Chunk {
    pub bytes: Arc<[u8]>,
    /// `None` within: the part's numbers make no sense.
    pub part: Option<Option<Part>>,
}

/// The answer to a push: one result per document, in order.
#[derive(Clone, Debug)]
pub(in crate::backend) struct PushAnswer {
    pub results: Vec<(String, Result<(), Failure>)>,
}

impl Log {
    /// Appends a batch of documents' changes.
    pub fn push_changes(
        &mut self,
        collection: &str,
        args: PushChanges,
        now: i64,
    ) -> Result<Committed<PushAnswer>, Failure> {
        check_push(&args)?;
        let collection = self.name(collection);
        let scope: Option<Arc<str>> = args.scope.map(Into::into);
        let mut commit = self.begin(now);
        let mut results = Vec::with_capacity(args.documents.len());
        for document in args.documents {
            let id = document.id.clone();
            let result = self.push_document(&collection, scope.as_ref(), document, &mut commit);
            results.push((id, result));
        }
        Ok(self.end(&collection, commit, PushAnswer { results }))
    }

    fn push_document(
        &mut self,
        collection: &Arc<str>,
        scope: Option<&Arc<str>>,
        pushed: PushedDocument,
        commit: &mut Commit,
    ) -> Result<(), Failure> {
        check_id(&pushed.id)?;
        self.check_remembered(collection, &pushed.id)?;
        let id = DocumentId::new(pushed.id);
        let fields = match pushed.fields {
            None => None,
            Some(Value::Object(fields)) => Some(fields),
            Some(_) => return Err(Failure::new("forbiddenField", "`fields` is not an object")),
        };
        let mut parts = self.receive(collection, &id, pushed.changes, commit.ts)?;
        let new_row = match fields {
            Some(fields) => NewRow::Sent { fields, removed: pushed.removed },
            None => NewRow::Merged,
        };
        let target = Target { collection, scope, id: &id };
        self.append(target, std::mem::take(&mut parts.whole), new_row, commit)?;
        parts.keep(self, collection, id, commit);
        Ok(())
    }
}

fn check_push(args: &PushChanges) -> Result<(), Failure> {
    let too_large = |what: &str, count: usize, limit: usize| Failure {
        limit: Some(limit as u64),
        ..Failure::new("pushTooLarge", format!("{count} {what} in one push; at most {limit} are taken"))
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

pub(super) fn check_id(id: &str) -> Result<(), Failure> {
    if id.is_empty() {
        return Err(Failure::invalid_change("a document's id is empty"));
    }
    if id.len() > DOCUMENT_ID_BYTES {
        return Err(Failure::too_large(format!("a document's id has {} bytes", id.len()), DOCUMENT_ID_BYTES));
    }
    Ok(())
}
