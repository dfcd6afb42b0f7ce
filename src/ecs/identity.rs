//! The hooks of [`DocumentId`]: an entity becomes a document, and stops being one.

use bevy::{
    ecs::{lifecycle::HookContext, world::DeferredWorld},
    prelude::*,
};

use super::{
    advance,
    capture::capture_now,
    collections::Collections,
    index::{DocumentIndex, Slot},
};
use crate::{
    DocumentId, DocumentKey,
    limits::DOCUMENT_ID_BYTES,
    worker::{Command, FailureKind},
};

/// An entity may get its name in one frame and its component in the next, or in the one after that where commands of commands make it.
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
    // What it holds was never part of the document, and as an edit it would undo what was done since. It is brought up to the document instead.
    let now = advance(world);
    let mut index = world.resource_mut::<DocumentIndex>();
    index.refused.remove(&next);
    index.associate(slot, next);
    index.settled.insert(next, now);
    let key = index.entry(slot).key.clone();
    index.send(Command::Show(key));
}

/// Makes `entity` show the document it names, if it can. An entity without a collection's component yet is looked at again when
/// it gets one.
pub(super) fn associate(world: &mut DeferredWorld, entity: Entity) {
    let Ok(shown) = world.get_entity(entity) else { return };
    let Some(id) = shown.get::<DocumentId>().cloned() else { return };
    let Some(collections) = world.get_resource::<Collections>() else { return };
    let found = collections.of(shown.archetype());
    let names: Vec<String> =
        found.iter().filter_map(|collection| Some(collections.get(*collection)?.name.clone())).collect();
    let collection = match found[..] {
        [] => {
            let mut index = world.resource_mut::<DocumentIndex>();
            if index.unclaimed.iter().all(|(known, _)| *known != entity) {
                index.unclaimed.push((entity, 0));
            }
            return;
        }
        [collection] => collection,
        _ => {
            let message = format!(
                "entity {entity} has components of several collections ({}), and a document is in one; \
                 register them together with replicate_bundle, or use an entity for each. It is not replicated",
                names.join(", ")
            );
            return refuse(world, entity, None, Some(&id), message);
        }
    };
    let name = names.first().map(String::as_str);
    if id.as_str().is_empty() || id.as_str().len() > DOCUMENT_ID_BYTES {
        let message = format!(
            "a document's name has 1 to {DOCUMENT_ID_BYTES} bytes, this has {}; entity {entity} is not replicated",
            id.as_str().len()
        );
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
    index.associate(slot, entity);
    index.entry_mut(slot).fresh = true;
    index.fresh.push(entity);
}

/// Tells of entities that have a name and, some frames later, still no component that could be a document. They become documents when they get
/// one.
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
