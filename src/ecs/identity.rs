//! The hooks of [`DocumentId`]: an entity becomes a document, and stops being one.

use bevy::{
    ecs::{lifecycle::HookContext, world::DeferredWorld},
    prelude::*,
};

use super::{
    advance,
    capture::capture_now,
    collections::{Belongs, Collections},
    index::{DocumentIndex, Slot},
};
use crate::{DocumentId, DocumentKey, failure::FailureKind, worker::Command};

/// An entity may get its name in one frame and its component in the next, or in the one after that where commands of
/// commands make it.
const FRAMES_WITHOUT_COMPONENT: u8 = 2;

/// An entity has an identity now. Being the first hook to run when apply spawns an entity, it also separates apply's own write from
/// what hooks and observers do afterwards.
pub(crate) fn on_add(mut world: DeferredWorld, context: HookContext) {
    let Some(mut index) = world.get_resource_mut::<DocumentIndex>() else { return };
    if let Some(spawning) = index.spawning.take() {
        index.associate(spawning.slot, context.entity);
        index.settled.insert(context.entity, spawning.tick);
        advance(&world);
    } else {
        associate(&mut world, context.entity);
    }
}

/// Its identity was replaced.
pub(crate) fn on_insert(mut world: DeferredWorld, context: HookContext) {
    let entity = context.entity;
    let Some(mut index) = world.get_resource_mut::<DocumentIndex>() else { return };
    if index.discarded.take() != Some(entity) {
        return;
    }
    index.refused.remove(&entity);
    let left = index.hide(entity);
    associate(&mut world, entity);
    hand_over(&mut world, left);
}

/// Its identity is about to be replaced or removed.
pub(crate) fn on_discard(mut world: DeferredWorld, context: HookContext) {
    if !world.contains_resource::<DocumentIndex>() {
        return;
    }
    capture_now(&mut world, context.entity);
    world.resource_mut::<DocumentIndex>().discarded = Some(context.entity);
}

/// It has none any more, or is about to be despawned: the document is hidden, not deleted. What observers did in between is captured too.
pub(crate) fn on_remove(mut world: DeferredWorld, context: HookContext) {
    let entity = context.entity;
    if !world.contains_resource::<DocumentIndex>() {
        return;
    }
    capture_now(&mut world, entity);
    let mut index = world.resource_mut::<DocumentIndex>();
    index.discarded = None;
    index.refused.remove(&entity);
    let left = index.hide(entity);
    hand_over(&mut world, left);
}

/// The entity that showed this document goes: one that was refused because of it takes its place.
fn hand_over(world: &mut DeferredWorld, left: Option<Slot>) {
    let Some(slot) = left else { return };
    let index = world.resource::<DocumentIndex>();
    // An entity may be given the name that it had.
    if index.entry(slot).entity.is_some() {
        return;
    }
    let Some(next) = index.waits_for(slot) else { return };
    take_over(world, slot, next);
}

/// Makes `entity` show the document it names, if it can. An entity without a collection's component yet is looked at again when
/// it gets one.
pub(super) fn associate(world: &mut DeferredWorld, entity: Entity) {
    associate_by(world, entity, false);
}

/// The same at the end of a frame, when an entity has all components that it was to get: one that could be of several
/// collections is told of.
pub(super) fn associate_finally(world: &mut DeferredWorld, entity: Entity) {
    associate_by(world, entity, true);
}

