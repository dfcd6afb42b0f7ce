//! `ChildOf` and the parent that a document names, kept in step.
//!
//! The documents say who is whose child ([`DocumentParent`]); bevy's [`ChildOf`] is how the world shows it. Observers
//! write the app's changes of `ChildOf` into the component at once, which makes them edits. [`settle`] brings the
//! component's parent into the world, after apply and around capture: a document's `ChildOf` is a function of the shown
//! documents, so it does not matter which of two documents arrived first.

use std::{
    any::TypeId,
    sync::{Mutex, PoisonError},
};

use bevy::{
    ecs::{message::MessageCursor, world::DeferredWorld},
    platform::collections::{HashMap, HashSet},
    prelude::*,
};
use serde::{Deserialize, Serialize};

use super::{
    collections::Collections,
    index::{DocumentIndex, Slot},
    reference::DocumentRef,
};
use crate::{CollectionIndex, DocumentId, DocumentKey, failure::FailureKind, message::DocumentChanged};

/// The parent of a document, as a part of it: the replicated form of bevy's [`ChildOf`]. `T` is a component of the
/// parents' collection, which may be the children's own.
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_convex_replicate::prelude::*;
/// # #[derive(Component, Serialize, Deserialize, Clone)]
/// # struct Task { text: String }
/// # fn build(app: &mut App) {
/// app.replicate_bundle::<(Task, DocumentParent<Task>)>("tasks").replicate_hierarchy::<Task>();
/// # }
///
/// fn plan(mut commands: Commands) {
///     let task = |text: &str| (Task { text: text.into() }, DocumentId::random());
///     // Both are documents, and the second names the first as its parent.
///     commands.spawn(task("build a house")).with_child(task("dig a hole"));
/// }
/// ```
///
/// `ChildOf` is what an app reads and writes. Inserting, changing and removing it is an edit of this component, which
/// is inserted where it is missing. When somebody else changes the parent, `ChildOf` follows as soon as both documents
/// are shown here, whichever came first. See
/// [`replicate_hierarchy`](crate::plugin::ReplicateAppExt::replicate_hierarchy) for the rules.
///
/// In the document it is a field `parent`: a string that is replaced whole, or null.
#[derive(Component, Reflect, Serialize, Deserialize)]
#[serde(bound = "")]
#[reflect(opaque, Clone, Debug, PartialEq, Default)]
#[reflect(where T: TypePath)]
pub struct DocumentParent<T: 'static> {
    /// The parent. It may be a document that is not there.
    pub parent: Option<DocumentRef<T>>,
}

impl<T> DocumentParent<T> {
    /// A child of this document.
    pub fn new(parent: impl Into<DocumentId>) -> Self {
        Self { parent: Some(DocumentRef::new(parent)) }
    }
}

impl<T> Default for DocumentParent<T> {
    fn default() -> Self {
        Self { parent: None }
    }
}

impl<T> Clone for DocumentParent<T> {
    fn clone(&self) -> Self {
        Self { parent: self.parent.clone() }
    }
}

impl<T> PartialEq for DocumentParent<T> {
    fn eq(&self, other: &Self) -> bool {
        self.parent == other.parent
    }
}

impl<T> Eq for DocumentParent<T> {}

impl<T> std::fmt::Debug for DocumentParent<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DocumentParent").field("parent", &self.parent).finish()
    }
}

/// How a [`DocumentParent`] of one kind is read and written.
#[derive(Clone, Copy)]
struct Kind {
    component: TypeId,
    parents: TypeId,
    name: &'static str,
    read: fn(EntityRef) -> Option<Option<DocumentId>>,
    write: fn(&mut DeferredWorld, Entity, Option<DocumentId>),
}

impl Kind {
    fn of<T: 'static>() -> Self {
        Self {
            component: TypeId::of::<DocumentParent<T>>(),
            parents: TypeId::of::<T>(),
            name: std::any::type_name::<DocumentParent<T>>(),
            read: |entity| {
                Some(entity.get::<DocumentParent<T>>()?.parent.as_ref().map(|reference| reference.id().clone()))
            },
            write: |world, entity, id| {
                let parent = id.map(DocumentRef::<T>::new);
                match world.get_mut::<DocumentParent<T>>(entity) {
                    Some(shown) if shown.parent == parent => {}
                    Some(mut shown) => shown.parent = parent,
                    None if parent.is_none() => {}
                    None => {
                        world.commands().entity(entity).try_insert(DocumentParent { parent });
                    }
                }
            },
        }
    }
}

