//! Entities with a [`DocumentId`](crate::DocumentId) on their way to a document.

use bevy::{
    ecs::{
        change_detection::Tick,
        entity::{EntityHashMap, EntityHashSet},
    },
    prelude::*,
};

use super::entry::Slot;

/// Entities that are between having an identity and showing a document.
#[derive(Resource, Default)]
pub(crate) struct Claims {
    /// Entities that became documents since the last capture.
    pub(super) fresh: Vec<Entity>,
    /// Entities that cannot be the document they name. A failure was reported for each.
    pub(super) refused: EntityHashMap<Refusal>,
    /// Entities that have a name and no component of a collection, and for how many frames.
    pub(super) unclaimed: Vec<(Entity, u8)>,
    /// Entities that [`Collection::ensure`](crate::collection::Collection::ensure) made, until they are captured.
    pub(super) ensured: EntityHashSet,
    /// Entities of deleted documents that are about to be despawned, while observers are told.
    pub(super) leaving: EntityHashSet,
    /// The document that apply is spawning an entity for.
    pub(super) spawning: Option<Spawning>,
    /// The entity whose identity is being replaced: between `on_discard` and `on_insert` of its
    /// [`DocumentId`](crate::DocumentId).
    pub(super) discarded: Option<Entity>,
}

/// The reason why an entity is not the document it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The entity cannot be a document in its present state.
    Unfit,
    /// Another entity shows the document at this place. This one takes over when that one goes.
    Taken(Slot),
}

/// A document that apply is about to spawn an entity for.
#[derive(Clone, Copy)]
pub(super) struct Spawning {
    pub slot: Slot,
    pub tick: Tick,
}

impl Claims {
    /// An entity that was refused because another one shows this document.
    pub(super) fn waiting_for(&self, slot: Slot) -> Option<Entity> {
        // The map is empty in an app without mistakes, so the search costs nothing there.
        self.refused.iter().find_map(|(entity, refusal)| (*refusal == Refusal::Taken(slot)).then_some(*entity))
    }
}
