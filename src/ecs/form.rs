//! The interface of capture and apply to a collection, with its types erased.

use std::{any::Any, sync::Arc};

use bevy::{
    ecs::{change_detection::Tick, world::DeferredWorld},
    prelude::*,
};

use crate::{
    CollectionIndex, DocumentId,
    message::ChangeKind,
    record::Origin,
    worker::{Codec, Encode},
};

/// A change to announce, without the component type that it concerns.
#[derive(Clone)]
pub struct Change {
    pub collection: CollectionIndex,
    pub id: DocumentId,
    /// The entity that shows the document. Messages of a deletion do not name it.
    pub entity: Option<Entity>,
    pub kind: ChangeKind,
    pub origin: Origin,
    /// Whether the document is deleted.
    pub is_deletion: bool,
}

/// Finds the entities whose component changed.
pub trait Scan: Send + Sync + 'static {
    /// Adds the entities of documents whose component changed after `since` to `dirty`.
    fn scan(&mut self, world: &World, since: Tick, now: Tick, dirty: &mut Vec<Entity>);
}

/// Components that were cloned of an entity. Bit `i` of a mask is the collection's `i`th component.
pub(crate) struct Clones {
    pub(super) encode: Box<dyn Encode>,
    /// The components that were cloned.
    pub(super) mask: u32,
    /// The cloned components that the entity did not have before.
    pub(super) added: u32,
}

/// A collection's component types, erased. Bit `i` of a mask is the `i`th component.
pub(crate) trait Form: Codec {
    fn scanners(&self, world: &mut World) -> Vec<Box<dyn Scan>>;
    /// Clones the components that changed after `since`, or all of them if `any`. Returns `None` if there are none.
    fn take(&self, entity: EntityRef, since: Tick, now: Tick, any: bool) -> Option<Clones>;
    /// Whether a component of `entity` changed after `since`.
    fn is_dirty(&self, entity: EntityRef, since: Tick, now: Tick) -> bool;
    /// The components that `entity` has.
    fn present(&self, entity: EntityRef) -> u32;
    /// Spawns an entity for `content`, unless no component fits. Returns it with the components it has.
    fn spawn(&self, world: &mut World, id: DocumentId, content: Box<dyn Any + Send>) -> Option<(Entity, u32)>;
    /// Makes `entity` show `content`, without adding components in `withheld`. Returns the components that were
    /// replaced and those that were added.
    fn update(&self, world: &mut World, entity: Entity, content: Box<dyn Any + Send>, withheld: u32) -> (u32, u32);
    /// The number of component types of the collection.
    fn count(&self) -> usize;
    /// The components without a field in the version.
    fn lacks(&self, content: &(dyn Any + Send)) -> u32;
    /// Marks components of `entity` as changed.
    fn touch(&self, world: &mut World, entity: Entity, mask: u32);
    /// Removes components from `entity`.
    fn remove(&self, world: &mut World, entity: Entity, mask: u32);
    /// Announces a change of these components to the app.
    fn announce(&self, world: &mut DeferredWorld, mask: u32, change: &Change);
    /// Announces that everything stored of the collection is in the world.
    fn ready(&self, world: &mut DeferredWorld);
    /// Announces that everything the deployment had of the collection is in the world.
    fn deployment_read(&self, world: &mut DeferredWorld);
    /// The components that may write one of these root fields.
    fn owners(&self, fields: &[String]) -> u32;
    fn codec(self: Arc<Self>) -> Arc<dyn Codec>;
}

/// Announces the components that were replaced and those that were added.
pub(super) fn announce(form: &dyn Form, world: &mut DeferredWorld, replaced: u32, added: u32, mut change: Change) {
    change.kind = ChangeKind::Updated;
    form.announce(world, replaced, &change);
    change.kind = ChangeKind::Inserted;
    form.announce(world, added, &change);
}
