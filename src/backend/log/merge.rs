//! Documents in their Automerge form, for rows that cannot be taken as sent.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use automerge::{Automerge, Change};
use convex::Value;

use super::{Collection, Document};
use crate::{
    DocumentId,
    backend::{failure::Failure, limits::MERGED_DOCUMENTS},
    format,
    inspect::guarded,
};

/// Documents that were merged lately. Each is exactly what the log has of it, or is not here.
#[derive(Default)]
pub(super) struct Merged {
    documents: HashMap<(Arc<str>, DocumentId), (u64, Automerge)>,
    uses: u64,
}

impl Merged {
    /// Takes a document out. It is to be put back only if it still is what the log has.
    pub fn take(&mut self, collection: &Arc<str>, document: &DocumentId) -> Option<Automerge> {
        self.documents.remove(&(collection.clone(), document.clone())).map(|(_, merged)| merged)
    }

    pub fn put(&mut self, collection: &Arc<str>, document: &DocumentId, merged: Automerge) {
        if self.documents.len() >= MERGED_DOCUMENTS {
            let oldest = self.documents.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.documents.remove(&oldest);
            }
        }
        self.uses += 1;
        self.documents.insert((collection.clone(), document.clone()), (self.uses, merged));
    }

    /// A document has changes that its Automerge form here lacks.
    pub fn forget(&mut self, collection: &Arc<str>, document: &DocumentId) {
        self.documents.remove(&(collection.clone(), document.clone()));
    }
}

/// All bytes of a document's rows: what `Automerge::load` opens.
pub(super) fn bytes(collection: &Collection, document: &Document) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in document.rows.iter().filter_map(|position| collection.rows.get(position)) {
        bytes.extend_from_slice(&row.bytes);
    }
    bytes
}

/// A document as the log has it.
pub(super) fn load(collection: &Collection, document: &Document) -> Result<Automerge, Failure> {
    load_bytes(&bytes(collection, document), document)
}

/// The same from bytes that stand for all of `document`'s changes, or those of `history`.
pub(super) fn load_bytes(bytes: &[u8], document: &Document) -> Result<Automerge, Failure> {
    let unreadable = |reason: String| {
        Failure::invalid_change(format!("what the log has of the document cannot be read ({reason})"))
            .of(document.id.as_str())
    };
    guarded("load", || Automerge::load(bytes))?.map_err(|error| unreadable(error.to_string()))
}

/// Adds changes whose dependencies are there.
pub(super) fn apply(merged: &mut Automerge, changes: Vec<Change>) -> Result<(), Failure> {
    guarded("merge", || merged.apply_changes(changes))?
        .map_err(|error| Failure::invalid_change(format!("the document cannot be merged: {error}")))
}

/// The root fields of a document, as plain values.
pub(super) fn fields(merged: &Automerge) -> Result<BTreeMap<String, Value>, Failure> {
    match guarded("read", || format::read(merged))?.to_convex() {
        Value::Object(fields) => Ok(fields),
        _ => Err(Failure::invalid_change("the document's root is not a map")),
    }
}