fn associate_by(world: &mut DeferredWorld, entity: Entity, is_complete: bool) {
    let Ok(shown) = world.get_entity(entity) else { return };
    let Some(id) = shown.get::<DocumentId>().cloned() else { return };
    let Some(collections) = world.get_resource::<Collections>() else { return };
    let collection = match collections.of(shown.archetype()) {
        Belongs::To(collection) => collection,
        Belongs::Nowhere => {
            let mut index = world.resource_mut::<DocumentIndex>();
            if index.unclaimed.iter().all(|(known, _)| *known != entity) {
                index.unclaimed.push((entity, 0));
            }
            return;
        }
        Belongs::Unclear(_) if !is_complete => return,
        Belongs::Unclear(found) => {
            let message = format!(
                "entity {entity} has only components that are in several collections ({}), so nothing says to which it belongs; \
                 insert a component that is in one of them alone. It is not replicated",
                collections.names(&found)
            );
            return refuse(world, entity, None, Some(&id), message);
        }
        Belongs::ToSeveral(found) => {
            let message = format!(
                "entity {entity} has components of several collections ({}), and a document is in one; \
                 register them together with replicate_bundle, or use an entity for each. It is not replicated",
                collections.names(&found)
            );
            return refuse(world, entity, None, Some(&id), message);
        }
    };
    let name = collections.get(collection).map(|registered| registered.name.clone());
    let name = name.as_deref();
    if let Some(fault) = id.fault() {
        let message = format!("{fault}; entity {entity} is not replicated");
        return refuse(world, entity, name, None, message);
    }
    let mut index = world.resource_mut::<DocumentIndex>();
    let slot = index.slot(&DocumentKey { collection, id: id.clone() });
    if let Some(other) = index.entry(slot).entity {
        let message = format!(
            "entity {other} shows this document already, so entity {entity} is not replicated; \
             despawn one of them, or give this one DocumentId::random(). If {other} goes, this one takes its place, as the document is by then"
        );
        refuse(world, entity, name, Some(&id), message);
        world.resource_mut::<DocumentIndex>().refused.insert(entity, Some(slot));
        return;
    }
    index.refused.remove(&entity);
    let entry = index.entry(slot);
    if entry.hidden && !entry.is_deleted() && entry.former != Some(entity) {
        // The app spawns a hidden document with defaults, which are no edit: the stored document wins.
        take_over(world, slot, entity);
        world.resource_mut::<DocumentIndex>().entry_mut(slot).is_default = true;
        return;
    }
    index.associate(slot, entity);
    index.entry_mut(slot).fresh = true;
    index.fresh.push(entity);
}

/// Makes `entity` show a document that exists already. What the entity holds was never part of the document, and as an
/// edit it would undo what was done since: it is brought up to the document instead.
fn take_over(world: &mut DeferredWorld, slot: Slot, entity: Entity) {
    let now = advance(world);
    let mut index = world.resource_mut::<DocumentIndex>();
    index.refused.remove(&entity);
    index.associate(slot, entity);
    index.settled.insert(entity, now);
    let key = index.entry(slot).key.clone();
    index.send(Command::Show(key));
}

/// Tells of entities that have a name and, some frames later, still no component that could be a document. They become
/// documents when they get one.
pub(super) fn tell_unclaimed(world: &mut World) {
    let unclaimed = std::mem::take(&mut world.resource_mut::<DocumentIndex>().unclaimed);
    for (entity, frames) in unclaimed {
        let Some(id) = world.get::<DocumentId>(entity).cloned() else { continue };
        let mut index = world.resource_mut::<DocumentIndex>();
        if index.slot_of(entity).is_some() || index.refused.contains_key(&entity) {
            continue;
        }
        if frames < FRAMES_WITHOUT_COMPONENT {
            index.unclaimed.push((entity, frames + 1));
            continue;
        }
        let message = format!(
            "entity {entity} has a DocumentId and no component of a collection, so it is no document and nothing of it is kept; \
             register its component with app.replicate, or insert one that is"
        );
        index.fail(FailureKind::Identity, None, Some(&id), message);
    }
}

fn refuse(
    world: &mut DeferredWorld,
    entity: Entity,
    collection: Option<&str>,
    id: Option<&DocumentId>,
    message: String,
) {
    let mut index = world.resource_mut::<DocumentIndex>();
    if index.refused.insert(entity, None).is_none() {
        index.fail(FailureKind::Identity, collection, id, message);
    }
}
