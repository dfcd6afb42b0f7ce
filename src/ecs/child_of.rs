//! `ChildOf` and [`DocumentParent`](super::parent::DocumentParent), kept in step.
//!
//! The documents decide about parents and children; bevy's [`ChildOf`] shows it in the world. Observers write the app's
//! changes of `ChildOf` into the component at once, which makes them edits. [`settle`] brings the component's parent
//! into the world, after apply and around capture. A document's `ChildOf` follows from the shown documents alone, so
//! the order in which documents arrive does not matter.

use bevy::{ecs::world::DeferredWorld, prelude::*};

use super::{
    association::Moves,
    collections::Collections,
    failures::Failures,
    family::{Hierarchy, kind_of, named, was_followed},
    index::DocumentIndex,
};
use crate::failure::FailureKind;

/// The app made an entity a child of another one.
pub(super) fn attached(insert: On<Insert, ChildOf>, mut world: DeferredWorld) {
    follow(&mut world, insert.entity, true);
    look_at(&mut world, insert.entity);
}

/// Makes [`settle`] compare the `ChildOf` of a document's entity with the document, also if the document already names
/// that parent: it may be in a cycle.
fn look_at(world: &mut DeferredWorld, entity: Entity) {
    if !world.contains_resource::<Hierarchy>() {
        return;
    }
    if world.resource::<DocumentIndex>().slot_of(entity).is_some()
        && let Some(mut moves) = world.get_resource_mut::<Moves>()
    {
        moves.arrived.push(entity);
    }
}

/// Makes the document of `entity` name the entity's parent. `is_news`: the app has just set that parent.
fn follow(world: &mut DeferredWorld, entity: Entity, is_news: bool) {
    if !world.contains_resource::<Hierarchy>() {
        return;
    }
    let index = world.resource::<DocumentIndex>();
    let Some(slot) = index.slot_of(entity) else { return };
    if index.entry(slot).is_default() {
        // The stored document, which is on its way, names the parent.
        return;
    }
    let key = index.entry(slot).key.clone();
    let Some((kind, parents)) = kind_of(world, key.collection) else { return };
    let Some(target) = world.get::<ChildOf>(entity).map(ChildOf::parent) else { return };
    match world.resource::<DocumentIndex>().document(target).cloned() {
        Some(parent) if parent.collection == parents => (kind.write)(world, entity, Some(parent.id)),
        other => {
            if let Some(other) = other.filter(|_| is_news) {
                let collections = world.resource::<Collections>();
                let (name, wanted) = (collections.names(&[other.collection]), collections.names(&[parents]));
                let own = collections.names(&[key.collection]);
                let message = format!(
                    "its entity was made a child of a document of {name}, but its parents are documents of {wanted}; that parent is not replicated"
                );
                world.resource_mut::<Failures>().add(FailureKind::Identity, Some(&own), Some(&key.id), message);
            }
            // A parent that is no document is not replicated, but the entity has left the parent that its document
            // names.
            let named = named(world, entity, kind, parents);
            if was_followed(world, slot, named.as_ref()) {
                (kind.write)(world, entity, None);
            }
        }
    }
}

/// An entity is no child any more, or is about to be despawned.
pub(super) fn detached(remove: On<Remove, ChildOf>, mut world: DeferredWorld) {
    let entity = remove.entity;
    if !world.contains_resource::<Hierarchy>() || world.resource::<DocumentIndex>().slot_of(entity).is_none() {
        return;
    }
    // Despawning an entity does not change its document. Only afterwards it is clear which of the two happened.
    world.commands().queue(move |world: &mut World| {
        if world.get_entity(entity).is_ok_and(|shown| !shown.contains::<ChildOf>()) {
            leave(&mut DeferredWorld::from(&mut *world), entity);
            look_at(&mut world.into(), entity);
        }
    });
}

fn leave(world: &mut DeferredWorld, entity: Entity) {
    let index = world.resource::<DocumentIndex>();
    let Some(slot) = index.slot_of(entity) else { return };
    let collection = index.entry(slot).key.collection;
    let Some((kind, parents)) = kind_of(world, collection) else { return };
    let named = named(world, entity, kind, parents);
    if was_followed(world, slot, named.as_ref()) {
        (kind.write)(world, entity, None);
    }
}

/// A system: brings `ChildOf` into step with the documents.
pub(super) fn settle(world: &mut World) {
    let Some(mut moves) = world.get_resource_mut::<Moves>() else { return };
    // Most frames have no moves, and then nothing may be marked as changed.
    let Moves { arrived: mut changed, departed } = std::mem::take(moves.bypass_change_detection());
    // A document whose entity has `ChildOf` already names that parent from now on. So do the documents of its children.
    for &entity in &changed {
        let children: Vec<Entity> = world.get::<Children>(entity).into_iter().flatten().copied().collect();
        for child in children.into_iter().chain([entity]) {
            adopt(&mut DeferredWorld::from(&mut *world), child);
        }
    }
    let Some(hierarchy) = world.get_resource::<Hierarchy>() else { return };
    for changes in &hierarchy.changes {
        changes.gather(world, &mut changed);
    }
    // A document that is gone may have opened a cycle.
    let is_opened = departed && !hierarchy.cut.is_empty();
    if changed.is_empty() && !is_opened {
        return;
    }
    world.flush();
    let Some(mut hierarchy) = world.remove_resource::<Hierarchy>() else { return };
    hierarchy.settle(world, changed);
    world.insert_resource(hierarchy);
}

/// Makes a document name its entity's parent, unless it names one already.
fn adopt(world: &mut DeferredWorld, entity: Entity) {
    let Some(key) = world.resource::<DocumentIndex>().document(entity) else { return };
    let Some((kind, parents)) = kind_of(world, key.collection) else { return };
    if named(world, entity, kind, parents).is_none() {
        follow(world, entity, false);
    }
}
