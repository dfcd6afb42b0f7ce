//! The systems at the end of a frame: they capture this frame's edits.

use bevy::{ecs::world::DeferredWorld, prelude::*};

use super::{
    claims::{Claims, Refusal},
    collections::{Belongs, Collections},
    edit::capture_at,
    failures::Failures,
    form::Scan,
    identity,
    index::DocumentIndex,
    link::Link,
    outbox,
    ticks::Ticks,
};
use crate::{CollectionIndex, failure::FailureKind};

/// The state that capture keeps from frame to frame.
#[derive(Default)]
pub(crate) struct Capturing {
    /// The scanners of each collection, one for each component type.
    scanners: Vec<Vec<Box<dyn Scan>>>,
    dirty: Vec<Entity>,
}

/// Sends this frame's changes to the worker.
pub(crate) fn capture(world: &mut World, mut capturing: Local<Capturing>) {
    let Capturing { scanners, dirty } = &mut *capturing;
    for at in scanners.len()..world.resource::<Collections>().len() {
        let collections = world.resource::<Collections>();
        let Some(form) = collections.get(CollectionIndex(at as u16)).map(|registered| registered.form.clone()) else {
            break;
        };
        scanners.push(form.scanners(world));
    }

    // Later changes have a newer tick, so the next capture finds them.
    let now = world.increment_change_tick();
    let since = world.resource::<Ticks>().last_capture();
    let fresh = std::mem::take(&mut world.resource_mut::<Claims>().fresh);
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
    world.resource_mut::<Ticks>().captured(now);
    identity::report_unclaimed(world);
    outbox::send(world);
}

/// `entity` has a changed component of `collection`. If it shows no document yet, it may have got the component after
/// its identity.
fn join(world: &mut DeferredWorld, entity: Entity, collection: CollectionIndex) {
    let index = world.resource::<DocumentIndex>();
    let refusal = world.resource::<Claims>().refused.get(&entity);
    let Some(slot) = index.slot_of(entity) else {
        // An entity that waits for the place of another one gets it when that one goes.
        if !matches!(refusal, Some(Refusal::Taken(_))) {
            identity::associate_finally(world, entity);
        }
        return;
    };
    let key = index.entry(slot).key.clone();
    if key.collection == collection || refusal.is_some() {
        return;
    }
    let collections = world.resource::<Collections>();
    // A component that is in several collections is part of this document, or of none here.
    let Ok(shown) = world.get_entity(entity) else { return };
    if collections.of(shown.archetype()) == Belongs::To(key.collection) {
        return;
    }
    let name = |of| collections.get(of).map(|registered| registered.name.clone()).unwrap_or_default();
    let (shown, other) = (name(key.collection), name(collection));
    world.resource_mut::<Claims>().refused.insert(entity, Refusal::Unfit);
    let message = format!(
        "entity {entity} got a component of the collection {other}, and a document is in one collection; \
         use an entity for each, or register them together with replicate_components. That component is not replicated"
    );
    world.resource_mut::<Failures>().add(FailureKind::Identity, Some(&shown), Some(&key.id), message);
}

/// Closes the link to the worker when the app exits. The worker then waits until every edit is on the disk.
pub(crate) fn close_on_exit(world: &mut World) {
    if world.get_resource::<Messages<AppExit>>().is_some_and(|exits| !exits.is_empty()) {
        world.remove_resource::<Link>();
    }
}
