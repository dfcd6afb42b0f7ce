//! The parents that documents name, and `ChildOf` as it follows from them.

use bevy::{
    platform::collections::{HashMap, HashSet},
    prelude::*,
};

use super::{
    collections::Collections,
    entry::Slot,
    index::DocumentIndex,
    kind::{Gather, Kind},
};
use crate::{CollectionIndex, DocumentKey};

/// The parents and children of documents. The resource is out of the world while `ChildOf` is brought into step, so
/// that observers do not take that for an edit.
#[derive(Resource, Default)]
pub(crate) struct Hierarchy {
    pub(super) kinds: Vec<Kind>,
    pub(super) changes: Vec<Box<dyn Gather>>,
    /// The parent that each document names.
    parents: HashMap<Slot, DocumentKey>,
    /// The documents that name each parent.
    children: HashMap<DocumentKey, HashSet<Slot>>,
    /// Documents whose reference is not followed, because that would close a cycle.
    pub(super) cut: HashSet<Slot>,
}

impl Hierarchy {
    /// Forgets which document is whose parent.
    pub(super) fn forget(&mut self) {
        self.parents.clear();
        self.children.clear();
        self.cut.clear();
    }
}

/// The kind of parent that documents of a collection have, and the parents' collection.
pub(super) fn kind_of(world: &World, collection: CollectionIndex) -> Option<(Kind, CollectionIndex)> {
    let collections = world.resource::<Collections>();
    let of_collection = |kind: &&Kind| collections.membership(kind.component, collection).is_some();
    let kind = *world.get_resource::<Hierarchy>()?.kinds.iter().find(of_collection)?;
    Some((kind, collections.collection_of(kind.parents)?))
}

/// The parent that `entity` names.
pub(super) fn named(world: &World, entity: Entity, kind: Kind, parents: CollectionIndex) -> Option<DocumentKey> {
    let id = (kind.read)(world.get_entity(entity).ok()?)??;
    Some(DocumentKey { collection: parents, id })
}

/// Whether the `ChildOf` of this document's entity followed the document until now.
pub(super) fn was_followed(world: &World, slot: Slot, named: Option<&DocumentKey>) -> bool {
    let is_cut = world.get_resource::<Hierarchy>().is_some_and(|hierarchy| hierarchy.cut.contains(&slot));
    let index = world.resource::<DocumentIndex>();
    !is_cut && named.is_some_and(|parent| index.entity(parent.collection, &parent.id).is_some())
}

/// A document's entity is about to be despawned because the document is deleted. Bevy despawns the children with it, so
/// children that are other documents' entities are released first.
pub(super) fn release(world: &mut World, entity: Entity) {
    let mut documents = Vec::new();
    // An app may have made an entity its own ancestor.
    let (mut ancestors, mut seen) = (vec![entity], HashSet::from([entity]));
    while let Some(ancestor) = ancestors.pop() {
        for &child in world.get::<Children>(ancestor).into_iter().flatten() {
            match world.resource::<DocumentIndex>().slot_of(child) {
                Some(_) => documents.push(child),
                None if seen.insert(child) => ancestors.push(child),
                None => {}
            }
        }
    }
    if documents.is_empty() {
        return;
    }
    // The children's documents keep naming the deleted parent, because it may be restored.
    let hierarchy = world.remove_resource::<Hierarchy>();
    for child in documents {
        if let Ok(mut child) = world.get_entity_mut(child) {
            child.remove::<ChildOf>();
        }
    }
    if let Some(hierarchy) = hierarchy {
        world.insert_resource(hierarchy);
    }
}

