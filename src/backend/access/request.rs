//! The questions that a rule answers.

use std::collections::BTreeMap;

use convex::Value;

use crate::record::UserId;

/// A question: may this user read a collection, or one scope of it?
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReadRequest<'a> {
    /// The caller. `None`: a caller without a name, which has sent the backend's one token, or needs none.
    pub user: Option<&'a UserId>,
    /// The collection.
    pub collection: &'a str,
    /// The scope; `None` for the whole collection, with the documents of every scope.
    pub scope: Option<&'a str>,
}

/// A question: may this user write these changes of a document?
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WriteRequest<'a> {
    /// The caller, as in [`ReadRequest`].
    pub user: Option<&'a UserId>,
    /// The collection.
    pub collection: &'a str,
    /// The document's name.
    pub document: &'a str,
    /// The scope that the document is in, or would enter. A document stays in the scope that it was first pushed to.
    pub scope: Option<&'a str>,
    /// What the write does.
    pub kind: WriteKind,
    /// The document's row before the write. `None` if the document is new.
    pub before: Option<DocumentRow<'a>>,
    /// The document's row after the write, which the backend has merged. It never consists of values that the client
    /// only claims.
    pub after: DocumentRow<'a>,
    /// The root fields whose values the write changes, sorted. `deleted` is not among them: see [`kind`](Self::kind).
    pub changed: &'a [String],
}

/// What a write does to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteKind {
    /// The log does not have the document yet.
    New,
    /// It changes a document.
    Changed,
    /// It makes a document a tombstone.
    Deleted,
    /// It makes a tombstone a document again.
    Restored,
}

/// A document as a row of the app's table.
#[derive(Clone, Copy, Debug)]
pub struct DocumentRow<'a> {
    fields: &'a BTreeMap<String, Value>,
    deleted: bool,
}

impl<'a> DocumentRow<'a> {
    pub(in crate::backend) fn new(fields: &'a BTreeMap<String, Value>, deleted: bool) -> Self {
        Self { fields, deleted }
    }

    /// The root fields, as `docs/wire.md` says under "The row". The column `notInRow` names the values that Convex
    /// cannot store, which are left out here too.
    pub fn fields(&self) -> &'a BTreeMap<String, Value> {
        self.fields
    }

    /// The value of a root field.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field)
    }

    /// The value of a root field that is a text.
    pub fn text(&self, field: &str) -> Option<&'a str> {
        match self.get(field) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether the document is a tombstone.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }
}
