//! Registering collections.

use std::{any::TypeId, sync::Arc};

use bevy::{
    ecs::{component::ComponentId, resource::IS_RESOURCE},
    prelude::*,
};

use super::prepare;
use crate::{
    ecs::{
        Collections, Conversions, Convert, DocumentComponents, DocumentIndex, LocalParts, Replicated, Tuple, Typed,
        hierarchy,
    },
    failure::FailureKind,
};

/// The longest name of a collection: it is a module's name, and goes with every call.
const COLLECTION_NAME_BYTES: usize = 64;
/// Indices of collections are 16 bits wide.
const COLLECTIONS: usize = u16::MAX as usize;

/// Registers collections with an [`App`].
pub trait ReplicateAppExt {
    /// Keeps every entity with a `T` and a [`DocumentId`](crate::DocumentId) as a document of `collection`, and brings the documents that are
    /// there or come from others into the world.
    ///
    /// A collection's name is that of its module of functions in Convex. What cannot be registered (a `T` that is no struct with named
    /// fields, a name that is taken) is told in the log and as [`SyncFailed`](crate::message::SyncFailed), and left out; the app goes on.
    fn replicate<T: Replicated>(&mut self, collection: &str) -> &mut Self;

    /// The same for documents that hold several components: `app.replicate_bundle::<(Player, Position)>("players")`. Their
    /// fields stand side by side in the document, so no two components may have a field of the same name.
    ///
    /// An entity need not have all of them. It has those of which the document has at least one field.
    ///
    /// A component type may be in several collections, `(Player, Transform)` and `(Enemy, Transform)`. The components
    /// that are in one collection alone say to which an entity belongs, so each collection needs one. Messages of a
    /// shared component ([`DocumentChanged`](crate::message::DocumentChanged),
    /// [`CollectionReady`](crate::message::CollectionReady)) are those of all its collections;
    /// [`Documents::collection`](crate::collection::Documents::collection) says which one an entity is of.
    fn replicate_bundle<B: DocumentComponents>(&mut self, collection: &str) -> &mut Self;

    /// Keeps bevy's [`ChildOf`] in step with [`DocumentParent<T>`](crate::collection::DocumentParent), which is
    /// registered beside the children's component, as the example there shows. `T` is a component of the parents'
    /// collection.
    ///
    /// - An app that inserts, changes or removes `ChildOf` of a document's entity edits the document, if the parent is
    ///   a document too.
    /// - The parent that the document names becomes `ChildOf` when both are shown, whichever comes first. A parent that
    ///   is not shown is no error: the document goes on naming it.
    /// - A parent that is no document (a root of the user interface) is the app's own affair, and gives way to the
    ///   document's parent when that is shown. Moving a document from its parent to such an entity takes it out of the
    ///   parent, for everyone.
    /// - Two people may make two documents each other's child. Of the documents in a cycle, the one with the smallest
    ///   name is shown without a parent, in every app; nothing is written, and the next change of a parent in the cycle
    ///   resolves it.
    /// - A document that is deleted, here or elsewhere, does not take its children along: they lose `ChildOf` before
    ///   bevy despawns it, and keep the reference. Despawning a parent hides the children's documents with it, as bevy
    ///   despawns them.
    fn replicate_hierarchy<T: 'static>(&mut self) -> &mut Self;

    /// Reads documents that other versions of the app have written, where serde's attributes (`default`, `alias`,
    /// `other`) cannot express how: `convert` makes a document what `T` reads. It runs on the worker, each time a
    /// document is read, on a copy: the document itself stays as it is until somebody edits it, so that two versions of
    /// an app can be in use at once.
    ///
    /// It must be a pure function, must leave a document alone that it has converted already, and must not remove what
    /// it does not know. Give what has another form a field of another name: older versions go on with the old field
    /// then.
    ///
    /// ```
    /// # use bevy::prelude::*;
    /// # use bevy_convex_replicate::{format::Value, prelude::*};
    /// #[derive(Component, Serialize, Deserialize, Clone)]
    /// struct Window {
    ///     width: u32,
    ///     height: u32,
    /// }
    ///
    /// # let mut app = App::new();
    /// // Earlier versions had one `size` for both.
    /// app.replicate::<Window>("windows").convert::<Window>(|document| {
    ///     if let Value::Map(fields) = document
    ///         && let Some(size) = fields.get("size").cloned()
    ///     {
    ///         fields.entry("width".into()).or_insert_with(|| size.clone());
    ///         fields.entry("height".into()).or_insert(size);
    ///     }
    /// });
    /// ```
    fn convert<T: Replicated>(&mut self, convert: Convert) -> &mut Self;

    /// Keeps what a `T` has beside its document (`#[serde(skip)]`) when a version from elsewhere replaces it: `keep` is
    /// given the `T` that the entity shows and the one that arrives, and moves over what is local. Without it those
    /// fields become what serde makes of them, their default.
    ///
    /// ```
    /// # use bevy::prelude::*;
    /// # use bevy_convex_replicate::prelude::*;
    /// #[derive(Component, Serialize, Deserialize, Clone)]
    /// struct Task {
    ///     text: String,
    ///     #[serde(skip)]
    ///     is_selected: bool,
    /// }
    ///
    /// # let mut app = App::new();
    /// app.replicate::<Task>("tasks").keep_local::<Task>(|shown, arriving| arriving.is_selected = shown.is_selected);
    /// ```
    fn keep_local<T: Replicated>(&mut self, keep: fn(&T, &mut T)) -> &mut Self;
}

