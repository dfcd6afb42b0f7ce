//! Registers hierarchies of documents.

use bevy::prelude::*;

use super::{
    apply::apply,
    association::Moves,
    capture::{capture, close_on_exit},
    child_of::{attached, detached, settle},
    collections::Collections,
    family::Hierarchy,
    kind::{Changes, Kind},
    parent::DocumentParent,
    schedule::ReplicateSystems,
};

/// Prepares an app for [`DocumentParent<T>`].
pub(crate) fn register<T: 'static>(app: &mut App) {
    app.register_type::<DocumentParent<T>>();
    let mut hierarchy = app.world_mut().get_resource_or_init::<Hierarchy>();
    let kind = Kind::of::<T>();
    if hierarchy.kinds.iter().any(|known| known.component == kind.component) {
        return;
    }
    let is_first = hierarchy.kinds.is_empty();
    hierarchy.kinds.push(kind);
    hierarchy.changes.push(Box::new(Changes::<T>::default()));
    if is_first {
        app.init_resource::<Moves>()
            .add_observer(attached)
            .add_observer(detached)
            .add_systems(PreUpdate, settle.after(apply).in_set(ReplicateSystems::Apply))
            .add_systems(Last, settle.before(capture).in_set(ReplicateSystems::Capture))
            .add_systems(Last, settle.after(capture).before(close_on_exit).in_set(ReplicateSystems::Capture));
    }
}

/// Returns why a hierarchy cannot be replicated. Called when all collections are registered.
pub(crate) fn fault(world: &World) -> Option<String> {
    let hierarchy = world.get_resource::<Hierarchy>()?;
    let collections = world.resource::<Collections>();
    hierarchy.kinds.iter().find_map(|kind| {
        let name = kind.name;
        if collections.memberships(kind.component).is_empty() {
            Some(format!(
                "{name} is in no collection, so its hierarchy cannot be replicated; register it with the children's component, \
                 e.g. replicate_components::<(Child, DocumentParent<Parent>)>(\"children\")"
            ))
        } else if collections.collection_of(kind.parents).is_none() {
            Some(format!(
                "the parents of {name} are in no collection or in several, so its hierarchy cannot be replicated; \
                 use a component of the parents that is in one collection alone"
            ))
        } else {
            None
        }
    })
}
