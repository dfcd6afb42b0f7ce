//! Which entity shows which document, and what the worker knows of it.

use bevy::{
    ecs::{
        change_detection::Tick,
        entity::{EntityHashMap, EntityHashSet},
    },
    platform::{cell::SyncCell, collections::HashMap},
    prelude::*,
};

use super::{apply::Pending, compared::Compared};
use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    failure::{Failure, FailureKind},
    record::{Capture, Generation},
    worker::{Captured, Command},
};

/// A place in [`DocumentIndex`]. Never reused: a document that is gone is remembered as deleted or hidden.
pub(crate) type Slot = u32;

/// What this world knows of a document.
pub(crate) struct Entry {
    pub key: DocumentKey,
    /// Who shows it.
    pub entity: Option<Entity>,
    /// The generation that is shown, or was dropped on purpose.
    pub generation: Generation,
    /// How many edits of it were sent.
    pub captures: Capture,
    /// The app took it out of this world: nothing comes back until it is shown again.
    pub hidden: bool,
    /// The entity that showed it when it was hidden: given the identity back, it says what the document is to hold.
    pub former: Option<Entity>,
    /// Whether it is deleted.
    pub life: Life,
    /// Its entity was made by the app and never captured.
    pub fresh: bool,
    /// Components (bit `i` for the collection's `i`th) that the app removed: they stay away from the entity.
    pub absent: u32,
    /// Its entity was spawned for a document that there was, and has not been brought up to it yet.
    pub is_default: bool,
    /// Components that the document has, as far as this world knows.
    pub has: u32,
    /// A version that waits to be applied.
    pub pending: Option<Pending>,
    /// What the worker found of the edits that were sent.
    pub compared: Compared,
}

/// Whether a document is deleted, as this world knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Alive,
    /// Deleted here or elsewhere.
    Deleted,
    /// The app has taken the deletion back, and the version without it has not come yet.
    Restoring,
}

impl Entry {
    /// Whether there is or was a document of this name.
    pub(crate) fn is_known(&self) -> bool {
        self.entity.is_some() || self.generation > 0 || self.captures > 0 || self.pending.is_some()
    }

    /// Whether the newest version known here is a deletion.
    pub(crate) fn is_deleted(&self) -> bool {
        self.life != Life::Alive
    }

    /// Whether deleting it once more changes nothing. An entity that the app made anew, or a deletion that it has taken back, is something to delete.
    pub(crate) fn is_gone(&self) -> bool {
        self.life == Life::Deleted && self.entity.is_none()
    }

    /// Whether a version waits for one that includes the newest edits.
    pub(crate) fn waits(&self) -> bool {
        self.pending.as_ref().is_some_and(Pending::waits)
    }
}

/// An entity that apply is about to spawn for a document.
#[derive(Clone, Copy)]
pub(crate) struct Spawning {
    pub slot: Slot,
    pub tick: Tick,
}

