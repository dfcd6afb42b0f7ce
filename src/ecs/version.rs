//! Applies one version of a document to the world.

use std::{any::Any, time::SystemTime};

use bevy::prelude::*;

use super::{
    association,
    budget::ApplyBudget,
    claims::{Claims, Spawning},
    collections::Collections,
    edit::{capture_now, is_dirty},
    entry::{Presence, Slot, State},
    family,
    form::{self, Change, Form},
    index::DocumentIndex,
    outbox::Outbox,
    pending::Pending,
};
use crate::{
    message::{ChangeKind, Misfit},
    record::{Generation, Kept},
    worker::{self, Command},
};

/// The result of applying a version.
pub(super) enum Outcome {
    /// The version is applied, or it was not wanted.
    Done,
    /// The version waits for one that includes the newest edits.
    Waits,
}

/// Applies the version of a document that waits, if there is one.
pub(super) fn apply_one(world: &mut World, slot: Slot) -> Outcome {
    let Some(mut pending) = world.resource_mut::<DocumentIndex>().entry_mut(slot).pending.take() else {
        return Outcome::Done;
    };
    pending.queued = false;
    match capture_before(world, slot, pending) {
        Some(pending) => show(world, slot, pending),
        None => return Outcome::Waits,
    }
    // Commands of observers see the world with this version, and not in the middle of the next.
    world.flush();
    Outcome::Done
}

/// Captures the edits that the version would overwrite. Returns the version unless it has to wait for one that includes
/// those edits.
fn capture_before(world: &mut World, slot: Slot, mut pending: Pending) -> Option<Pending> {
    let Some(entity) = world.resource::<DocumentIndex>().entry(slot).entity() else { return Some(pending) };
    if is_dirty(world, slot, entity) {
        capture_now(&mut world.into(), entity);
    }
    let collection = world.resource::<DocumentIndex>().entry(slot).key.collection;
    let interval = world.resource::<Collections>().get(collection).map(|registered| registered.interval);
    let wait = world.resource::<ApplyBudget>().wait_for(interval.unwrap_or_default());
    let mut index = world.resource_mut::<DocumentIndex>();
    let entry = index.entry_mut(slot);
    if pending.seen < entry.compared.wanted(entry.captures) && pending.wait(wait) {
        entry.pending = Some(pending);
        return None;
    }
    Some(pending)
}

/// Makes the world show the version, if it is wanted.
fn show(world: &mut World, slot: Slot, mut pending: Pending) {
    let content = pending.take_content();
    let mut index = world.resource_mut::<DocumentIndex>();
    let entry = index.entry_mut(slot);
    let from = std::mem::replace(&mut entry.generation, pending.generation);
    let (key, had, is_latest) = (entry.key.clone(), entry.has, pending.seen >= entry.captures);
    let before = entry.presence;
    let is_wanted = match before {
        Presence::Hidden => false,
        // A version from before the app's own deletion or restoration.
        Presence::Deleted | Presence::Restoring => is_latest,
        Presence::Absent | Presence::Shown(_) => true,
    };
    world.resource_mut::<Outbox>().acknowledge(key.clone(), pending.generation);
    if !is_wanted {
        return;
    }
    let Some(registered) = world.resource::<Collections>().get(key.collection) else { return };
    let form = registered.form.clone();
    let change = Change {
        collection: key.collection,
        id: key.id.clone(),
        entity: None,
        kind: ChangeKind::Updated,
        origin: pending.origin,
        is_deletion: false,
    };
    let Some(content) = content else {
        return match before {
            Presence::Shown(shown) => despawn(world, &*form, shown.entity, change),
            _ => world.resource_mut::<DocumentIndex>().entry_mut(slot).presence = Presence::Deleted,
        };
    };
    let lacks = form.lacks(&*content);
    // A version from before an edit of this world says nothing of the components that the edit put there.
    let removed = if is_latest { had & lacks } else { 0 };
    let mut index = world.resource_mut::<DocumentIndex>();
    let entry = index.entry_mut(slot);
    entry.has = (had | !lacks) & !removed;
    let misfit = pending.misfit;
    let Presence::Shown(shown) = before else {
        // Stays absent if no component fits.
        entry.presence = Presence::Absent;
        return spawn(world, &*form, slot, content, misfit, change);
    };
    let entity = shown.entity;
    if let Some(shown) = entry.shown_mut() {
        shown.state = match shown.state {
            State::New { .. } => State::New { was_deleted: false },
            State::Default | State::Current => State::Current,
        };
    }
    let change = Change { entity: Some(entity), ..change };
    keep(world, &*form, entity, misfit.as_deref(), &change, pending.generation, from);
    let withheld = world.resource_mut::<DocumentIndex>().entry_mut(slot).shown_mut().map_or(0, |shown| shown.withheld);
    let (replaced, added) = form.update(world, entity, content, withheld);
    flag(world, entity, misfit);
    if shown.state == State::Default {
        // Components that the entity was spawned with and the document lacks are added to the document.
        form.touch(world, entity, lacks & !removed);
    }
    let removed = removed & world.get_entity(entity).map_or(0, |shown| form.present(shown));
    form::announce(&*form, &mut world.into(), replaced, added, change.clone());
    if removed != 0 {
        association::take_away(world, &*form, slot, entity, removed);
        form.announce(&mut world.into(), removed, &Change { kind: ChangeKind::Removed, ..change });
    }
}

