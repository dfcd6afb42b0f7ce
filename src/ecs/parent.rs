//! [`DocumentParent`]: the parent of a document, as one of its components.

use bevy::{
    prelude::*,
    reflect::{ReflectDeserialize, ReflectSerialize, TypePath, utility::GenericTypePathCell},
};
use serde::{Deserialize, Serialize};

use super::reference::DocumentRef;
use crate::DocumentId;

/// The parent of a document, as one of its components: the replicated form of bevy's [`ChildOf`]. `T` is a component of
/// the parents' collection, which may be the collection of the children.
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_convex_replicate::prelude::*;
/// # #[derive(Component, Serialize, Deserialize, Clone)]
/// # struct Task { text: String }
/// # fn build(app: &mut App) {
/// app.replicate_components::<(Task, DocumentParent<Task>)>("tasks").replicate_hierarchy::<Task>();
/// # }
///
/// fn plan(mut commands: Commands) {
///     let task = |text: &str| (Task { text: text.into() }, DocumentId::random());
///     // Both are documents, and the second names the first as its parent.
///     commands.spawn(task("build a house")).with_child(task("dig a hole"));
/// }
/// ```
///
/// An app reads and writes `ChildOf`. Inserting, changing or removing it edits this component, which is inserted where
/// it is missing. When another app changes the parent, `ChildOf` follows as soon as both documents are shown here,
/// whichever came first. See [`replicate_hierarchy`](crate::plugin::ReplicateAppExt::replicate_hierarchy) for the
/// rules.
///
/// In the document it is a field `parent`: a string that is replaced whole, or null.
#[derive(Component, Reflect, Serialize, Deserialize)]
#[serde(bound = "")]
#[reflect(opaque, Component, Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[reflect(type_path = false, where T: 'static)]
pub struct DocumentParent<T: 'static> {
    /// The parent. It may be a document that does not exist.
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

/// Written by hand, because a derived one requires `T: TypePath`.
impl<T: 'static> TypePath for DocumentParent<T> {
    fn type_path() -> &'static str {
        static CELL: GenericTypePathCell = GenericTypePathCell::new();
        CELL.get_or_insert::<Self, _>(|| {
            format!("bevy_convex_replicate::ecs::DocumentParent<{}>", std::any::type_name::<T>())
        })
    }

    fn short_type_path() -> &'static str {
        static CELL: GenericTypePathCell = GenericTypePathCell::new();
        CELL.get_or_insert::<Self, _>(|| {
            let name = std::any::type_name::<T>();
            format!("DocumentParent<{}>", name.rsplit("::").next().unwrap_or(name))
        })
    }

    fn type_ident() -> Option<&'static str> {
        Some("DocumentParent")
    }

    fn crate_name() -> Option<&'static str> {
        Some("bevy_convex_replicate")
    }

    fn module_path() -> Option<&'static str> {
        Some("bevy_convex_replicate::ecs")
    }
}