/// The index from documents to entities and back.
///
/// # How a dirty value is told
///
/// A component is dirty if its changed tick is newer than the last capture's, and newer than what `settled` says of its
/// entity: the tick up to which all its changes are known to the worker, because apply wrote them or they were captured out of turn. After
/// each of these the world's tick is advanced, so that whatever happens next has a newer one. `settled` is emptied by each capture.
#[derive(Resource)]
pub struct DocumentIndex {
    entries: Vec<Entry>,
    by_id: Vec<HashMap<DocumentId, Slot>>,
    ready: Vec<CollectionIndex>,
    read: Vec<CollectionIndex>,
    by_entity: EntityHashMap<Slot>,
    pub(crate) settled: EntityHashMap<Tick>,
    pub(crate) last_capture: Tick,
    pub(crate) fresh: Vec<Entity>,
    /// Entities that cannot be the document they name, which was told, and the document if another entity shows it: they wait for its place.
    pub(crate) refused: EntityHashMap<Option<Slot>>,
    /// Entities that have a name and no component of a collection, and for how many frames.
    pub(crate) unclaimed: Vec<(Entity, u8)>,
    pub(crate) spawning: Option<Spawning>,
    /// Entities that the app spawned for documents that are only to be there.
    pub(crate) ensured: EntityHashSet,
    /// Whose identity is being replaced: between `on_discard` and `on_insert` of its [`DocumentId`].
    pub(crate) discarded: Option<Entity>,
    outbox: SyncCell<Vec<Command>>,
    edits: u64,
    /// How many of them are durable, as the worker says.
    pub(crate) saved: u64,
    pub(crate) acknowledged: Vec<(DocumentKey, Generation)>,
    pub(crate) failures: Vec<Failure>,
    /// Entities that have begun to show a document, or whose `ChildOf` the app has changed, if somebody asks.
    pub(crate) arrived: Option<Vec<Entity>>,
    /// Whether an entity has ceased to show a document since somebody looked.
    pub(crate) departed: bool,
}

impl Default for DocumentIndex {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            by_id: Vec::new(),
            ready: Vec::new(),
            read: Vec::new(),
            by_entity: EntityHashMap::default(),
            settled: EntityHashMap::default(),
            last_capture: Tick::new(0),
            fresh: Vec::new(),
            refused: EntityHashMap::default(),
            unclaimed: Vec::new(),
            spawning: None,
            ensured: EntityHashSet::default(),
            discarded: None,
            outbox: SyncCell::new(Vec::new()),
            edits: 0,
            saved: 0,
            acknowledged: Vec::new(),
            failures: Vec::new(),
            arrived: None,
            departed: false,
        }
    }
}

impl DocumentIndex {
    /// The entity that shows a document.
    pub fn entity(&self, collection: CollectionIndex, id: &DocumentId) -> Option<Entity> {
        self.entries[self.find(collection, id)? as usize].entity
    }

    /// The document that an entity shows.
    pub fn document(&self, entity: Entity) -> Option<&DocumentKey> {
        Some(&self.entries[*self.by_entity.get(&entity)? as usize].key)
    }

    /// How many documents are shown, in all collections.
    pub fn len(&self) -> usize {
        self.by_entity.len()
    }

    /// Whether no document is shown.
    pub fn is_empty(&self) -> bool {
        self.by_entity.is_empty()
    }

    pub(crate) fn find(&self, collection: CollectionIndex, id: &DocumentId) -> Option<Slot> {
        self.by_id.get(collection.0 as usize)?.get(id).copied()
    }

    /// The document's entry, made if it is new.
    pub(crate) fn slot(&mut self, key: &DocumentKey) -> Slot {
        if let Some(slot) = self.find(key.collection, &key.id) {
            return slot;
        }
        let collection = key.collection.0 as usize;
        if self.by_id.len() <= collection {
            self.by_id.resize_with(collection + 1, HashMap::default);
        }
        let slot = self.entries.len() as Slot;
        self.entries.push(Entry {
            key: key.clone(),
            entity: None,
            generation: 0,
            captures: 0,
            hidden: false,
            former: None,
            life: Life::Alive,
            fresh: false,
            absent: 0,
            is_default: false,
            has: 0,
            pending: None,
            compared: Compared::default(),
        });
        self.by_id[collection].insert(key.id.clone(), slot);
        slot
    }

    pub(crate) fn slot_of(&self, entity: Entity) -> Option<Slot> {
        self.by_entity.get(&entity).copied()
    }

    pub(crate) fn entry(&self, slot: Slot) -> &Entry {
        &self.entries[slot as usize]
    }

