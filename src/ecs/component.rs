//! One component type of a collection, in the world. [`tuple`](super::tuple) combines the types of a collection.

use std::any::TypeId;

use bevy::{
    ecs::{
        change_detection::Tick,
        lifecycle::{HookContext, Remove},
        world::DeferredWorld,
    },
    prelude::*,
};

use super::{
    coding::Replicated, collections::Collections, edit::capture_now, form::Change, index::DocumentIndex, ticks::advance,
};
use crate::message::{CollectionReady, DeploymentRead, DocumentChanged, DocumentEvent};

/// Prepares an app for documents with a `T`.
pub(super) fn prepare<T: Replicated>(app: &mut App) {
    app.add_message::<DocumentChanged<T>>()
        .add_message::<CollectionReady<T>>()
        .add_message::<DeploymentRead<T>>()
        .add_observer(removed::<T>);
}

/// A `T` is about to leave an entity: its changes are captured while it is still there, and the document keeps its
/// fields.
fn removed<T: Replicated>(remove: On<Remove, T>, mut world: DeferredWorld) {
    let entity = remove.entity;
    let index = world.resource::<DocumentIndex>();
    let Some(slot) = index.slot_of(entity) else { return };
    let collection = index.entry(slot).key.collection;
    let Some(membership) = world.resource::<Collections>().membership(TypeId::of::<T>(), collection) else { return };
    capture_now(&mut world, entity);
    if let Some(shown) = world.resource_mut::<DocumentIndex>().entry_mut(slot).shown_mut() {
        shown.withheld |= membership.bit;
    }
}

/// A clone of `entity`'s `T` if it changed after `since` (or in any case), and whether it was not there before.
pub(super) fn changed<T: Replicated>(entity: EntityRef, since: Tick, now: Tick, any: bool) -> Option<(T, bool)> {
    let ticks = entity.get_change_ticks::<T>()?;
    if !any && !ticks.is_changed(since, now) {
        return None;
    }
    Some((entity.get::<T>()?.clone(), any || ticks.is_added(since, now)))
}

/// Whether `entity`'s `T` changed after `since`.
pub(super) fn is_changed<T: Replicated>(entity: EntityRef, since: Tick, now: Tick) -> bool {
    entity.get_change_ticks::<T>().is_some_and(|ticks| ticks.is_changed(since, now))
}

/// How the local parts of a `T` (`#[serde(skip)]`) survive when a version of the document replaces it.
#[derive(Resource)]
pub(crate) struct LocalParts<T: Replicated> {
    /// Moves the local parts from the shown value to the arriving one.
    pub(crate) keep: fn(&T, &mut T),
}

/// Replaces `entity`'s `T` in place, if it has one. No hook or observer runs, and systems see a change.
pub(super) fn replace<T: Replicated>(entity: &mut EntityWorldMut, value: T) -> Result<(), T> {
    let keep = entity.world().get_resource::<LocalParts<T>>().map(|parts| parts.keep);
    match entity.get_mut::<T>() {
        Some(mut shown) => {
            let mut value = value;
            if let Some(keep) = keep {
                keep(&shown, &mut value);
            }
            *shown.bypass_change_detection() = value;
            shown.set_changed();
            Ok(())
        }
        None => Err(value),
    }
}

/// Is on an entity while apply inserts components. Its hook is the first to run, and it advances the world's tick, so
/// that hooks and observers of the components write with a newer tick than apply.
#[derive(Component)]
#[component(storage = "SparseSet", on_add = inserting)]
struct Inserting;

fn inserting(world: DeferredWorld, _: HookContext) {
    advance(&world);
}

/// Adds a `T` to `entity`, if the entity exists. Returns the tick at which the `T` was written.
pub(super) fn insert<T: Replicated>(world: &mut World, entity: Entity, value: T) -> Option<Tick> {
    let tick = world.change_tick();
    world.get_entity_mut(entity).ok()?.insert((Inserting, value));
    if let Ok(mut entity) = world.get_entity_mut(entity) {
        entity.remove::<Inserting>();
    }
    Some(tick)
}

/// Announces a change to readers of `T`'s messages and to observers of the entity.
pub(super) fn announce<T: Replicated>(world: &mut DeferredWorld, change: Change) {
    let Change { collection, id, entity, kind, origin, is_deletion } = change;
    let told = entity.filter(|_| !is_deletion);
    let message = DocumentChanged::<T>::new(collection, id, told, kind, origin);
    if let Some(entity) = entity {
        world.trigger(DocumentEvent::new(entity, message.clone()));
    }
    world.write_message(message);
}

/// Announces that everything stored of the collection is in the world.
pub(super) fn ready<T: Replicated>(world: &mut DeferredWorld) {
    world.write_message(CollectionReady::<T>::new());
}

/// Announces that everything the deployment had of the collection is in the world.
pub(super) fn deployment_read<T: Replicated>(world: &mut DeferredWorld) {
    world.write_message(DeploymentRead::<T>::new());
}
