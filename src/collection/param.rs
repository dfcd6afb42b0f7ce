//! A system parameter with the operations of a collection, by document name.

use std::any::TypeId;

use bevy::{ecs::system::SystemParam, prelude::*};

use super::DocumentRef;
use crate::{
    CollectionIndex, DocumentId, DocumentKey,
    ecs::{Collections, DocumentIndex, Progress, Replicated, document},
};

/// The documents of `T`'s collection, by name: a system parameter.
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_convex_replicate::prelude::*;
/// # #[derive(Component, Serialize, Deserialize, Clone)]
/// # struct Task { text: String, done: bool }
/// fn finish(mut tasks: Collection<Task>, mut done: Local<Option<DocumentId>>) {
///     let id = done.get_or_insert_with(|| tasks.insert(Task { text: "Buy milk".into(), done: false }));
///     tasks.update(id, |task| task.done = true);
/// }
/// ```
///
/// Its changes are [`Commands`], which run after the system; until then [`get`](Self::get) returns the values from
/// before. It reads `T`, so a system that also has a `Query<&mut T>` needs a [`ParamSet`]. Such a system can do without
/// this parameter: `Query<(&DocumentId, &mut T)>` and [`spawn_document`](super::DocumentCommandsExt::spawn_document)
/// offer the same.
///
/// In a collection of several components, each of them gives a `Collection` of the same documents. If a component is in
/// several collections, its `Collection` is ambiguous: changes are refused and reported with
/// [`SyncFailed`](crate::message::SyncFailed), and only [`iter`](Self::iter) returns documents, those of all its
/// collections.
#[derive(SystemParam)]
pub struct Collection<'w, 's, T: Replicated> {
    index: Option<Res<'w, DocumentIndex>>,
    progress: Option<Res<'w, Progress>>,
    collections: Option<Res<'w, Collections>>,
    documents: Query<'w, 's, (Entity, &'static DocumentId, &'static T)>,
    commands: Commands<'w, 's>,
}

impl<T: Replicated> Collection<'_, '_, T> {
    /// Makes a document of `bundle`, which must have a `T`, and returns its new name.
    pub fn insert(&mut self, bundle: impl Bundle) -> DocumentId {
        let id = DocumentId::random();
        self.insert_with_id(id.clone(), bundle);
        id
    }

    /// Makes a document of that name. If another app makes one of the same name, the two become one document: texts,
    /// lists, maps and counters hold the additions of both, once if they are equal, and other fields hold one of the
    /// two values. If the document exists already, it is shown instead.
    pub fn insert_with_id(&mut self, id: DocumentId, bundle: impl Bundle) {
        self.commands.spawn((id, bundle));
    }

    /// Makes a document of that name unless there is one, such as an app's settings with their defaults. It may be
    /// called at any time, also before the collection is ready and without a connection, and by many apps at once:
    /// equal content that several apps make exists once, and a value that somebody has edited wins over a default,
    /// whenever it arrives. A document that was deleted stays deleted.
    ///
    /// ```
    /// # use bevy::prelude::*;
    /// # use bevy_convex_replicate::prelude::*;
    /// # #[derive(Component, Serialize, Deserialize, Clone, Default)]
    /// # struct Settings { volume: u8 }
    /// fn settings(mut settings: Collection<Settings>) {
    ///     settings.ensure(DocumentId::new("settings"), Settings::default());
    /// }
    /// ```
    pub fn ensure(&mut self, id: DocumentId, bundle: impl Bundle) {
        self.queue(move |world, collection| document::ensure(world, collection, id, bundle));
    }

    /// Changes a document's `T`.
    pub fn update(&mut self, id: &DocumentId, change: impl FnOnce(&mut T) + Send + 'static) {
        let id = id.clone();
        self.queue(move |world, collection| document::update(world, collection, &id, change));
    }

    /// Deletes a document, on all devices, and despawns its entity.
    pub fn delete(&mut self, id: &DocumentId) {
        let id = id.clone();
        self.queue(move |world, collection| document::delete(world, collection, &id));
    }

    /// Takes back the deletion of a document. It gets a new entity in one of the next frames.
    pub fn restore(&mut self, id: &DocumentId) {
        let id = id.clone();
        self.queue(move |world, collection| document::restore(world, collection, &id));
    }

    /// Drops this user's edits of a document that the deployment refuses ([`Refused`](crate::message::Refused)), also
    /// those that were made since and are not sent, and shows the document as the deployment has it. It works without a
    /// connection too: then the document is as the deployment had it last. A document that was new, and that the
    /// deployment does not have, goes: its entity is despawned. Edits of other documents are not concerned.
    ///
    /// If the deployment does not refuse the document, nothing happens, and
    /// [`SyncFailed`](crate::message::SyncFailed) says so.
    pub fn discard(&mut self, id: &DocumentId) {
        let id = id.clone();
        self.queue(move |world, collection| document::discard(world, collection, &id));
    }

    /// Offers a document again that the deployment refuses, as soon as there is a connection: the rules may have changed
    /// since. Each connection does this for all refused documents.
    pub fn retry(&mut self, id: &DocumentId) {
        let id = id.clone();
        self.queue(move |world, collection| document::retry(world, collection, &id));
    }

    /// Shows a document again that was hidden by despawning its entity or removing its [`DocumentId`], and components
    /// of it that were removed.
    pub fn show(&mut self, id: &DocumentId) {
        let id = id.clone();
        self.queue(move |world, collection| document::show(world, collection, &id));
    }

    /// [Shows](Self::show) all documents of the collection again.
    pub fn show_all(&mut self) {
        self.queue(document::show_all);
    }

    /// A document's `T`; `None` if it is not shown in this world.
    pub fn get(&self, id: &DocumentId) -> Option<&T> {
        Some(self.documents.get(self.entity(id)?).ok()?.2)
    }

    /// The entity that shows a document.
    pub fn entity(&self, id: &DocumentId) -> Option<Entity> {
        self.index.as_ref()?.entity(self.index_of_collection()?, id)
    }

    /// The document that an entity shows, if it belongs to this collection.
    pub fn id(&self, entity: Entity) -> Option<&DocumentId> {
        let DocumentKey { collection, id } = self.index.as_ref()?.document(entity)?;
        (Some(*collection) == self.index_of_collection()).then_some(id)
    }

    /// The entity that shows the document named by `reference`.
    pub fn resolve(&self, reference: &DocumentRef<T>) -> Option<Entity> {
        self.entity(reference.id())
    }

    /// All documents that have a `T` and are shown.
    pub fn iter(&self) -> impl Iterator<Item = (Entity, &DocumentId, &T)> {
        self.documents.iter()
    }

    /// The number of documents that this world shows.
    pub fn len(&self) -> usize {
        self.documents.iter().len()
    }

    /// Whether this world shows no document of the collection.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Whether everything the store has of the collection is in this world.
    pub fn is_ready(&self) -> bool {
        let ready = || Some(self.progress.as_ref()?.is_ready(self.index_of_collection()?));
        ready().unwrap_or(false)
    }

    fn index_of_collection(&self) -> Option<CollectionIndex> {
        self.collections.as_ref()?.collection_of(TypeId::of::<T>())
    }

    fn queue(&mut self, change: impl FnOnce(&mut World, CollectionIndex) + Send + 'static) {
        self.commands.queue(move |world: &mut World| {
            if let Some(collection) = document::collection_of::<T>(world) {
                change(world, collection);
            }
        });
    }
}
