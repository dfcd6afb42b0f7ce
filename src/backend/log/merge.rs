//! Documents in their Automerge form, for rows that cannot be computed from the sent fields.

use std::collections::{BTreeMap, BTreeSet};

use automerge::{Automerge, Change, ChangeHash, PatchAction, Prop};
use convex::Value;

use super::{document::Document, row::RESERVED, state::Collection};
use crate::{
    chunk::{inspect::guarded, sound},
    format,
    limits::{DOCUMENT_BYTES, ROW_NESTING},
    record::{Position, Refusal},
};

/// All bytes of a document's rows, for `Automerge::load`.
pub(super) fn bytes(collection: &Collection, document: &Document) -> Vec<u8> {
    bytes_of(collection, &document.rows)
}

/// The bytes of some rows.
pub(super) fn bytes_of(collection: &Collection, rows: &[Position]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows.iter().filter_map(|position| collection.rows.get(position)) {
        bytes.extend_from_slice(&row.bytes);
    }
    bytes
}

/// Loads a document from the log.
pub(super) fn load(collection: &Collection, document: &Document) -> Result<Automerge, Refusal> {
    load_bytes(&bytes(collection, document), document)
}

/// Loads a document from bytes that contain all changes of `document`, or those of `history`.
pub(super) fn load_bytes(bytes: &[u8], document: &Document) -> Result<Automerge, Refusal> {
    let unreadable = |reason: String| {
        Refusal::invalid_change(format!("what the log has of the document cannot be read ({reason})"))
            .of(document.id.as_str())
    };
    guarded("load", || Automerge::load(bytes))?.map_err(|error| unreadable(error.to_string()))
}

/// A document together with new changes that fit it.
pub(super) enum Tried {
    /// The root fields of a new document whose first change is this one. They can be read from the change without
    /// building the document.
    Plain(BTreeMap<String, Value>),
    Document(Box<Automerge>),
}

impl Tried {
    /// Adds changes to the stored document, if there is one. All dependencies of the changes must be there. `cached`
    /// may be the stored document.
    pub fn new(
        stored: Option<(&Collection, &Document)>,
        cached: Option<Automerge>,
        changes: Vec<Change>,
    ) -> Result<Self, Refusal> {
        if let ([first], None) = (&*changes, stored)
            // A larger document must be built, so that its size can be measured.
            && first.raw_bytes().len() <= DOCUMENT_BYTES
            && let Some(value) = format::read_first(first)
        {
            return Ok(Self::Plain(root(&value)?));
        }
        let mut merged = Box::new(match (cached, stored) {
            (Some(cached), _) => cached,
            (None, Some((collection, document))) => load(collection, document)?,
            (None, None) => Automerge::new(),
        });
        let before = merged.get_heads();
        let hashes: Vec<ChangeHash> = changes.iter().map(Change::hash).collect();
        sound::apply(&before, changes, &hashes, |changes| {
            merged.apply_changes(changes)?;
            Ok(&*merged)
        })
        .map_err(|reason| Refusal::invalid_change(format!("it does not fit the document: {reason}")))?;
        Ok(Self::Document(merged))
    }

    /// The root fields whose values differ from those at these heads, or that have a new conflicting value. Sorted, and
    /// without the names that have a meaning of their own in a row.
    pub fn changed_fields(&self, before: Option<&BTreeSet<ChangeHash>>) -> Result<Vec<String>, Refusal> {
        let mut changed = BTreeSet::new();
        match self {
            Self::Plain(fields) => changed.extend(fields.keys().cloned()),
            Self::Document(merged) => {
                let before: Vec<ChangeHash> = before.into_iter().flatten().copied().collect();
                for patch in guarded("compare", || merged.diff(&before, &merged.get_heads()))? {
                    changed.extend(match (patch.path.into_iter().next(), patch.action) {
                        (Some((_, Prop::Map(field))), _)
                        | (None, PatchAction::PutMap { key: field, .. } | PatchAction::DeleteMap { key: field })
                        | (None, PatchAction::Increment { prop: Prop::Map(field), .. })
                        | (None, PatchAction::Conflict { prop: Prop::Map(field) }) => Some(field),
                        _ => None,
                    });
                }
            }
        }
        Ok(changed.into_iter().filter(|field| !RESERVED.contains(&&**field)).collect())
    }

    /// Reads the root fields, as plain values.
    pub fn fields(&self) -> Result<BTreeMap<String, Value>, Refusal> {
        match self {
            Self::Plain(fields) => Ok(fields.clone()),
            Self::Document(merged) => fields(merged),
        }
    }
}

/// Refuses a document that is too large for every backend to load and compact.
pub(super) fn check_size(merged: &Automerge) -> Result<(), Refusal> {
    let bytes = guarded("save", || merged.save())?.len();
    if bytes > DOCUMENT_BYTES {
        return Err(Refusal::too_large(
            format!("the document would have {bytes} bytes; move some of it to another"),
            DOCUMENT_BYTES,
        ));
    }
    Ok(())
}

/// Reads the root fields of a document, as plain values.
pub(super) fn fields(merged: &Automerge) -> Result<BTreeMap<String, Value>, Refusal> {
    // This reads one level more than a row may have, so that the row can name the values it leaves out.
    root(&guarded("read", || format::read_levels(merged, ROW_NESTING + 1))?)
}

fn root(value: &format::Value) -> Result<BTreeMap<String, Value>, Refusal> {
    match value.to_convex() {
        Value::Object(fields) => Ok(fields),
        _ => Err(Refusal::invalid_change("the document's root is not a map")),
    }
}
