//! Operations on whole documents: ensure, delete, restore, show, update.

use std::{any::TypeId, collections::BTreeMap};

use bevy::{ecs::world::DeferredWorld, prelude::*};

use super::{
    association::take_away,
    claims::Claims,
    coding::Replicated,
    collections::Collections,
    edit::{capture_now, edit},
    entry::{Presence, Slot},
    failures::Failures,
    form::Change,
    identity,
    index::DocumentIndex,
    outbox::Outbox,
    version,
};
use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    failure::FailureKind,
    format::{FormatError, Value},
    message::ChangeKind,
    record::{EditKind, Origin},
    worker::{Command, Encode},
};

/// The collection of `T`; `None`, which is reported, if `T` is in none or in several.
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
            "{name} is in several collections ({}), so it is not clear which one is meant; use the Collection of a component that is in one of them alone",
            collections.names(&found)
        )
    };
    world.get_resource_mut::<Failures>()?.add(FailureKind::Registration, None, None, message);
    None
}

/// Spawns an entity for a document, unless this world knows a document of that name. The worker decides if the world
/// does not know one yet.
pub(crate) fn ensure(world: &mut World, collection: CollectionIndex, id: DocumentId, bundle: impl Bundle) {
    let index = world.resource::<DocumentIndex>();
    if index.find(collection, &id).is_some_and(|slot| index.entry(slot).is_known()) {
        return;
    }
    let entity = world.spawn_empty().id();
    world.resource_mut::<Claims>().ensured.insert(entity);
    world.entity_mut(entity).insert((id, bundle));
}

/// Deletes a document, for everyone. If an entity shows it, the entity is despawned, and its last edits are kept in the
/// document's history.
pub(crate) fn delete(world: &mut World, collection: CollectionIndex, id: &DocumentId) {
    let index = world.resource::<DocumentIndex>();
    let Some(slot) = index.find(collection, id) else {
        return fail(
            world,
            collection,
            id,
            "this world knows no such document, so it cannot be deleted; check whether its collection has arrived",
        );
    };
    match index.entry(slot).presence {
        // Nothing is left to delete.
        Presence::Deleted => {}
        Presence::Absent | Presence::Hidden | Presence::Restoring => {
            edit(&mut world.into(), slot, EditKind::Delete);
            world.resource_mut::<DocumentIndex>().entry_mut(slot).presence = Presence::Deleted;
        }
        Presence::Shown(shown) => {
            capture_now(&mut world.into(), shown.entity);
            edit(&mut world.into(), slot, EditKind::Delete);
            let Some(registered) = world.resource::<Collections>().get(collection) else { return };
            let form = registered.form.clone();
            let change = Change {
                collection,
                id: id.clone(),
                entity: Some(shown.entity),
                kind: ChangeKind::Removed,
                origin: Origin::Local,
                is_deletion: true,
            };
            version::despawn(world, &*form, shown.entity, change);
        }
    }
}

/// Deletes the document that `entity` shows.
pub(crate) fn delete_entity(world: &mut World, entity: Entity) {
    let Some(index) = world.get_resource::<DocumentIndex>() else { return };
    if world.resource::<Claims>().leaving.contains(&entity) {
        // An observer deletes a document because it was deleted.
        return;
    }
    if index.slot_of(entity).is_none() && world.get::<DocumentId>(entity).is_some() {
        // Its component may have been inserted after its identity, in this frame.
        identity::associate(&mut DeferredWorld::from(&mut *world), entity);
    }
    match world.resource::<DocumentIndex>().document(entity).cloned() {
        Some(DocumentKey { collection, id }) => delete(world, collection, &id),
        None => {
            let message =
                format!("entity {entity} shows no document, so nothing was deleted; to remove the entity, despawn it");
            world.resource_mut::<Failures>().add(FailureKind::Identity, None, None, message);
        }
    }
}

/// Takes back a deletion, also one made elsewhere or in an earlier run. The document gets an entity when the worker
/// reports it.
pub(crate) fn restore(world: &mut World, collection: CollectionIndex, id: &DocumentId) {
    let slot = world.resource_mut::<DocumentIndex>().slot(&DocumentKey { collection, id: id.clone() });
    let mut index = world.resource_mut::<DocumentIndex>();
    let presence = &mut index.entry_mut(slot).presence;
    *presence = match *presence {
        Presence::Shown(_) => return,
        Presence::Absent | Presence::Hidden => Presence::Absent,
        Presence::Deleted | Presence::Restoring => Presence::Restoring,
    };
    edit(&mut world.into(), slot, EditKind::Restore);
}