/// Which documents of a kind were changed.
trait Gather: Send + Sync {
    fn gather(&self, world: &World, changed: &mut Vec<Entity>);
}

/// Reads the messages. It is locked, so that nothing has to be taken out of the world in a frame without any.
struct Changes<T: 'static>(Mutex<MessageCursor<DocumentChanged<DocumentParent<T>>>>);

impl<T: 'static> Gather for Changes<T> {
    fn gather(&self, world: &World, changed: &mut Vec<Entity>) {
        if let Some(messages) = world.get_resource() {
            let mut cursor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            changed.extend(cursor.read(messages).filter_map(|change| change.entity));
        }
    }
}

/// The family tree of the documents. It is out of the world while `ChildOf` is brought into step, so that observers
/// take nothing of that for an edit.
#[derive(Resource, Default)]
pub(crate) struct Hierarchy {
    kinds: Vec<Kind>,
    changes: Vec<Box<dyn Gather>>,
    /// The parent that each document names.
    parents: HashMap<Slot, DocumentKey>,
    /// The same from the other side.
    children: HashMap<DocumentKey, HashSet<Slot>>,
    /// Documents whose reference is not followed, because that would close a cycle.
    cut: HashSet<Slot>,
}

/// Prepares an app for [`DocumentParent<T>`].
pub(crate) fn register<T: 'static>(app: &mut App) {
    let mut hierarchy = app.world_mut().get_resource_or_init::<Hierarchy>();
    let kind = Kind::of::<T>();
    if hierarchy.kinds.iter().any(|known| known.component == kind.component) {
        return;
    }
    let is_first = hierarchy.kinds.is_empty();
    hierarchy.kinds.push(kind);
    hierarchy.changes.push(Box::new(Changes::<T>(Mutex::default())));
    if is_first {
        app.world_mut().resource_mut::<DocumentIndex>().arrived = Some(Vec::new());
        app.add_observer(attached)
            .add_observer(detached)
            .add_systems(PreUpdate, settle.after(super::apply).in_set(super::ReplicateSystems::Apply));
        let capture = super::ReplicateSystems::Capture;
        app.add_systems(Last, settle.before(super::capture).in_set(capture.clone()));
        app.add_systems(Last, settle.after(super::capture).before(super::close_on_exit).in_set(capture));
    }
}

/// Tells of hierarchies that cannot be replicated, once all collections are known.
pub(crate) fn check(world: &mut World) {
    let Some(hierarchy) = world.get_resource::<Hierarchy>() else { return };
    let collections = world.resource::<Collections>();
    let mut messages = Vec::new();
    for kind in &hierarchy.kinds {
        if collections.memberships(kind.component).is_empty() {
            let name = kind.name;
            messages.push(format!(
                "{name} is in no collection, so no hierarchy is replicated; register it with the children's component, \
                 e.g. replicate_bundle::<(Child, DocumentParent<Parent>)>(\"children\")"
            ));
        } else if collections.collection_of(kind.parents).is_none() {
            let name = kind.name;
            messages.push(format!(
                "the parents of {name} are in no collection or in several, so no hierarchy is replicated; name a component that is in one alone"
            ));
        }
    }
    for message in messages {
        world.resource_mut::<DocumentIndex>().fail(FailureKind::Registration, None, None, message);
    }
}

/// The kind of parent that documents of a collection have, and the parents' collection.
fn kind_of(world: &World, collection: CollectionIndex) -> Option<(Kind, CollectionIndex)> {
    let collections = world.resource::<Collections>();
    let of_collection = |kind: &&Kind| collections.membership(kind.component, collection).is_some();
    let kind = *world.get_resource::<Hierarchy>()?.kinds.iter().find(of_collection)?;
    Some((kind, collections.collection_of(kind.parents)?))
}

/// The parent that `entity` names.
fn named(world: &World, entity: Entity, kind: Kind, parents: CollectionIndex) -> Option<DocumentKey> {
    let id = (kind.read)(world.get_entity(entity).ok()?)??;
    Some(DocumentKey { collection: parents, id })
}

