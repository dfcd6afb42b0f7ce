//! The index of documents and the entities that show them.

use bevy::{ecs::entity::EntityHashMap, platform::collections::HashMap, prelude::*};

use super::entry::{Entry, Presence, Shown, Slot, State};
use crate::{CollectionIndex, DocumentId, DocumentKey};

/// The index from documents to entities and back: a resource.
#[derive(Resource, Default)]
pub struct DocumentIndex {
    entries: Vec<Entry>,
    by_id: Vec<HashMap<DocumentId, Slot>>,
    by_entity: EntityHashMap<Slot>,
}

impl DocumentIndex {
    /// The entity that shows a document.
    pub fn entity(&self, collection: CollectionIndex, id: &DocumentId) -> Option<Entity> {
        self.entry(self.find(collection, id)?).entity()
    }

    /// The document that an entity shows.
    pub fn document(&self, entity: Entity) -> Option<&DocumentKey> {
        Some(&self.entry(self.slot_of(entity)?).key)
    }

    /// The number of documents that are shown, in all collections.
    pub fn len(&self) -> usize {
        self.by_entity.len()
    }

    /// Whether no document is shown.
    pub fn is_empty(&self) -> bool {
        self.by_entity.is_empty()
    }

    /// The place of a document that the index knows.
    pub(crate) fn find(&self, collection: CollectionIndex, id: &DocumentId) -> Option<Slot> {
        self.by_id.get(collection.0 as usize)?.get(id).copied()
    }

    /// The place of a document, which is added if the index does not know it.
    pub(super) fn slot(&mut self, key: &DocumentKey) -> Slot {
        if let Some(slot) = self.find(key.collection, &key.id) {
            return slot;
        }
        let collection = key.collection.0 as usize;
        if self.by_id.len() <= collection {
            self.by_id.resize_with(collection + 1, HashMap::default);
        }
        let slot = self.entries.len() as Slot;
        self.entries.push(Entry::new(key.clone()));
        self.by_id[collection].insert(key.id.clone(), slot);
        slot
    }

    /// The place of the document that `entity` shows.
    pub(super) fn slot_of(&self, entity: Entity) -> Option<Slot> {
        self.by_entity.get(&entity).copied()
    }

    pub(crate) fn entry(&self, slot: Slot) -> &Entry {
        &self.entries[slot as usize]
    }

    pub(super) fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot as usize]
    }

    /// All documents of a collection that the index knows, in no particular order.
    pub(crate) fn of_collection(&self, collection: CollectionIndex) -> impl Iterator<Item = Slot> + '_ {
        self.by_id.get(collection.0 as usize).into_iter().flat_map(|ids| ids.values().copied())
    }

    /// All entities that show documents.
    pub(super) fn entities(&self) -> impl Iterator<Item = Entity> + '_ {
        self.by_entity.keys().copied()
    }

    /// Forgets everything about the documents but their places, which others may have noted.
    pub(super) fn forget(&mut self) {
        self.by_entity.clear();
        for entry in &mut self.entries {
            *entry = Entry::new(entry.key.clone());
        }
    }

    /// `entity` shows this document from now on.
    pub(super) fn associate(&mut self, slot: Slot, entity: Entity, state: State) {
        self.entry_mut(slot).presence = Presence::Shown(Shown { entity, state, withheld: 0 });
        self.by_entity.insert(entity, slot);
    }

    /// `entity` shows no document any more; its document is `left` now. Returns the document's place, if there was one.
    pub(super) fn dissociate(&mut self, entity: Entity, left: Presence) -> Option<Slot> {
        let slot = self.by_entity.remove(&entity)?;
        self.entry_mut(slot).presence = left;
        Some(slot)
    }
}