/// Shows a hidden document again, and components of it that the app removed.
pub(crate) fn show(world: &mut World, collection: CollectionIndex, id: &DocumentId) {
    match world.resource::<DocumentIndex>().find(collection, id) {
        Some(slot) => show_slot(world, slot),
        None => fail(
            world,
            collection,
            id,
            "this world knows no such document, so it cannot be shown; check whether its collection has arrived",
        ),
    }
}

/// Shows everything in a collection again.
pub(crate) fn show_all(world: &mut World, collection: CollectionIndex) {
    let slots: Vec<Slot> = world.resource::<DocumentIndex>().of_collection(collection).collect();
    for slot in slots {
        show_slot(world, slot);
    }
}

fn show_slot(world: &mut World, slot: Slot) {
    let mut index = world.resource_mut::<DocumentIndex>();
    let entry = index.entry_mut(slot);
    match &mut entry.presence {
        presence @ Presence::Hidden => *presence = Presence::Absent,
        Presence::Shown(shown) if shown.withheld != 0 => shown.withheld = 0,
        _ => return,
    }
    let key = entry.key.clone();
    world.resource_mut::<Outbox>().push(Command::Show(key));
}

/// Drops this user's edits of a document that the deployment refuses. Edits that were not captured yet go with them.
pub(crate) fn discard(world: &mut World, collection: CollectionIndex, id: &DocumentId) {
    if let Some(entity) = world.resource::<DocumentIndex>().entity(collection, id) {
        capture_now(&mut world.into(), entity);
    }
    let document = DocumentKey { collection, id: id.clone() };
    world.resource_mut::<Outbox>().push(Command::Discard(document));
}

/// Offers a document again that the deployment refuses.
pub(crate) fn retry(world: &mut World, collection: CollectionIndex, id: &DocumentId) {
    let document = DocumentKey { collection, id: id.clone() };
    world.resource_mut::<Outbox>().push(Command::RetryOne(document));
}

/// Changes a document's component, as a system would.
pub(crate) fn update<T: Replicated>(
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
            "no entity of this world shows it with that component, so it cannot be updated; show it first, or insert the component",
        ),
    }
}

/// Removes a component from a document, for everyone, and from the entity that shows it.
pub(crate) fn remove_component<T: 'static>(world: &mut World, entity: Entity) {
    let Some(index) = world.get_resource::<DocumentIndex>() else { return };
    let name = std::any::type_name::<T>();
    let Some(slot) = index.slot_of(entity) else {
        let message = format!("entity {entity} shows no document, so {name} was not removed from one");
        return world.resource_mut::<Failures>().add(FailureKind::Identity, None, None, message);
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
        let message = format!(
            "{name} is the only component of its collection, so it was not removed; to delete the document, use delete_document"
        );
        return fail(world, collection, &id, &message);
    }
    // The document's history keeps the edits from before the removal.
    capture_now(&mut world.into(), entity);
    let bit = membership.bit;
    let is_there = world.get_entity(entity).is_ok_and(|shown| form.present(shown) & bit != 0);
    if world.resource::<DocumentIndex>().slot_of(entity) != Some(slot) {
        return;
    }
    edit(&mut world.into(), slot, EditKind::put(Box::new(Without(bit))));
    world.resource_mut::<DocumentIndex>().entry_mut(slot).has &= !bit;
    take_away(world, &*form, slot, entity, bit);
    if is_there {
        let change = Change {
            collection,
            id,
            entity: Some(entity),
            kind: ChangeKind::Removed,
            origin: Origin::Local,
            is_deletion: false,
        };
        form.announce(&mut DeferredWorld::from(&mut *world), bit, &change);
    }
}

/// An edit after which these components have no fields in the document.
struct Without(u32);

impl Encode for Without {
    fn encode(&self) -> Result<(Value, u32), FormatError> {
        Ok((Value::Map(BTreeMap::new()), self.0))
    }
}

fn fail(world: &mut World, collection: CollectionIndex, id: &DocumentId, message: &str) {
    let name = world.resource::<Collections>().get(collection).map(|registered| registered.name.clone());
    world.resource_mut::<Failures>().add(FailureKind::Identity, name.as_deref(), Some(id), message);
}
