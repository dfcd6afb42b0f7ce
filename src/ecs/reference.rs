//! References from one document to another.

use std::{any::TypeId, fmt, hash, marker::PhantomData};

use bevy::{
    ecs::system::SystemParam,
    prelude::*,
    reflect::{ReflectDeserialize, ReflectSerialize, TypePath, utility::GenericTypePathCell},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{collections::Collections, index::DocumentIndex};
use crate::{CollectionIndex, DocumentId, DocumentKey};

/// A reference to a document of `T`'s collection, as a field of a component. Documents refer to each other by this, as
/// entities of one world do by [`Entity`]. (An `Entity` is a number that has a meaning in one run of one app only, so a
/// component with one is refused.)
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_convex_replicate::prelude::*;
/// #[derive(Component, Serialize, Deserialize, Clone)]
/// struct Player {
///     name: String,
/// }
///
/// #[derive(Component, Serialize, Deserialize, Clone)]
/// struct Turret {
///     target: Option<DocumentRef<Player>>,
/// }
///
/// fn aim(turrets: Query<&Turret>, players: Query<&Player>, documents: Documents) {
///     for turret in &turrets {
///         // `None` while the player is not shown: it has not arrived, was deleted, or is hidden.
///         let target = turret.target.as_ref().and_then(|target| documents.entity(target));
///         if let Some(player) = target.and_then(|entity| players.get(entity).ok()) {
///             println!("aims at {}", player.name);
///         }
///     }
/// }
/// ```
///
/// A reference is a value and never an error: it may name a document that does not exist yet, exists no longer, or
/// never existed. [`Documents::entity`] returns the entity that shows it now, which costs two look-ups; so ask each
/// time, and do not store the entity. To react when the target arrives, read
/// [`DocumentChanged<T>`](crate::message::DocumentChanged) of the kind
/// [`Inserted`](crate::message::ChangeKind::Inserted), and compare its `id` with [`DocumentRef::id`].
///
/// serde writes it as the document's name, as it writes a [`DocumentId`]: a string that is replaced whole. `T` needs no
/// trait; it names the collection, and must be registered in one collection alone.
#[derive(Reflect)]
#[reflect(opaque, Clone, Debug, PartialEq, Hash, Serialize, Deserialize)]
#[reflect(type_path = false, where T: 'static)]
pub struct DocumentRef<T: 'static> {
    id: DocumentId,
    of: PhantomData<fn() -> T>,
}

impl<T> DocumentRef<T> {
    /// A reference to the document of that name.
    pub fn new(id: impl Into<DocumentId>) -> Self {
        Self { id: id.into(), of: PhantomData }
    }

    /// The document's name.
    pub fn id(&self) -> &DocumentId {
        &self.id
    }

    /// The document's name.
    pub fn into_id(self) -> DocumentId {
        self.id
    }

    /// The entity that shows the document in `world`; `None` if there is none. Systems use [`Documents::entity`].
    pub fn entity(&self, world: &World) -> Option<Entity> {
        entity_of(world.get_resource()?, world.get_resource()?, self)
    }
}

fn entity_of<T: 'static>(
    index: &DocumentIndex,
    collections: &Collections,
    reference: &DocumentRef<T>,
) -> Option<Entity> {
    index.entity(collections.collection_of(TypeId::of::<T>())?, &reference.id)
}

impl<T> From<DocumentId> for DocumentRef<T> {
    fn from(id: DocumentId) -> Self {
        Self::new(id)
    }
}

impl<T> From<&DocumentId> for DocumentRef<T> {
    fn from(id: &DocumentId) -> Self {
        Self::new(id.clone())
    }
}

impl<T> From<DocumentRef<T>> for DocumentId {
    fn from(reference: DocumentRef<T>) -> Self {
        reference.id
    }
}

impl<T> Clone for DocumentRef<T> {
    fn clone(&self) -> Self {
        Self::new(self.id.clone())
    }
}

impl<T> PartialEq for DocumentRef<T> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<T> Eq for DocumentRef<T> {}

impl<T> PartialOrd for DocumentRef<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for DocumentRef<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.id.cmp(&other.id)
    }
}

impl<T> hash::Hash for DocumentRef<T> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl<T> fmt::Debug for DocumentRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DocumentRef({})", self.id)
    }
}

impl<T> fmt::Display for DocumentRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl<T> Serialize for DocumentRef<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.id.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for DocumentRef<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DocumentId::deserialize(deserializer).map(Self::new)
    }
}

/// Written by hand, because a derived one requires `T: TypePath`.
impl<T: 'static> TypePath for DocumentRef<T> {
    fn type_path() -> &'static str {
        static CELL: GenericTypePathCell = GenericTypePathCell::new();
        CELL.get_or_insert::<Self, _>(|| {
            format!("bevy_convex_replicate::ecs::DocumentRef<{}>", std::any::type_name::<T>())
        })
    }

    fn short_type_path() -> &'static str {
        static CELL: GenericTypePathCell = GenericTypePathCell::new();
        CELL.get_or_insert::<Self, _>(|| {
            let name = std::any::type_name::<T>();
            format!("DocumentRef<{}>", name.rsplit("::").next().unwrap_or(name))
        })
    }

    fn type_ident() -> Option<&'static str> {
        Some("DocumentRef")
    }

    fn crate_name() -> Option<&'static str> {
        Some("bevy_convex_replicate")
    }

    fn module_path() -> Option<&'static str> {
        Some("bevy_convex_replicate::ecs")
    }
}

/// The entities that show documents, for all collections: a system parameter. It reads no component, so it conflicts
/// with no query.
#[derive(SystemParam)]
pub struct Documents<'w> {
    index: Option<Res<'w, DocumentIndex>>,
    collections: Option<Res<'w, Collections>>,
}

impl Documents<'_> {
    /// The entity that shows the document; `None` if there is none now, or if `T` is in no collection or in several.
    pub fn entity<T: 'static>(&self, reference: &DocumentRef<T>) -> Option<Entity> {
        entity_of(self.index.as_ref()?, self.collections.as_ref()?, reference)
    }

    /// A reference to the document that `entity` shows; `None` if it shows no document of `T`'s collection.
    pub fn reference<T: 'static>(&self, entity: Entity) -> Option<DocumentRef<T>> {
        let DocumentKey { collection, id } = self.index.as_ref()?.document(entity)?;
        let of_t = self.collections.as_ref()?.collection_of(TypeId::of::<T>())?;
        (*collection == of_t).then(|| id.into())
    }

    /// The collection of `T`; `None` if it is in none or in several.
    pub fn collection_of<T: 'static>(&self) -> Option<CollectionIndex> {
        self.collections.as_ref()?.collection_of(TypeId::of::<T>())
    }

    /// The name of the collection whose document `entity` shows. It distinguishes collections that share a component.
    pub fn collection(&self, entity: Entity) -> Option<&str> {
        let collection = self.index.as_ref()?.document(entity)?.collection;
        Some(&self.collections.as_ref()?.get(collection)?.name)
    }
}