/// Whether `entity`'s `ChildOf`, as it was until now, followed the document.
fn was_followed(world: &World, slot: Slot, named: Option<&DocumentKey>) -> bool {
    let is_cut = world.get_resource::<Hierarchy>().is_some_and(|hierarchy| hierarchy.cut.contains(&slot));
    let index = world.resource::<DocumentIndex>();
    !is_cut && named.is_some_and(|parent| index.entity(parent.collection, &parent.id).is_some())
}

/// The app made `entity` a child of another one.
fn attached(insert: On<Insert, ChildOf>, mut world: DeferredWorld) {
    follow(&mut world, insert.entity, true);
    look_at(&mut world, insert.entity);
}

/// Has `ChildOf` of a document's entity compared with the document, also if that already says the same: it may be in a
/// cycle.
fn look_at(world: &mut DeferredWorld, entity: Entity) {
    if !world.contains_resource::<Hierarchy>() {
        return;
    }
    let mut index = world.resource_mut::<DocumentIndex>();
    if index.slot_of(entity).is_some()
        && let Some(arrived) = &mut index.arrived
    {
        arrived.push(entity);
    }
}

/// Makes the document of `entity` name the parent that it has; `is_news`: the app has just given it that one.
fn follow(world: &mut DeferredWorld, entity: Entity, is_news: bool) {
    if !world.contains_resource::<Hierarchy>() {
        return;
    }
    let index = world.resource::<DocumentIndex>();
    let Some(slot) = index.slot_of(entity) else { return };
    if index.entry(slot).is_default {
        // The stored document says whose child it is.
        return;
    }
    let key = index.entry(slot).key.clone();
    let Some((kind, parents)) = kind_of(world, key.collection) else { return };
    let Some(target) = world.get::<ChildOf>(entity).map(ChildOf::parent) else { return };
    match world.resource::<DocumentIndex>().document(target).cloned() {
        Some(parent) if parent.collection == parents => (kind.write)(world, entity, Some(parent.id)),
        other => {
            if let Some(other) = other.filter(|_| is_news) {
                let collections = world.resource::<Collections>();
                let (name, wanted) = (collections.names(&[other.collection]), collections.names(&[parents]));
                let own = collections.names(&[key.collection]);
                let message = format!(
                    "it was made a child of a document of {name}, and parents here are documents of {wanted}; that is not replicated"
                );
                let mut index = world.resource_mut::<DocumentIndex>();
                index.fail(FailureKind::Identity, Some(&own), Some(&key.id), message);
            }
            // A parent that is no document is the app's own arrangement; but the document has left the one that it
            // names.
            let named = named(world, entity, kind, parents);
            if was_followed(world, slot, named.as_ref()) {
                (kind.write)(world, entity, None);
            }
        }
    }
}

/// `entity` is no child any more, or it is about to be despawned.
fn detached(remove: On<Remove, ChildOf>, mut world: DeferredWorld) {
    let entity = remove.entity;
    if !world.contains_resource::<Hierarchy>() || world.resource::<DocumentIndex>().slot_of(entity).is_none() {
        return;
    }
    // Despawning an entity changes nothing in its document, and whether that is what happens shows afterwards.
    world.commands().queue(move |world: &mut World| {
        if world.get_entity(entity).is_ok_and(|shown| !shown.contains::<ChildOf>()) {
            leave(&mut DeferredWorld::from(&mut *world), entity);
            look_at(&mut world.into(), entity);
        }
    });
}

fn leave(world: &mut DeferredWorld, entity: Entity) {
    let index = world.resource::<DocumentIndex>();
    let Some(slot) = index.slot_of(entity) else { return };
    let collection = index.entry(slot).key.collection;
    let Some((kind, parents)) = kind_of(world, collection) else { return };
    let named = named(world, entity, kind, parents);
    if was_followed(world, slot, named.as_ref()) {
        (kind.write)(world, entity, None);
    }
}

