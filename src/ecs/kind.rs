//! The kinds of [`DocumentParent`] that an app replicates, with their types erased.

use std::{
    any::TypeId,
    sync::{Mutex, PoisonError},
};

use bevy::{
    ecs::{message::MessageCursor, world::DeferredWorld},
    prelude::*,
};

use super::{parent::DocumentParent, reference::DocumentRef};
use crate::{DocumentId, message::DocumentChanged};

/// One kind of [`DocumentParent`], without its type.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// The component.
    pub component: TypeId,
    /// The component of the parents' collection.
    pub parents: TypeId,
    /// The component's type name.
    pub name: &'static str,
    /// The parent that an entity's component names; `None` without the component.
    pub read: fn(EntityRef) -> Option<Option<DocumentId>>,
    /// Makes an entity's component name this parent.
    pub write: fn(&mut DeferredWorld, Entity, Option<DocumentId>),
}

impl Kind {
    pub fn of<T: 'static>() -> Self {
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

/// Finds the documents of a kind that were changed.
pub(super) trait Gather: Send + Sync {
    /// Adds the entities of documents whose parent was changed since the last call to `changed`.
    fn gather(&self, world: &World, changed: &mut Vec<Entity>);
}

/// Finds them by reading messages. The cursor is locked, so that a frame without messages needs nothing but `&World`.
pub(super) struct Changes<T: 'static>(Mutex<MessageCursor<DocumentChanged<DocumentParent<T>>>>);

impl<T: 'static> Gather for Changes<T> {
    fn gather(&self, world: &World, changed: &mut Vec<Entity>) {
        if let Some(messages) = world.get_resource() {
            let mut cursor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            changed.extend(cursor.read(messages).filter_map(|change| change.entity));
        }
    }
}

impl<T: 'static> Default for Changes<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
