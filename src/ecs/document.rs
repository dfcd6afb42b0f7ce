//! What is done to a document as a whole: delete, restore, show.

use std::{any::TypeId, collections::BTreeMap};

use bevy::{ecs::world::DeferredWorld, prelude::*};

use super::{
    apply::take_away,
    capture::capture_now,
    collections::Collections,
    component::Change,
    index::{DocumentIndex, Life, Slot},
};
use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    failure::FailureKind,
    format::{FormatError, Value},
    message::ChangeKind,
    record::Origin,
    worker::{Captured, Command, Encode},
};

/// The collection of `T`; `None` (and a failure) if it is in none or in several.
pub(crate) fn collection_of<T: 'static>(world: &mut World) -> Option<CollectionIndex> {
    let collections = world.get_resource::<Collections>()?;
    let found = collections.memberships(TypeId::of::<T>());
    if let [membership] = found {
        return Some(membership.collection);
    }
    let name = std::any::type_name::<T>();
    let message = if found.is_empty() {
        format!("{name} belongs to no collection; register it with app.replicate::<..>(\"name\") when the app is built")
    } else {
        let found: Vec<_> = found.iter().map(|membership| membership.collection).collect();
        format!(
            "{name} is in several collections ({}), so it does not say which is meant; use the Collection of a component that is in one of them alone",
            collections.names(&found)
        )
    };
    world.get_resource_mut::<DocumentIndex>()?.fail(FailureKind::Registration, None, None, message);
    None
}

/// Spawns an entity for a document, if this world knows of none of that name. The worker decides about one that it does
/// not know of yet.
pub(crate) fn ensure(world: &mut World, collection: CollectionIndex, id: DocumentId, bundle: impl Bundle) {
    let index = world.resource::<DocumentIndex>();
    if index.find(collection, &id).is_some_and(|slot| index.entry(slot).is_known()) {
        return;
    }
    let entity = world.spawn_empty().id();
    world.resource_mut::<DocumentIndex>().ensured.insert(entity);
    world.entity_mut(entity).insert((id, bundle));
}

/// Deletes a document, for everyone. Its entity, if there is one, is despawned; what was edited in it before is not lost.
pub(crate) fn delete(world: &mut World, collection: CollectionIndex, id: &DocumentId) {
    let index = world.resource_mut::<DocumentIndex>();
    let slot = match index.find(collection, id) {
        Some(slot) if index.entry(slot).is_gone() => return,
        Some(slot) => slot,
        None => {
            return fail(
                world,
                collection,
                id,
                "there is no such document in this world, so it cannot be deleted; has its collection arrived?",
            );
        }
    };
    let entity = index.entry(slot).entity;
    if let Some(entity) = entity {
        capture_now(&mut world.into(), entity);
    }
    let mut index = world.resource_mut::<DocumentIndex>();
    index.edit(slot, Captured::Delete);
    let entry = index.entry_mut(slot);
    entry.life = Life::Deleted;
    entry.hidden = false;
    let Some(entity) = entity else { return };
    index.dissociate(entity);
    let Some(registered) = world.resource::<Collections>().get(collection) else { return };
    let form = registered.form.clone();
    let present = world.get_entity(entity).map_or(0, |shown| form.present(shown));
    let change = Change { collection, id: id.clone(), entity: None, kind: ChangeKind::Removed, origin: Origin::Local };
    form.announce(&mut DeferredWorld::from(&mut *world), present, &change);
    super::hierarchy::release(world, entity);
    world.despawn(entity);
}

/// Deletes the document that `entity` shows.
pub(crate) fn delete_entity(world: &mut World, entity: Entity) {
    let Some(index) = world.get_resource::<DocumentIndex>() else { return };
    if index.slot_of(entity).is_none() && world.get::<DocumentId>(entity).is_some() {
        // Its component may have come after its identity, in this frame.
        super::identity::associate(&mut DeferredWorld::from(&mut *world), entity);
    }
    let index = world.resource::<DocumentIndex>();
    match index.document(entity).cloned() {
        Some(DocumentKey { collection, id }) => delete(world, collection, &id),
        None => {
            let message =
                format!("entity {entity} shows no document, so nothing was deleted; despawn it if that is meant");
            world.resource_mut::<DocumentIndex>().fail(FailureKind::Identity, None, None, message);
        }
    }
}

