//! An edit of the world, as it goes from the world's side to the replica.

use super::{EditSeq, Generation};
use crate::{format::Value, id::DocumentKey};

/// An edit of the world. `V` is the content of an entity: a captured component on the way to the worker, and then its
/// value with a mask. The mask has bit `i` set for each of the collection's component types that the value covers.
#[derive(Clone, Debug)]
pub struct Edit<V = (Value, u32)> {
    /// The document.
    pub document: DocumentKey,
    /// The generation the entity showed.
    pub generation: Generation,
    /// The count of this edit, from 1.
    pub seq: EditSeq,
    /// The kind of the edit.
    pub kind: EditKind<V>,
}

/// A kind of edit.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "internals"), non_exhaustive)]
pub enum EditKind<V = (Value, u32)> {
    /// Set the document's content.
    Put {
        /// The content.
        value: V,
        /// Why.
        put: Put,
    },
    /// Delete the document.
    Delete,
    /// Restore the deleted document.
    Restore,
}

impl<V> EditKind<V> {
    /// An entity that shows the document was changed to this.
    pub fn put(value: V) -> Self {
        Self::Put { value, put: Put::Edited }
    }

    /// The same edit with its content in another form.
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
#[cfg_attr(not(feature = "internals"), non_exhaustive)]
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
