//! [`DocumentId`] as a component: its hooks make an entity a document, and end that.

use bevy::{
    ecs::{
        component::{Immutable, StorageType},
        lifecycle::{ComponentHook, HookContext},
        world::DeferredWorld,
    },
    prelude::*,
};

use super::{
    association,
    claims::{Claims, Refusal},
    collections::{Belongs, Collections},
    edit::capture_now,
    entry::{Presence, Slot, State},
    failures::Failures,
    index::DocumentIndex,
    outbox::Outbox,
    ticks::{Ticks, advance},
};
use crate::{DocumentId, DocumentKey, failure::FailureKind, worker::Command};

/// An entity may get its name in one frame and its component in a later one: the next, or the one after that if
/// commands of commands insert it.
const FRAMES_WITHOUT_COMPONENT: u8 = 2;

impl Component for DocumentId {
    const STORAGE_TYPE: StorageType = StorageType::Table;
    type Mutability = Immutable;

    fn on_add() -> Option<ComponentHook> {
        Some(on_add)
    }

    fn on_insert() -> Option<ComponentHook> {
        Some(on_insert)
    }

    fn on_discard() -> Option<ComponentHook> {
        Some(on_discard)
    }

    fn on_remove() -> Option<ComponentHook> {
        Some(on_remove)
    }

    /// A clone of an entity is no document.
    fn clone_behavior() -> bevy::ecs::component::ComponentCloneBehavior {
        bevy::ecs::component::ComponentCloneBehavior::Ignore
    }
}

/// An entity has an identity now. When apply spawns an entity, this is the first hook to run, and it separates apply's
/// own write from the writes of later hooks and observers.
fn on_add(mut world: DeferredWorld, context: HookContext) {
    let Some(mut claims) = world.get_resource_mut::<Claims>() else { return };
    if let Some(spawning) = claims.spawning.take() {
        association::associate(&mut world, spawning.slot, context.entity, State::Current);
        world.resource_mut::<Ticks>().settle(context.entity, spawning.tick);
        advance(&world);
    } else {
        associate(&mut world, context.entity);
    }
}

/// An identity was inserted. If it replaced another one, the entity leaves its former document.
fn on_insert(mut world: DeferredWorld, context: HookContext) {
    let entity = context.entity;
    let Some(mut claims) = world.get_resource_mut::<Claims>() else { return };
    if claims.discarded.take() != Some(entity) {
        return;
    }
    claims.refused.remove(&entity);
    let left = association::hide(&mut world, entity);
    associate(&mut world, entity);
    hand_over(&mut world, left);
}

/// An identity is about to be replaced or removed.
fn on_discard(mut world: DeferredWorld, context: HookContext) {
    if !world.contains_resource::<Claims>() {
        return;
    }
    capture_now(&mut world, context.entity);
    world.resource_mut::<Claims>().discarded = Some(context.entity);
}

/// An identity was removed, or its entity is about to be despawned: the document is hidden, not deleted. Edits that
/// observers made after `on_discard` are captured too.
fn on_remove(mut world: DeferredWorld, context: HookContext) {
    let entity = context.entity;
    if !world.contains_resource::<Claims>() {
        return;
    }
    capture_now(&mut world, entity);
    let mut claims = world.resource_mut::<Claims>();
    claims.discarded = None;
    claims.refused.remove(&entity);
    let left = association::hide(&mut world, entity);
    hand_over(&mut world, left);
}

/// The entity that showed this document is gone: an entity that waits for the document takes over.
fn hand_over(world: &mut DeferredWorld, left: Option<Slot>) {
    let Some(slot) = left else { return };
    // The entity may have been given the name that it had.
    if world.resource::<DocumentIndex>().entry(slot).entity().is_some() {
        return;
    }
    let Some(next) = world.resource::<Claims>().waiting_for(slot) else { return };
    take_over(world, slot, next, State::Current);
}

/// Makes `entity` show the document it names, if it can. An entity without a component of a collection is looked at
/// again when it gets one.
pub(super) fn associate(world: &mut DeferredWorld, entity: Entity) {
    associate_by(world, entity, false);
}

