//! The functions of the original API, which transfer whole documents.

use automerge::{ActorId, Automerge, Change, ChangeHash, ROOT, transaction::Transactable};

use super::{
    append::{NewChange, NewRow, Target},
    merge,
    pieces::cut,
    push::check_id,
    record::Committed,
    state::Log,
};
use crate::{
    DocumentId,
    backend::access::Rights,
    chunk::inspect,
    limits::CHANGE_BYTES,
    record::{Refusal, RefusalCode},
    wire::PutDocument,
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
        let of = |refusal: Refusal| refusal.of(&args.id);
        let id = DocumentId::new(args.id.as_str());
        self.check_enter(collection, &id, None, rights).map_err(of)?;
        check_id(&args.id).map_err(of)?;
        self.check_remembered(collection, &args.id).map_err(of)?;
        let mut changes = Vec::new();
        for change in inspect::saved(&args.bytes).map_err(|error| of(error.into()))? {
            changes.push(new_change(change).map_err(of)?);
        }
        let collection = self.name(collection);
        let mut commit = self.begin(now);
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
        let name = DocumentId::new(id);
        self.check_enter(collection, &name, None, rights).map_err(of)?;
        let collection = self.name(collection);
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
