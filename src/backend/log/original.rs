//! The functions of the original API, which transfer whole documents.

use automerge::{ActorId, Automerge, Change, ChangeHash, ROOT, transaction::Transactable};

use super::{
    append::{NewChange, NewRow, Target, home},
    document::micros,
    merge,
    pieces::cut,
    pull::rows,
    push::check_id,
    record::Committed,
    state::{Log, StreamState},
};
use crate::{
    DocumentId,
    backend::access::Rights,
    chunk::inspect,
    limits::{CHANGE_BYTES, DOCUMENT_PAGE, DOCUMENT_PAGE_BYTES, DOCUMENT_PAGE_MAX},
    record::{Refusal, RefusalCode},
    wire::{DocumentPage, PutDocument, WholeDocument},
};

impl Log {
    /// Adds the changes of a saved document that the log lacks.
    pub fn put_document(
        &mut self,
        collection: &str,
        rights: Rights<'_>,
        args: PutDocument,
        now: i64,
    ) -> Result<Committed<()>, Refusal> {
        check_id(&args.id)?;
        let of = |refusal: Refusal| refusal.of(&args.id);
        self.check_enter(collection, &args.id, rights).map_err(of)?;
        self.check_remembered(collection, &args.id).map_err(of)?;
        let mut changes = Vec::new();
        for change in inspect::saved(&args.bytes).map_err(|error| of(error.into()))? {
            changes.push(new_change(change).map_err(of)?);
        }
        let collection = self.name(collection);
        let mut commit = self.begin(now);
        let id = DocumentId::new(args.id.as_str());
        let target = Target { collection: &collection, scope: None, id: &id, rights };
        self.append_changes(target, changes, NewRow::Merged, &mut commit).map_err(of)?;
        Ok(self.end(&collection, commit, ()))
    }

    /// Makes a document a tombstone, by a change that the server makes. `actor` must be new.
    pub fn delete_document(
        &mut self,
        collection: &str,
        rights: Rights<'_>,
        id: &str,
        actor: [u8; 16],
        now: i64,
    ) -> Result<Committed<()>, Refusal> {
        let of = |refusal: Refusal| refusal.of(id);
        self.check_enter(collection, id, rights).map_err(of)?;
        let collection = self.name(collection);
        let name = DocumentId::new(id);
        let mut commit = self.begin(now);
        let (known, document) =
            self.collections.get(&collection).and_then(|known| Some((known, known.documents.get(&name)?))).ok_or_else(
                || {
                    Refusal::new(RefusalCode::UnknownDocument, format!("there is no document {id:?} in {collection:?}"))
                        .of(id)
                },
            )?;
        if !document.deleted {
            let merged = merge::load(known, document)?;
            let change =
                inspect::guarded("edit", || tombstone(merged, actor)).map_err(|error| of(error.into()))?.map_err(of)?;
            let new = vec![new_change(change).map_err(of)?];
            let target = Target { collection: &collection, scope: None, id: &name, rights };
            self.append_changes(target, new, NewRow::Merged, &mut commit).map_err(of)?;
        }
        Ok(self.end(&collection, commit, ()))
    }

    /// Refuses a caller that may not enter the scope of a document. A document that the log does not have has none.
    fn check_enter(&self, collection: &str, id: &str, rights: Rights<'_>) -> Result<(), Refusal> {
        let existing = self.collections.get(collection).and_then(|known| known.documents.get(&DocumentId::new(id)));
        rights.check_enter(collection, home(existing, None), id)
    }

    /// Whole documents last changed at or after `checkpoint` (in microseconds), oldest first. `limit` counts the
    /// documents after the checkpoint's own microsecond. A page never ends within a microsecond. If there is more, the
    /// next page begins after the last microsecond of this one. So each page gets further than the one before, even if
    /// the documents are large.
    pub fn pull_changes(&self, collection: &str, checkpoint: f64, limit: Option<f64>) -> DocumentPage {
        let limit = rows(limit, DOCUMENT_PAGE, DOCUMENT_PAGE_MAX);
        let mut page = DocumentPage { documents: Vec::new(), checkpoint, has_more: false };
        let Some(collection) = self.collections.get(collection) else {
            return page;
        };
        // A float to integer cast saturates, and turns NaN into 0.
        let from = (checkpoint.ceil() as i64).saturating_mul(1_000);
        let first = DocumentId::new("");
        let (mut counted, mut bytes) = (0, 0);
        // The number of documents before those of the present microsecond. A page has all or none of the documents of a
        // microsecond.
        let mut before = 0;
        for (ts, id) in collection.modified.range((from, first)..) {
            if *ts > self.published {
                break;
            }
            let Some(document) = collection.documents.get(id) else {
                continue;
            };
            let timestamp = micros(*ts);
            let begins = page.documents.last().is_none_or(|last| last.timestamp != timestamp);
            if begins {
                before = page.documents.len();
            }
            let full = bytes + document.bytes > DOCUMENT_PAGE_BYTES;
            if before > 0 && (full || (begins && counted >= limit)) {
                page.has_more = true;
                page.documents.truncate(before);
                break;
            }
            let whole = WholeDocument {
                id: id.clone(),
                bytes: merge::bytes(collection, document),
                version: document.history.len(),
                timestamp,
            };
            counted += usize::from(timestamp > checkpoint);
            bytes += document.bytes;
            page.documents.push(whole);
        }
        if let Some(last) = page.documents.last() {
            page.checkpoint = last.timestamp + if page.has_more { 1.0 } else { 0.0 };
        }
        page
    }

    /// The newest change and the number of documents, as of the newest published commit.
    pub fn change_stream(&self, collection: &str) -> StreamState {
        self.collections.get(collection).map(|collection| collection.stream).unwrap_or_default()
    }
}

/// Makes the change that deletes a document.
fn tombstone(mut document: Automerge, actor: [u8; 16]) -> Result<Change, Refusal> {
    let before: Vec<ChangeHash> = document.get_heads();
    document.set_actor(ActorId::from(actor));
    document
        .transact::<_, _, automerge::AutomergeError>(|transaction| transaction.put(ROOT, "deleted", true))
        .map_err(|failed| Refusal::invalid_change(format!("the document cannot be deleted: {}", failed.error)))?;
    document
        .get_changes(&before)
        .pop()
        .ok_or_else(|| Refusal::invalid_change("the document cannot be deleted: nothing changed"))
}

fn new_change(change: Change) -> Result<NewChange, Refusal> {
    let length = change.raw_bytes().len();
    if length > CHANGE_BYTES {
        return Err(Refusal::too_large(format!("a change of {length} bytes"), CHANGE_BYTES));
    }
    let bytes = cut(change.raw_bytes());
    let hash = bytes.first().and_then(|(_, part)| part.as_ref()).map(|part| part.hash);
    Ok(NewChange { change, bytes, hash })
}
