//! How documents and collections are named.

use std::{fmt, sync::Arc};

/// The name of a document within its collection: any text of 1 to
/// [`DOCUMENT_ID_BYTES`](crate::limits::DOCUMENT_ID_BYTES) bytes of UTF-8. New ones are UUIDs of version 7, which sort by
/// the time they were made.
///
/// In a Bevy app it is also the component that makes an entity a document: spawned beside a component of a collection it
/// makes a new document there, and removed (or despawned) it hides the document from this world without deleting it. It cannot
/// be changed in place, and cloning an entity does not clone it: the clone is no document.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "bevy", derive(bevy::ecs::component::Component))]
#[cfg_attr(
    feature = "bevy",
    component(
        immutable,
        clone_behavior = Ignore,
        on_add = crate::ecs::identity::on_add,
        on_insert = crate::ecs::identity::on_insert,
        on_discard = crate::ecs::identity::on_discard,
        on_remove = crate::ecs::identity::on_remove
    )
)]
pub struct DocumentId(Arc<str>);

impl DocumentId {
    /// The document of that name.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// A name that no other document has.
    pub fn random() -> Self {
        Self::new(uuid::Uuid::now_v7().hyphenated().to_string())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for DocumentId {
    fn default() -> Self {
        Self::random()
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DocumentId({})", self.0)
    }
}

/// A collection, by the order in which the app registered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionIndex(pub u16);

/// A document of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    /// The collection it belongs to.
    pub collection: CollectionIndex,
    /// Its name there.
    pub id: DocumentId,
}