impl ReplicateAppExt for App {
    fn replicate<T: Replicated>(&mut self, collection: &str) -> &mut Self {
        register::<(T,)>(self, collection);
        self
    }

    fn replicate_bundle<B: DocumentComponents>(&mut self, collection: &str) -> &mut Self {
        register::<B>(self, collection);
        self
    }

    fn replicate_hierarchy<T: 'static>(&mut self) -> &mut Self {
        prepare(self);
        hierarchy::register::<T>(self);
        self
    }

    fn convert<T: Replicated>(&mut self, convert: Convert) -> &mut Self {
        self.world_mut().get_resource_or_init::<Conversions>().add::<T>(convert);
        self
    }

    fn keep_local<T: Replicated>(&mut self, keep: fn(&T, &mut T)) -> &mut Self {
        self.insert_resource(LocalParts::<T> { keep });
        self
    }
}

fn register<B: Tuple>(app: &mut App, collection: &str) {
    prepare(app);
    if let Err(message) = try_register::<B>(app, collection) {
        let message = format!("the collection was not registered: {message}");
        app.world_mut().resource_mut::<DocumentIndex>().fail(
            FailureKind::Registration,
            Some(collection),
            None,
            message,
        );
    }
}

fn try_register<B: Tuple>(app: &mut App, collection: &str) -> Result<(), String> {
    if !is_module_name(collection) {
        return Err(format!(
            "a name is that of a module in Convex: letters, digits and `_`, starting with a letter, folders separated by `/`, \
             and at most {COLLECTION_NAME_BYTES} bytes"
        ));
    }
    let components = B::prepare(app);
    let conversions = app.world_mut().get_resource_or_init::<Conversions>().clone();
    let collections = app.world().resource::<Collections>();
    if collections.is_sealed() {
        return Err("the app is running already; register collections before it runs".into());
    }
    if collections.is_name(collection) {
        return Err("there is another of that name; use replicate_bundle for several components in one document".into());
    }
    if collections.len() >= COLLECTIONS {
        return Err(format!("there are {COLLECTIONS} already, which is all there can be"));
    }
    let mut fields = Vec::new();
    let mut owners: Vec<(&'static str, &'static str)> = Vec::new();
    for (at, component) in components.iter().enumerate() {
        if components[..at].iter().any(|other| other.type_id == component.type_id) {
            return Err(format!("{} is there twice", component.name));
        }
        let shape = component.shape.as_ref().map_err(ToString::to_string)?;
        if is_resource(app.world(), component.id) {
            return Err(format!(
                "{} is a resource, of which a world has one, and each document is an entity of its own: a second one would be dropped by bevy. \
                 Make it a component, spawn it with a DocumentId that all apps know, and read it with a Single",
                component.name
            ));
        }
        if components.len() > 1 && shape.fields.as_ref().is_some_and(Vec::is_empty) {
            return Err(format!(
                "{} has no fields, so a document could not say whether it is there; give it one, e.g. `struct Frozen {{ frozen: bool }}`",
                component.name
            ));
        }
        for &field in shape.fields.iter().flatten() {
            if let Some((_, other)) = owners.iter().find(|(owned, _)| *owned == field) {
                return Err(format!(
                    "{other} and {} both have a field `{field}`; rename one with #[serde(rename = \"..\")]",
                    component.name
                ));
            }
            owners.push((field, component.name));
        }
        fields.push(shape.fields.clone());
    }
    let ids: Vec<(ComponentId, TypeId)> =
        components.iter().map(|component| (component.id, component.type_id)).collect();
    if let Some(undecided) = collections.undecided(collection, &ids) {
        let names: Vec<_> = components.iter().map(|component| component.name).collect();
        return Err(format!(
            "with {} in it, every component of {undecided} is in another collection too, so none says to which an entity belongs; \
             give it one that is in {undecided} alone",
            names.join(", ")
        ));
    }
    app.world_mut().resource_mut::<Collections>().add(
        collection,
        Arc::new(Typed::<B>::new(fields).with_conversions(conversions)),
        &ids,
    );
    Ok(())
}

fn is_resource(world: &World, component: ComponentId) -> bool {
    let info = world.components().get_info(component);
    info.is_some_and(|info| info.required_components().iter_ids().any(|required| required == IS_RESOURCE))
}

fn is_module_name(name: &str) -> bool {
    name.len() <= COLLECTION_NAME_BYTES
        && name.split('/').all(|part| {
            part.starts_with(|first: char| first.is_ascii_alphabetic())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_called_like_a_module() {
        for name in ["tasks", "a", "board_2", "games/chess"] {
            assert!(is_module_name(name), "{name}");
        }
        let long = "a".repeat(65);
        for name in ["", "2", "_tasks", "my-tasks", "tasks:push", "a//b", "/a", "a/", "tâche", &long] {
            assert!(!is_module_name(name), "{name}");
        }
    }
}
