//! The worker's answers to edits: it has compared an edit, or could not write it.

use bevy::prelude::*;

use super::{collections::Collections, form::Change, index::DocumentIndex};
use crate::{
    DocumentKey,
    failure::{Failure, FailureKind},
    message::ChangeKind,
    record::{EditSeq, Origin},
};

/// The worker compared an edit with the value that the entity had shown. If the edit changed root fields, their
/// components are announced.
pub(super) fn compared(world: &mut World, document: &DocumentKey, capture: EditSeq, fields: &[String]) {
    let mut index = world.resource_mut::<DocumentIndex>();
    let Some(slot) = index.find(document.collection, &document.id) else { return };
    let entry = index.entry_mut(slot);
    let components = entry.compared.compared(capture, !fields.is_empty());
    // A deletion was announced when it was made, and nothing is announced after it.
    if components == 0 || entry.is_deleted() {
        return;
    }
    let entity = entry.entity();
    let Some(registered) = world.resource::<Collections>().get(document.collection) else { return };
    let form = registered.form.clone();
    let DocumentKey { collection, id } = document.clone();
    let change =
        Change { collection, id, entity, kind: ChangeKind::Updated, origin: Origin::Local, is_deletion: false };
    form.announce(&mut world.into(), form.owners(fields) & components, &change);
}

/// The worker refused an edit, so the document may lack what the edit would have added: its next version removes no
/// component from the entity.
pub(super) fn refused(world: &mut World, failure: &Failure) {
    if failure.kind != FailureKind::Unwritable {
        return;
    }
    let (Some(collection), Some(id)) = (&failure.collection, &failure.document) else { return };
    let Some(collection) = world.resource::<Collections>().index_of(collection) else { return };
    let mut index = world.resource_mut::<DocumentIndex>();
    if let Some(slot) = index.find(collection, id) {
        index.entry_mut(slot).has = 0;
    }
}