/// Spawns an entity for a document, unless no component fits.
fn spawn(
    world: &mut World,
    form: &dyn Form,
    slot: Slot,
    content: Box<dyn Any + Send>,
    misfit: Option<Box<worker::MisfitParts>>,
    change: Change,
) {
    let tick = world.change_tick();
    world.resource_mut::<Claims>().spawning = Some(Spawning { slot, tick });
    let spawned = form.spawn(world, change.id.clone(), content);
    world.resource_mut::<Claims>().spawning = None;
    let Some((entity, added)) = spawned else { return };
    flag(world, entity, misfit);
    form::announce(form, &mut world.into(), 0, added, Change { entity: Some(entity), ..change });
}

/// Despawns the entity of a document that was deleted, here or elsewhere. Other documents' entities below it stay.
pub(super) fn despawn(world: &mut World, form: &dyn Form, entity: Entity, change: Change) {
    let present = world.get_entity(entity).map_or(0, |shown| form.present(shown));
    association::dissociate(&mut world.into(), entity, Presence::Deleted);
    // An observer may despawn the entity itself, so the entities below it are taken out before.
    family::release(world, entity);
    world.resource_mut::<Claims>().leaving.insert(entity);
    let change = Change { entity: Some(entity), kind: ChangeKind::Removed, is_deletion: true, ..change };
    form.announce(&mut world.into(), present, &change);
    // Observers still find the entity.
    world.flush();
    world.resource_mut::<Claims>().leaving.remove(&entity);
    let _ = world.try_despawn(entity);
}

/// Tells the worker which components of the entity stay as they are because the version does not fit them. The worker
/// needs this before any edit of the version.
fn keep(
    world: &mut World,
    form: &dyn Form,
    entity: Entity,
    misfit: Option<&worker::MisfitParts>,
    change: &Change,
    generation: Generation,
    from: Generation,
) {
    let present = world.get_entity(entity).map_or(0, |shown| form.present(shown));
    let components = misfit.map_or(0, |misfit| misfit.components) & present;
    if components != 0 {
        let document = crate::DocumentKey { collection: change.collection, id: change.id.clone() };
        let kept = Kept { document, generation, from, components };
        world.resource_mut::<Outbox>().push(Command::Kept(kept));
    }
}

/// Marks the entity with [`Misfit`] if the document does not fit its components, and otherwise removes the mark.
fn flag(world: &mut World, entity: Entity, misfit: Option<Box<worker::MisfitParts>>) {
    let Ok(mut entity) = world.get_entity_mut(entity) else { return };
    match (misfit, entity.get::<Misfit>()) {
        (None, None) => {}
        (None, Some(_)) => drop(entity.remove::<Misfit>()),
        (Some(misfit), shown) => {
            let since = shown.map_or_else(SystemTime::now, |shown| shown.since);
            entity.insert(Misfit::new(misfit.problems, since));
        }
    }
}
