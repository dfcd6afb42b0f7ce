//! World to edits.

use bevy::{
    ecs::{
        change_detection::{CheckChangeTicks, Tick},
        world::DeferredWorld,
    },
    prelude::*,
};

use super::{
    advance,
    collections::{Belongs, Collections},
    component::{Change, Scan},
    identity,
    index::{DocumentIndex, Life},
    link::Link,
    tuple,
};
use crate::{
    CollectionIndex, DocumentKey,
    failure::{Failure, FailureKind},
    message::{ChangeKind, SyncFailed, SyncStatus},
    record::Origin,
    worker::{Captured, Command},
};

/// What capture keeps from frame to frame.
#[derive(Default)]
pub(crate) struct Capturing {
    /// Per collection and component, how to find what changed.
    scanners: Vec<Vec<Box<dyn Scan>>>,
    dirty: Vec<Entity>,
}

/// Sends what changed in this frame to the worker.
pub(crate) fn capture(world: &mut World, mut capturing: Local<Capturing>) {
    let Capturing { scanners, dirty } = &mut *capturing;
    for at in scanners.len()..world.resource::<Collections>().len() {
        let collections = world.resource::<Collections>();
        let Some(form) = collections.get(CollectionIndex(at as u16)).map(|registered| registered.form.clone()) else {
            break;
        };
        scanners.push(form.scanners(world));
    }

    // Whatever is changed from here on is for the next capture.
    let now = world.increment_change_tick();
    let mut index = world.resource_mut::<DocumentIndex>();
    let since = index.last_capture;
    let fresh = std::mem::take(&mut index.fresh);
    for entity in fresh {
        capture_at(&mut world.into(), entity, now);
    }
    for (at, scanners) in scanners.iter_mut().enumerate() {
        let collection = CollectionIndex(at as u16);
        dirty.clear();
        for scanner in scanners.iter_mut() {
            scanner.scan(world, since, now, dirty);
        }
        if scanners.len() > 1 {
            dirty.sort_unstable();
            dirty.dedup();
        }
        for entity in dirty.drain(..) {
            let mut world = DeferredWorld::from(&mut *world);
            join(&mut world, entity, collection);
            capture_at(&mut world, entity, now);
        }
    }
    let mut index = world.resource_mut::<DocumentIndex>();
    index.last_capture = now;
    index.settled.clear();
    identity::tell_unclaimed(world);
    send(world);
}

/// `entity` has a component of `collection`: if it shows no document yet, it may be that it got the component after its identity.
fn join(world: &mut DeferredWorld, entity: Entity, collection: CollectionIndex) {
    let index = world.resource::<DocumentIndex>();
    let Some(slot) = index.slot_of(entity) else {
        // Who waits for the place of another entity is given it when that one goes.
        if index.refused.get(&entity).copied().flatten().is_none() {
            identity::associate_finally(world, entity);
        }
        return;
    };
    let key = index.entry(slot).key.clone();
    if key.collection == collection || index.refused.contains_key(&entity) {
        return;
    }
    let collections = world.resource::<Collections>();
    // A component that is in several collections is at home in this one too, or is no document's here.
    let Ok(shown) = world.get_entity(entity) else { return };
    if collections.of(shown.archetype()) == Belongs::To(key.collection) {
        return;
    }
    let name = |of| collections.get(of).map(|registered| registered.name.clone()).unwrap_or_default();
    let (shown, other) = (name(key.collection), name(collection));
    let mut index = world.resource_mut::<DocumentIndex>();
    index.refused.insert(entity, None);
    let message = format!(
        "entity {entity} got a component of the collection {other}, and a document is in one collection; \
         use an entity for each, or register them together with replicate_bundle. That component is not replicated"
    );
    index.fail(FailureKind::Identity, Some(&shown), Some(&key.id), message);
}

/// Captures `entity` out of turn: before its value is lost or replaced.
pub(super) fn capture_now(world: &mut DeferredWorld, entity: Entity) {
    if world.resource::<DocumentIndex>().slot_of(entity).is_none() {
        return;
    }
    // Whatever is changed from here on is news again.
    let now = advance(world);
    capture_at(world, entity, now);
}

