//! Captures one entity: its changes since the last capture become an edit of its document.

use bevy::{
    ecs::{change_detection::Tick, world::DeferredWorld},
    prelude::*,
};

use super::{
    claims::Claims,
    collections::Collections,
    entry::{Slot, State},
    form::{self, Change, Clones},
    index::DocumentIndex,
    outbox::Outbox,
    ticks::{Ticks, advance},
};
use crate::{
    DocumentKey,
    message::ChangeKind,
    record::{Edit, EditKind, Origin, Put},
    worker::{Command, Encode},
};

/// Sends an edit of a document.
pub(super) fn edit(world: &mut DeferredWorld, slot: Slot, kind: EditKind<Box<dyn Encode>>) {
    let mut index = world.resource_mut::<DocumentIndex>();
    let entry = index.entry_mut(slot);
    entry.captures += 1;
    let (document, generation) = (entry.key.clone(), entry.generation);
    let edit = Command::Edit(Edit { document, generation, seq: entry.captures, kind });
    world.resource_mut::<Outbox>().push_edit(edit);
}

/// Captures `entity` early: before its value is lost or replaced.
pub(super) fn capture_now(world: &mut DeferredWorld, entity: Entity) {
    if world.resource::<DocumentIndex>().slot_of(entity).is_none() {
        return;
    }
    // Later changes have a newer tick, so the next capture finds them.
    let now = advance(world);
    capture_at(world, entity, now);
}

/// Sends the changes of `entity`'s document up to `now`, if there are any.
pub(super) fn capture_at(world: &mut DeferredWorld, entity: Entity, now: Tick) {
    let index = world.resource::<DocumentIndex>();
    let Some(slot) = index.slot_of(entity) else { return };
    let entry = index.entry(slot);
    if entry.is_default() && entry.generation > 0 {
        // The stored version is on its way, and the entity's value would overwrite it.
        return;
    }
    let DocumentKey { collection, id } = entry.key.clone();
    let (is_new, was_deleted) = (entry.is_new(), entry.is_deleted());
    // If the app gives the document back to the entity that showed it, the app has edited the document, not spawned it.
    let is_spawned = is_new && entry.former != Some(entity);
    let since = world.resource::<Ticks>().since(entity);
    let Some(registered) = world.resource::<Collections>().get(collection) else { return };
    let form = registered.form.clone();
    let Ok(shown) = world.get_entity(entity) else { return };
    let Some(Clones { encode, mask, added }) = form.take(shown, since, now, is_new) else { return };

    let is_ensured = world.resource_mut::<Claims>().ensured.remove(&entity);
    if was_deleted && !is_ensured {
        // The app made the deleted document anew.
        edit(world, slot, EditKind::Restore);
    }
    let put = match (is_spawned, is_ensured) {
        (false, _) => Put::Edited,
        (true, false) => Put::Spawned,
        (true, true) => Put::Ensured,
    };
    edit(world, slot, EditKind::Put { value: encode, put });
    let mut index = world.resource_mut::<DocumentIndex>();
    let entry = index.entry_mut(slot);
    if let Some(shown) = entry.shown_mut() {
        if is_new {
            shown.state = State::Current;
        }
        shown.withheld &= !mask;
    }
    entry.has |= mask;
    // A component that was added is a change. The worker finds whether the others were changed or only touched.
    entry.compared.sent(entry.captures, mask & !added);
    world.resource_mut::<Ticks>().settle(entity, now);
    let change = Change {
        collection,
        id,
        entity: Some(entity),
        kind: ChangeKind::Updated,
        origin: Origin::Local,
        is_deletion: false,
    };
    form::announce(&*form, world, 0, added, change);
}

/// Whether `entity` has changes of this document that were not captured.
pub(super) fn is_dirty(world: &World, slot: Slot, entity: Entity) -> bool {
    let entry = world.resource::<DocumentIndex>().entry(slot);
    if entry.is_new() {
        return true;
    }
    let since = world.resource::<Ticks>().since(entity);
    let Some(registered) = world.resource::<Collections>().get(entry.key.collection) else { return false };
    let now = world.read_change_tick();
    world.get_entity(entity).is_ok_and(|shown| registered.form.is_dirty(shown, since, now))
}