/// Takes back a deletion, also one made elsewhere or in an earlier run. The document comes back into the world when the worker has it.
pub(crate) fn restore(world: &mut World, collection: CollectionIndex, id: &DocumentId) {
    let mut index = world.resource_mut::<DocumentIndex>();
    let slot = index.slot(&DocumentKey { collection, id: id.clone() });
    if index.entry(slot).entity.is_none() {
        index.edit(slot, Captured::Restore);
        let entry = index.entry_mut(slot);
        entry.hidden = false;
        if entry.life == Life::Deleted {
            entry.life = Life::Restoring;
        }
    }
}

/// Brings a hidden document back into the world, and components of it that were removed here.
pub(crate) fn show(world: &mut World, collection: CollectionIndex, id: &DocumentId) {
    match world.resource::<DocumentIndex>().find(collection, id) {
        Some(slot) => show_slot(world, slot),
        None => fail(
            world,
            collection,
            id,
            "there is no such document in this world, so it cannot be shown; has its collection arrived?",
        ),
    }
}

/// Brings everything in a collection back.
pub(crate) fn show_all(world: &mut World, collection: CollectionIndex) {
    let slots: Vec<Slot> = world.resource::<DocumentIndex>().of_collection(collection).collect();
    for slot in slots {
        show_slot(world, slot);
    }
}

fn show_slot(world: &mut World, slot: Slot) {
    let mut index = world.resource_mut::<DocumentIndex>();
    let entry = index.entry_mut(slot);
    if entry.hidden || entry.absent != 0 {
        entry.hidden = false;
        entry.absent = 0;
        let key = entry.key.clone();
        index.send(Command::Show(key));
    }
}

/// Changes a document's component, as a system would.
pub(crate) fn update<T: super::Replicated>(
    world: &mut World,
    collection: CollectionIndex,
    id: &DocumentId,
    change: impl FnOnce(&mut T),
) {
    let entity = world.resource::<DocumentIndex>().entity(collection, id);
    match entity.and_then(|entity| world.get_mut::<T>(entity)) {
        Some(mut value) => change(&mut value),
        None => fail(
            world,
            collection,
            id,
            "it is not shown in this world, or without that component, so it cannot be updated; show it first, or insert the component",
        ),
    }
}

/// Takes a component out of a document, for everyone, and from the entity that shows it.
pub(crate) fn remove_component<T: 'static>(world: &mut World, entity: Entity) {
    let Some(index) = world.get_resource::<DocumentIndex>() else { return };
    let name = std::any::type_name::<T>();
    let Some(slot) = index.slot_of(entity) else {
        let message = format!("entity {entity} shows no document, so {name} was not removed from one");
        return world.resource_mut::<DocumentIndex>().fail(FailureKind::Identity, None, None, message);
    };
    let DocumentKey { collection, id } = index.entry(slot).key.clone();
    let collections = world.resource::<Collections>();
    let membership = collections.membership(TypeId::of::<T>(), collection);
    let (Some(membership), Some(registered)) = (membership, collections.get(collection)) else {
        let message = format!("{name} is no component of its collection, so it was not removed from the document");
        return fail(world, collection, &id, &message);
    };
    let form = registered.form.clone();
    if form.count() == 1 {
        let message =
            format!("{name} is all there is of it, so it was not removed; delete the document if that is meant");
        return fail(world, collection, &id, &message);
    }
    // Edits from before the removal are in the history.
    capture_now(&mut world.into(), entity);
    let bit = membership.bit;
    let is_there = world.get_entity(entity).is_ok_and(|shown| form.present(shown) & bit != 0);
    let mut index = world.resource_mut::<DocumentIndex>();
    if index.slot_of(entity) != Some(slot) {
        return;
    }
    index.edit(slot, Captured::Put(Box::new(Without(bit))));
    index.entry_mut(slot).has &= !bit;
    take_away(world, &*form, slot, entity, bit);
    if is_there {
        let change = Change { collection, id, entity: Some(entity), kind: ChangeKind::Removed, origin: Origin::Local };
        form.announce(&mut DeferredWorld::from(&mut *world), bit, &change);
    }
}

/// An edit that speaks of these components, and has none of their fields.
struct Without(u32);

impl Encode for Without {
    fn encode(&self) -> Result<(Value, u32), FormatError> {
        Ok((Value::Map(BTreeMap::new()), self.0))
    }
}

fn fail(world: &mut World, collection: CollectionIndex, id: &DocumentId, message: &str) {
    let name = world.resource::<Collections>().get(collection).map(|registered| registered.name.clone());
    world.resource_mut::<DocumentIndex>().fail(FailureKind::Identity, name.as_deref(), Some(id), message);
}