    pub(crate) fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot as usize]
    }

    pub(crate) fn of_collection(&self, collection: CollectionIndex) -> impl Iterator<Item = Slot> + '_ {
        self.by_id.get(collection.0 as usize).into_iter().flat_map(|ids| ids.values().copied())
    }

    /// `entity` shows this document from now on.
    pub(crate) fn associate(&mut self, slot: Slot, entity: Entity) {
        let entry = &mut self.entries[slot as usize];
        entry.entity = Some(entity);
        entry.hidden = false;
        entry.absent = 0;
        entry.is_default = false;
        self.by_entity.insert(entity, slot);
        if let Some(arrived) = &mut self.arrived {
            arrived.push(entity);
        }
    }

    /// `entity` shows no document any more.
    pub(crate) fn dissociate(&mut self, entity: Entity) -> Option<Slot> {
        self.settled.remove(&entity);
        self.ensured.remove(&entity);
        let slot = self.by_entity.remove(&entity)?;
        self.departed = true;
        let entry = &mut self.entries[slot as usize];
        entry.entity = None;
        entry.fresh = false;
        Some(slot)
    }

    /// The app took the document that `entity` showed out of this world. Gives the document, if there was one.
    pub(crate) fn hide(&mut self, entity: Entity) -> Option<Slot> {
        let slot = self.dissociate(entity)?;
        let entry = &mut self.entries[slot as usize];
        entry.hidden = true;
        entry.former = Some(entity);
        Some(slot)
    }

    /// An entity that was refused because another one showed this document.
    pub(crate) fn waits_for(&self, slot: Slot) -> Option<Entity> {
        // There are none, in an app that heeds what it is told.
        self.refused.iter().find_map(|(entity, waits_for)| (*waits_for == Some(slot)).then_some(*entity))
    }

    /// The tick after which a change of `entity` is news to the worker.
    pub(crate) fn since(&self, entity: Entity) -> Tick {
        self.settled.get(&entity).copied().unwrap_or(self.last_capture)
    }

    /// Whether everything the store has of the collection was applied.
    pub(crate) fn is_ready(&self, collection: CollectionIndex) -> bool {
        self.ready.contains(&collection)
    }

    pub(crate) fn set_ready(&mut self, collection: CollectionIndex) {
        if !self.is_ready(collection) {
            self.ready.push(collection);
        }
    }

    /// Whether everything the deployment had of the collection was applied.
    pub(crate) fn is_read(&self, collection: CollectionIndex) -> bool {
        self.read.contains(&collection)
    }

    /// Notes whether it was. Gives the number of collections of which it was.
    pub(crate) fn set_read(&mut self, collection: CollectionIndex, read: bool) -> usize {
        self.read.retain(|known| *known != collection);
        self.read.extend(read.then_some(collection));
        self.read.len()
    }

    /// Nothing more is read.
    pub(crate) fn forget_read(&mut self) {
        self.read.clear();
    }

    /// Sends an edit of a document.
    pub(crate) fn edit(&mut self, slot: Slot, change: Captured) {
        let entry = &mut self.entries[slot as usize];
        entry.captures += 1;
        self.edits += 1;
        self.outbox.get().push(Command::Edit {
            document: entry.key.clone(),
            generation: entry.generation,
            capture: entry.captures,
            change,
        });
    }

    /// Sends anything else.
    pub(crate) fn send(&mut self, command: Command) {
        self.outbox.get().push(command);
    }

    /// What is to be sent.
    pub(crate) fn take_outbox(&mut self) -> Vec<Command> {
        std::mem::take(self.outbox.get())
    }

    /// How many edits are not durable yet.
    pub(crate) fn unsaved(&self) -> u64 {
        self.edits.saturating_sub(self.saved)
    }

    /// Tells the app at the next opportunity.
    pub(crate) fn fail(
        &mut self,
        kind: FailureKind,
        collection: Option<&str>,
        document: Option<&DocumentId>,
        message: impl Into<String>,
    ) {
        self.failures.push(Failure {
            kind,
            collection: collection.map(str::to_string),
            document: document.cloned(),
            message: message.into(),
        });
    }
}