/// A document's entity is about to be despawned because the document is deleted: bevy despawns children with it, which
/// must not take other documents' entities along.
pub(crate) fn release(world: &mut World, entity: Entity) {
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
    // The documents go on naming the parent that is gone, which may come back.
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

/// Brings `ChildOf` into step with what the documents say.
pub(crate) fn settle(world: &mut World) {
    let mut index = world.resource_mut::<DocumentIndex>();
    let mut changed = index.arrived.as_mut().map(std::mem::take).unwrap_or_default();
    let departed = std::mem::take(&mut index.departed);
    // An entity that became a document and has `ChildOf` already names its parent from now on, and so do its children.
    for &entity in &changed {
        let children: Vec<Entity> = world.get::<Children>(entity).into_iter().flatten().copied().collect();
        for child in children.into_iter().chain([entity]) {
            adopt(&mut DeferredWorld::from(&mut *world), child);
        }
    }
    let Some(hierarchy) = world.get_resource::<Hierarchy>() else { return };
    for changes in &hierarchy.changes {
        changes.gather(world, &mut changed);
    }
    // A cycle is open when one of its documents is gone.
    let is_opened = departed && !hierarchy.cut.is_empty();
    if changed.is_empty() && !is_opened {
        return;
    }
    world.flush();
    let Some(mut hierarchy) = world.remove_resource::<Hierarchy>() else { return };
    hierarchy.settle(world, changed);
    world.insert_resource(hierarchy);
}

/// Makes a document name the parent that its entity has, if it names none.
fn adopt(world: &mut DeferredWorld, entity: Entity) {
    let Some(key) = world.resource::<DocumentIndex>().document(entity) else { return };
    let Some((kind, parents)) = kind_of(world, key.collection) else { return };
    if named(world, entity, kind, parents).is_none() {
        follow(world, entity, false);
    }
}

impl Hierarchy {
    fn settle(&mut self, world: &mut World, changed: Vec<Entity>) {
        // Any change may open a cycle.
        let mut look: HashSet<Slot> = self.cut.drain().collect();
        for entity in changed {
            let Some(slot) = world.resource::<DocumentIndex>().slot_of(entity) else { continue };
            self.learn(world, slot, entity);
            let key = &world.resource::<DocumentIndex>().entry(slot).key;
            look.extend(self.children.get(key).into_iter().flatten());
            look.insert(slot);
        }
        // Those that are left to be looked at, and what each is to be a child of.
        let mut queue: Vec<Slot> = look.iter().copied().collect();
        let mut wanted: Vec<(Entity, Option<Entity>)> = Vec::new();
        while let Some(slot) = queue.pop() {
            let Some(entity) = world.resource::<DocumentIndex>().entry(slot).entity else { continue };
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
            wanted.push((entity, parent.and_then(|parent| world.resource::<DocumentIndex>().entry(parent).entity)));
        }
        // All that is wrong goes before anything right comes, so that nothing is its own ancestor in between.
        wanted.retain(|(entity, parent)| {
            let Ok(shown) = world.get_entity(*entity) else { return false };
            let held = shown.get::<ChildOf>().map(ChildOf::parent);
            if held == *parent {
                return false;
            }
            // A parent that is no document is the app's own arrangement, for as long as the document's parent is not
            // there.
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

    /// Takes note of the parent that a document names.
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

    /// Whether `entity` says something about its parent.
    fn has_kind(&self, world: &World, entity: Entity) -> bool {
        let kind = world.resource::<DocumentIndex>().slot_of(entity).and_then(|slot| self.kind(world, slot));
        let shown = world.get_entity(entity).ok();
        kind.zip(shown).is_some_and(|((kind, _), shown)| (kind.read)(shown).is_some())
    }

    /// The document that this one names as its parent, if both are shown.
    fn parent(&self, world: &World, slot: Slot) -> Option<Slot> {
        let index = world.resource::<DocumentIndex>();
        let key = self.parents.get(&slot).filter(|_| index.entry(slot).entity.is_some())?;
        let parent = index.find(key.collection, &key.id)?;
        index.entry(parent).entity.map(|_| parent)
    }

    /// The cycle of references that a document is part of.
    fn cycle(&self, world: &World, slot: Slot) -> Option<Vec<Slot>> {
        let (mut members, mut seen) = (vec![slot], HashSet::new());
        let mut at = self.parent(world, slot)?;
        while at != slot {
            // A cycle further up, which this one is no part of.
            if !seen.insert(at) {
                return None;
            }
            members.push(at);
            at = self.parent(world, at)?;
        }
        Some(members)
    }
}

/// The document whose reference is not followed: the one with the smallest name, by collection and then by id. All apps
/// that show the same documents choose the same one.
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