/// The same at the end of a frame, when the entity has all components that the frame gives it: an entity that could
/// belong to several collections is refused now.
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
            let mut claims = world.resource_mut::<Claims>();
            if claims.unclaimed.iter().all(|(known, _)| *known != entity) {
                claims.unclaimed.push((entity, 0));
            }
            return;
        }
        Belongs::Unclear(_) if !is_complete => return,
        Belongs::Unclear(found) => {
            let message = format!(
                "entity {entity} has only components that are in several collections ({}), so its collection is unclear; \
                 insert a component that is in one of them alone. The entity is not replicated",
                collections.names(&found)
            );
            return refuse(world, entity, Refusal::Unfit, None, Some(&id), message);
        }
        Belongs::ToSeveral(found) => {
            let message = format!(
                "entity {entity} has components of several collections ({}), and a document is in one; \
                 register them together with replicate_components, or use an entity for each. The entity is not replicated",
                collections.names(&found)
            );
            return refuse(world, entity, Refusal::Unfit, None, Some(&id), message);
        }
    };
    let name = collections.get(collection).map(|registered| registered.name.clone());
    let name = name.as_deref();
    if let Some(fault) = id.fault() {
        let message = format!("{fault}; entity {entity} is not replicated");
        return refuse(world, entity, Refusal::Unfit, name, None, message);
    }
    let mut index = world.resource_mut::<DocumentIndex>();
    let slot = index.slot(&DocumentKey { collection, id: id.clone() });
    let entry = index.entry(slot);
    if let Some(other) = entry.entity() {
        let message = format!(
            "entity {other} shows this document already, so entity {entity} is not replicated; \
             despawn one of them, or give this one DocumentId::random(). If {other} is despawned, this entity \
             shows the document from then on"
        );
        return refuse(world, entity, Refusal::Taken(slot), name, Some(&id), message);
    }
    if entry.presence == Presence::Hidden && entry.former != Some(entity) {
        // The app spawns a hidden document with defaults. Defaults are no edit, so the stored document wins.
        return take_over(world, slot, entity, State::Default);
    }
    let was_deleted = entry.is_deleted();
    association::associate(world, slot, entity, State::New { was_deleted });
    let mut claims = world.resource_mut::<Claims>();
    claims.refused.remove(&entity);
    claims.fresh.push(entity);
}

/// Makes `entity` show a document that exists already. The entity's value was never part of the document, and as an
/// edit it would revert later changes, so the stored version replaces it.
fn take_over(world: &mut DeferredWorld, slot: Slot, entity: Entity, state: State) {
    let now = advance(world);
    world.resource_mut::<Claims>().refused.remove(&entity);
    association::associate(world, slot, entity, state);
    world.resource_mut::<Ticks>().settle(entity, now);
    let key = world.resource::<DocumentIndex>().entry(slot).key.clone();
    world.resource_mut::<Outbox>().push(Command::Show(key));
}

/// Reports entities that have a name and, some frames later, still no component of a collection. They become documents
/// when they get one.
pub(super) fn report_unclaimed(world: &mut World) {
    let unclaimed = std::mem::take(&mut world.resource_mut::<Claims>().unclaimed);
    for (entity, frames) in unclaimed {
        let Some(id) = world.get::<DocumentId>(entity).cloned() else { continue };
        if world.resource::<DocumentIndex>().slot_of(entity).is_some() {
            continue;
        }
        let mut claims = world.resource_mut::<Claims>();
        if claims.refused.contains_key(&entity) {
            continue;
        }
        if frames < FRAMES_WITHOUT_COMPONENT {
            claims.unclaimed.push((entity, frames + 1));
            continue;
        }
        let message = format!(
            "entity {entity} has a DocumentId and no component of a collection, so it is no document and none of its components is saved; \
             register its component with app.replicate, or insert a registered one"
        );
        world.resource_mut::<Failures>().add(FailureKind::Identity, None, Some(&id), message);
    }
}

/// Remembers why `entity` is no document, and reports it the first time.
fn refuse(
    world: &mut DeferredWorld,
    entity: Entity,
    refusal: Refusal,
    collection: Option<&str>,
    id: Option<&DocumentId>,
    message: String,
) {
    if world.resource_mut::<Claims>().refused.insert(entity, refusal).is_none() {
        world.resource_mut::<Failures>().add(FailureKind::Identity, collection, id, message);
    }
}
