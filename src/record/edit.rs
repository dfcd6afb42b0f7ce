//! An edit of the world, as it goes from the world's side to the replica.

use super::{EditSeq, Generation};
use crate::{format::Value, id::DocumentKey};

/// An edit of the world. `V` is what an entity holds: a captured component on the way to the worker, then the value
/// that was made of it and a mask with bit `i` set for each of the collection's component types that the value speaks
/// of.
#[derive(Clone, Debug)]
pub struct Edit<V = (Value, u32)> {
    /// The document.
    pub document: DocumentKey,
    /// The generation the entity showed.
    pub generation: Generation,
    /// The count of this edit, from 1.
    pub seq: EditSeq,
    /// What happened to it.
    pub kind: EditKind<V>,
}

/// What the world did to the document.
#[derive(Clone, Debug)]
pub enum EditKind<V = (Value, u32)> {
    /// It holds this now.
    Put {
        /// What it holds.
        value: V,
        /// Why.
        put: Put,
    },
    /// It is deleted.
    Delete,
    /// It is no longer deleted.
    Restore,
}

impl<V> EditKind<V> {
    /// An entity that shows the document was changed to this.
    pub fn put(value: V) -> Self {
        Self::Put { value, put: Put::Edited }
    }

    /// The same edit with another form of what the entity holds.
    pub(crate) fn try_map<W, E>(self, convert: impl FnOnce(V) -> Result<W, E>) -> Result<EditKind<W>, E> {
        Ok(match self {
            Self::Put { value, put } => EditKind::Put { value: convert(value)?, put },
            Self::Delete => EditKind::Delete,
            Self::Restore => EditKind::Restore,
        })
    }
}

/// Why the world puts a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Put {
    /// An entity that shows the document was changed.
    #[default]
    Edited,
    /// An entity was given the document's name. If the document exists already, it is shown instead; if it is deleted,
    /// it is restored.
    Spawned,
    /// The app wants the document to exist. If it exists already, it is shown instead; if it is deleted, it stays
    /// deleted.
    Ensured,
}
