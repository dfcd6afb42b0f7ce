//! The moments at which an entity begins or ceases to show a document.

use bevy::{ecs::world::DeferredWorld, prelude::*};

use super::{
    claims::Claims,
    entry::{Presence, Slot, State},
    form::Form,
    index::DocumentIndex,
    ticks::Ticks,
};

/// Entities that began or ceased to show a document since the hierarchy last looked. It is a resource of apps that
/// replicate one.
#[derive(Resource, Default)]
pub(super) struct Moves {
    /// Entities that began to show a document, or whose `ChildOf` the app changed.
    pub arrived: Vec<Entity>,
    /// Whether an entity ceased to show a document.
    pub departed: bool,
}

/// `entity` shows this document from now on.
pub(super) fn associate(world: &mut DeferredWorld, slot: Slot, entity: Entity, state: State) {
    world.resource_mut::<DocumentIndex>().associate(slot, entity, state);
    if let Some(mut moves) = world.get_resource_mut::<Moves>() {
        moves.arrived.push(entity);
    }
}

/// `entity` shows no document any more; its document is `left` now. Returns the document's place, if there was one.
pub(super) fn dissociate(world: &mut DeferredWorld, entity: Entity, left: Presence) -> Option<Slot> {
    world.resource_mut::<Ticks>().forget(entity);
    world.resource_mut::<Claims>().ensured.remove(&entity);
    let slot = world.resource_mut::<DocumentIndex>().dissociate(entity, left)?;
    if let Some(mut moves) = world.get_resource_mut::<Moves>() {
        moves.departed = true;
    }
    Some(slot)
}

/// The app took the document that `entity` showed out of this world. Returns the document's place, if there was one.
pub(super) fn hide(world: &mut DeferredWorld, entity: Entity) -> Option<Slot> {
    let slot = dissociate(world, entity, Presence::Hidden)?;
    world.resource_mut::<DocumentIndex>().entry_mut(slot).former = Some(entity);
    Some(slot)
}

/// Removes components from `entity` that another app removed from the document. They return when an app puts them into
/// the document again.
pub(super) fn take_away(world: &mut World, form: &dyn Form, slot: Slot, entity: Entity, mask: u32) {
    form.remove(world, entity, mask);
    // The observer of the removal takes it for the app's.
    if let Some(shown) = world.resource_mut::<DocumentIndex>().entry_mut(slot).shown_mut()
        && shown.entity == entity
    {
        shown.withheld &= !mask;
    }
}