impl Hierarchy {
    /// Brings `ChildOf` of `changed` entities into step with their documents, and of those that this affects.
    pub(super) fn settle(&mut self, world: &mut World, changed: Vec<Entity>) {
        // Any change may open a cycle.
        let mut look: HashSet<Slot> = self.cut.drain().collect();
        for entity in changed {
            let Some(slot) = world.resource::<DocumentIndex>().slot_of(entity) else { continue };
            self.learn(world, slot, entity);
            let key = &world.resource::<DocumentIndex>().entry(slot).key;
            look.extend(self.children.get(key).into_iter().flatten());
            look.insert(slot);
        }
        // The documents that are left to look at, and the parent that each entity is to have.
        let mut queue: Vec<Slot> = look.iter().copied().collect();
        let mut wanted: Vec<(Entity, Option<Entity>)> = Vec::new();
        while let Some(slot) = queue.pop() {
            let Some(entity) = world.resource::<DocumentIndex>().entry(slot).entity() else { continue };
            let mut parent = self.parent(world, slot);
            if parent.is_some()
                && let Some(cycle) = self.cycle(world, slot)
            {
                queue.extend(cycle.iter().copied().filter(|member| look.insert(*member)));
                if first(world, &cycle) == Some(slot) {
                    self.cut.insert(slot);
                    parent = None;
                }
            }
            wanted.push((entity, parent.and_then(|parent| world.resource::<DocumentIndex>().entry(parent).entity())));
        }
        // Wrong parents are removed before right ones are inserted, so that no entity is its own ancestor in between.
        wanted.retain(|(entity, parent)| {
            let Ok(shown) = world.get_entity(*entity) else { return false };
            let held = shown.get::<ChildOf>().map(ChildOf::parent);
            if held == *parent {
                return false;
            }
            // A parent that is no document is not replicated. It stays until the document's parent is shown.
            let is_ours = held.is_some_and(|held| world.resource::<DocumentIndex>().slot_of(held).is_some());
            if held.is_some() && (parent.is_some() || (is_ours && self.has_kind(world, *entity))) {
                world.entity_mut(*entity).remove::<ChildOf>();
            }
            parent.is_some()
        });
        for (entity, parent) in wanted {
            let Some(parent) = parent.filter(|parent| !is_within(world, *parent, entity)) else { continue };
            if world.get_entity(parent).is_ok()
                && let Ok(mut child) = world.get_entity_mut(entity)
            {
                child.insert(ChildOf(parent));
            }
        }
    }

    /// Remembers the parent that a document names.
    fn learn(&mut self, world: &World, slot: Slot, entity: Entity) {
        let parent = self.kind(world, slot).and_then(|(kind, parents)| named(world, entity, kind, parents));
        let before = match &parent {
            Some(parent) => self.parents.insert(slot, parent.clone()),
            None => self.parents.remove(&slot),
        };
        if before == parent {
            return;
        }
        if let Some(before) = before
            && let Some(children) = self.children.get_mut(&before)
        {
            children.remove(&slot);
            if children.is_empty() {
                self.children.remove(&before);
            }
        }
        if let Some(parent) = parent {
            self.children.entry(parent).or_default().insert(slot);
        }
    }

    fn kind(&self, world: &World, slot: Slot) -> Option<(Kind, CollectionIndex)> {
        let collection = world.resource::<DocumentIndex>().entry(slot).key.collection;
        let collections = world.resource::<Collections>();
        let kind = self.kinds.iter().find(|kind| collections.membership(kind.component, collection).is_some())?;
        Some((*kind, collections.collection_of(kind.parents)?))
    }

    /// Whether `entity` has a component that names its parent.
    fn has_kind(&self, world: &World, entity: Entity) -> bool {
        let kind = world.resource::<DocumentIndex>().slot_of(entity).and_then(|slot| self.kind(world, slot));
        let shown = world.get_entity(entity).ok();
        kind.zip(shown).is_some_and(|((kind, _), shown)| (kind.read)(shown).is_some())
    }

    /// The document that this one names as its parent, if both are shown.
    fn parent(&self, world: &World, slot: Slot) -> Option<Slot> {
        let index = world.resource::<DocumentIndex>();
        let key = self.parents.get(&slot).filter(|_| index.entry(slot).entity().is_some())?;
        let parent = index.find(key.collection, &key.id)?;
        index.entry(parent).entity().map(|_| parent)
    }

    /// The cycle of references that a document is part of.
    fn cycle(&self, world: &World, slot: Slot) -> Option<Vec<Slot>> {
        let (mut members, mut seen) = (vec![slot], HashSet::new());
        let mut at = self.parent(world, slot)?;
        while at != slot {
            // The cycle is further up, and this document is no part of it.
            if !seen.insert(at) {
                return None;
            }
            members.push(at);
            at = self.parent(world, at)?;
        }
        Some(members)
    }
}

/// The document whose reference is not followed: the one with the smallest name, by collection and then by id. So all
/// apps that show the same documents choose the same one.
fn first(world: &World, cycle: &[Slot]) -> Option<Slot> {
    let (index, collections) = (world.resource::<DocumentIndex>(), world.resource::<Collections>());
    cycle.iter().copied().min_by_key(|slot| {
        let key = &index.entry(*slot).key;
        (collections.get(key.collection).map(|registered| &registered.name), &key.id)
    })
}

/// Whether `entity` is `ancestor` or below it.
fn is_within(world: &World, entity: Entity, ancestor: Entity) -> bool {
    let (mut at, mut seen) = (Some(entity), HashSet::new());
    while let Some(entity) = at {
        if entity == ancestor {
            return true;
        }
        if !seen.insert(entity) {
            return false;
        }
        at = world.get::<ChildOf>(entity).map(ChildOf::parent);
    }
    false
}
