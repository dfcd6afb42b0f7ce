//! Documents in their Automerge form, for rows that cannot be taken as sent.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use automerge::{Automerge, Change, ChangeHash};
use convex::Value;

use super::{Collection, Document};
use crate::{
    DocumentId,
    backend::{
        failure::Failure,
        limits::{MERGED_BYTES, MERGED_DOCUMENTS},
    },
    chunk::{inspect::guarded, sound},
    format,
    limits::{DOCUMENT_BYTES, ROW_NESTING},
};

/// Documents that were merged lately. Each is exactly what the log has of it, or is not here.
#[derive(Default)]
pub(super) struct Merged {
    documents: HashMap<(Arc<str>, DocumentId), Kept>,
    uses: u64,
    bytes: usize,
}

struct Kept {
    document: Automerge,
    /// When it was last put here: a count, not a time.
    used: u64,
    /// Its bytes in the log.
    bytes: usize,
}

impl Merged {
    /// Takes a document out. It is to be put back only if it still is what the log has.
    pub fn take(&mut self, collection: &Arc<str>, document: &DocumentId) -> Option<Automerge> {
        let kept = self.documents.remove(&(collection.clone(), document.clone()))?;
        self.bytes -= kept.bytes;
        Some(kept.document)
    }

    /// Keeps a document that has `bytes` in the log, and lets go of those that were not used for the longest.
    pub fn put(&mut self, collection: &Arc<str>, document: &DocumentId, merged: Automerge, bytes: usize) {
        self.take(collection, document);
        while !self.documents.is_empty()
            && (self.documents.len() >= MERGED_DOCUMENTS || self.bytes + bytes > MERGED_BYTES)
        {
            let oldest = self.documents.iter().min_by_key(|(_, kept)| kept.used).map(|(key, _)| key.clone());
            if let Some((collection, document)) = oldest {
                self.take(&collection, &document);
            }
        }
        self.uses += 1;
        self.bytes += bytes;
        let kept = Kept { document: merged, used: self.uses, bytes };
        self.documents.insert((collection.clone(), document.clone()), kept);
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

/// A document with changes that the log lacks: they fit it.
pub(super) enum Tried {
    /// The root fields of one that begins with this change, which takes no document to tell.
    Plain(BTreeMap<String, Value>),
    Document(Box<Automerge>),
}

impl Tried {
    /// Adds changes whose dependencies are there to a document as it is stored, if it is, which `cached` may be.
    pub fn new(
        stored: Option<(&Collection, &Document)>,
        cached: Option<Automerge>,
        changes: Vec<Change>,
    ) -> Result<Self, Failure> {
        if let ([first], None) = (&*changes, stored)
            // A larger one is to be measured as a document.
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
        .map_err(|reason| Failure::invalid_change(format!("it does not fit the document: {reason}")))?;
        Ok(Self::Document(merged))
    }

    /// The root fields, as plain values.
    pub fn fields(&self) -> Result<BTreeMap<String, Value>, Failure> {
        match self {
            Self::Plain(fields) => Ok(fields.clone()),
            Self::Document(merged) => fields(merged),
        }
    }
}

/// Whether a document is small enough for every backend to load and compact it.
pub(super) fn check_size(merged: &Automerge) -> Result<(), Failure> {
    let bytes = guarded("save", || merged.save())?.len();
    if bytes > DOCUMENT_BYTES {
        return Err(Failure::too_large(
            format!("the document would have {bytes} bytes; move some of it to another"),
            DOCUMENT_BYTES,
        ));
    }
    Ok(())
}

/// The root fields of a document, as plain values.
pub(super) fn fields(merged: &Automerge) -> Result<BTreeMap<String, Value>, Failure> {
    // A level more than a row may have, so that what is left out of the row is seen to be there.
    root(&guarded("read", || format::read_levels(merged, ROW_NESTING + 1))?)
}

fn root(value: &format::Value) -> Result<BTreeMap<String, Value>, Failure> {
    match value.to_convex() {
        Value::Object(fields) => Ok(fields),
        _ => Err(Failure::invalid_change("the document's root is not a map")),
    }
}