/// Sends what `entity`'s document has changed up to `now`, if anything.
fn capture_at(world: &mut DeferredWorld, entity: Entity, now: Tick) {
    let index = world.resource::<DocumentIndex>();
    let Some(slot) = index.slot_of(entity) else { return };
    let entry = index.entry(slot);
    let DocumentKey { collection, id } = entry.key.clone();
    let (is_fresh, was_deleted) = (entry.fresh, entry.is_deleted());
    // An entity that gets its own document back has been changed, not spawned.
    let is_spawned = is_fresh && entry.former != Some(entity);
    if entry.is_default && entry.generation > 0 {
        // The stored version is on its way, and what is here would overwrite it.
        return;
    }
    let since = index.since(entity);
    let Some(registered) = world.resource::<Collections>().get(entry.key.collection) else { return };
    let form = registered.form.clone();
    let Ok(shown) = world.get_entity(entity) else { return };
    let Some((encode, mask, added)) = form.take(shown, since, now, is_fresh) else { return };

    let mut index = world.resource_mut::<DocumentIndex>();
    let is_ensured = index.ensured.remove(&entity);
    if was_deleted && !is_ensured {
        // It was deleted and the app made it anew.
        index.edit(slot, Captured::Restore);
    }
    let captured = match (is_spawned, is_ensured) {
        (false, _) => Captured::Put(encode),
        (true, false) => Captured::Spawn(encode),
        (true, true) => Captured::Ensure(encode),
    };
    index.edit(slot, captured);
    let entry = index.entry_mut(slot);
    entry.fresh = false;
    if !is_ensured {
        entry.life = Life::Alive;
    }
    entry.absent &= !mask;
    entry.has |= mask;
    // What is new is a change. Whether the rest was only touched is for the worker to find.
    entry.compared.sent(entry.captures, mask & !added);
    index.settled.insert(entity, now);
    let change = Change { collection, id, entity: Some(entity), kind: ChangeKind::Updated, origin: Origin::Local };
    tuple::announce(&*form, world, 0, added, change);
}

/// Hands the worker what was collected, and the app what failed.
pub(super) fn send(world: &mut World) {
    let mut index = world.resource_mut::<DocumentIndex>();
    let acknowledged = std::mem::take(&mut index.acknowledged);
    if !acknowledged.is_empty() {
        index.send(Command::Applied(acknowledged));
    }
    let failures = std::mem::take(&mut index.failures);
    let unsaved = index.unsaved();
    if world.contains_resource::<Link>() {
        let outbox = world.resource_mut::<DocumentIndex>().take_outbox();
        let mut link = world.resource_mut::<Link>();
        for command in outbox {
            link.send(command);
        }
    }
    for failure in failures {
        report(world, failure);
    }
    let mut status = world.resource_mut::<SyncStatus>();
    if status.unsaved != unsaved {
        status.unsaved = unsaved;
    }
}

/// Tells the app of a failure, and keeps it in the status.
pub(crate) fn report(world: &mut World, failure: Failure) {
    tracing::warn!(target: "bevy_convex_replicate::ecs", %failure);
    world.resource_mut::<SyncStatus>().last_error = Some(failure.clone());
    world.write_message(SyncFailed(failure));
}

/// Ticks that grow too old are moved along, as the world does with its own.
pub(crate) fn check_ticks(check: On<CheckChangeTicks>, mut index: ResMut<DocumentIndex>) {
    index.last_capture.check_tick(*check);
    for tick in index.settled.values_mut() {
        tick.check_tick(*check);
    }
}

/// The app ends: the worker is let go, which waits until everything is on disk.
pub(crate) fn close_on_exit(world: &mut World) {
    if world.get_resource::<Messages<AppExit>>().is_some_and(|exits| !exits.is_empty()) {
        world.remove_resource::<Link>();
    }
}
