//! Registers collections.

use std::{any::TypeId, sync::Arc, time::Duration};

use bevy::{
    ecs::{component::ComponentId, resource::IS_RESOURCE},
    prelude::*,
};

use super::prepare;
use crate::{
    ecs::{
        Collections, Conversions, Convert, DocumentComponents, LocalParts, Replicated, Tuple, Typed, hierarchy,
        interpolate, presence,
    },
    format::FormatError,
};

/// The longest name of a collection: it is the name of a module in Convex, and part of every call.
const COLLECTION_NAME_BYTES: usize = 64;
/// Indices of collections are 16 bits wide.
const COLLECTIONS: usize = u16::MAX as usize;
/// The rates of edits that can be chosen. An edit that waits is not saved yet, so it waits for ten seconds at most; and
/// the worker's clock counts milliseconds.
const RATES: std::ops::RangeInclusive<f64> = 0.1..=1_000.0;

/// Registers collections with an [`App`].
pub trait ReplicateAppExt {
    /// Saves and synchronises every entity with a `T` and a [`DocumentId`](crate::DocumentId) as a document of
    /// `collection`, and brings the collection's documents from the store and from other apps into the world.
    ///
    /// On Convex, the module with the collection's functions must have the same name.
    ///
    /// If `T` is [`Reflect`] with `#[reflect(Component)]` and registered with the app, tools such as
    /// bevy-inspector-egui show it. Bevy registers such types by itself with its feature `reflect_auto_register`, a
    /// default; otherwise call `app.register_type::<T>()`.
    ///
    /// # Panics
    ///
    /// Panics if the collection cannot be registered: `T` is no struct with named fields, the name is taken or is no
    /// name of a module, or the app is running already. The message says what to do.
    fn replicate<T: Replicated>(&mut self, collection: &str) -> &mut Self;

    /// Registers a collection whose documents hold several components: `app.replicate_components::<(Player,
    /// Position)>("players")`. Their fields are side by side in the document, so no two components may have a field of
    /// the same name.
    ///
    /// An entity need not have all of them. It has those of which the document has at least one field.
    ///
    /// A component type may be in several collections: `(Player, Transform)` and `(Enemy, Transform)`. The components
    /// that are in one collection alone decide to which an entity belongs, so each collection needs one. Messages about
    /// a shared component ([`DocumentChanged`](crate::message::DocumentChanged),
    /// [`CollectionReady`](crate::message::CollectionReady)) are written for all its collections;
    /// [`Documents::collection`](crate::collection::Documents::collection) returns the collection of an entity.
    ///
    /// # Panics
    ///
    /// As [`replicate`](Self::replicate), and when two components have a field of the same name, one has no fields, or
    /// a collection would have no component of its own.
    fn replicate_components<B: DocumentComponents>(&mut self, collection: &str) -> &mut Self;

    /// Lets the apps that share a collection show each other a `T` while they are connected: see
    /// [`Presence<T>`](crate::ecs::Presence), which this adds as a resource. The values are not stored. Whoever may read
    /// the collection, or the scope that is entered, sees and shows them there.
    ///
    /// # Panics
    ///
    /// Panics if the collection or `T` has a presence already, or the app is running; and when the app starts, if the
    /// collection is not registered. The message says what to do.
    fn replicate_presence<T: Replicated>(&mut self, collection: &str) -> &mut Self;

    /// Moves the entity of each peer smoothly to where its value says: `target` gives the place. The entity's
    /// [`Transform`] is inserted with the first value, and takes to the next one as long as the values are apart.
    ///
    /// ```
    /// # use bevy::prelude::*;
    /// # use bevy_convex_replicate::prelude::*;
    /// # #[derive(Component, Serialize, Deserialize, Clone)]
    /// # struct Prop { name: String }
    /// #[derive(Component, Serialize, Deserialize, Clone)]
    /// struct Avatar {
    ///     x: f32,
    ///     y: f32,
    /// }
    ///
    /// # let mut app = App::new();
    /// app.replicate::<Prop>("props")
    ///     .replicate_presence::<Avatar>("props")
    ///     .interpolate_presence::<Avatar>(|avatar| Transform::from_xyz(avatar.x, avatar.y, 0.0));
    /// ```
    fn interpolate_presence<T: Replicated>(&mut self, target: fn(&T) -> Transform) -> &mut Self;

    /// Keeps bevy's [`ChildOf`] in step with [`DocumentParent<T>`](crate::collection::DocumentParent), which is
    /// registered beside the children's component, as the example there shows. `T` is a component of the parents'
    /// collection.
    ///
    /// - When the app inserts, changes or removes `ChildOf` of a document's entity, that edits the document, if the
    ///   parent is a document too.
    /// - The parent that the document names becomes `ChildOf` when both are shown, whichever comes first. If the parent
    ///   is not shown, that is no error: the document keeps naming it.
    /// - A parent that is no document (a root of the user interface) is not replicated. The document's parent replaces
    ///   it as soon as that parent is shown. Moving a document from its parent to such an entity removes it from the
    ///   parent, for everyone.
    /// - Two people may make two documents each other's child. Every app shows one document of the cycle, the one with
    ///   the smallest name, without its parent. Nothing is written, and the next change of a parent in the cycle
    ///   resolves it.
    /// - When a document is deleted, here or elsewhere, its children's entities lose `ChildOf` before bevy despawns the
    ///   parent, and the children keep the reference. Despawning a parent hides the children's documents too, because
    ///   bevy despawns their entities.
    ///
    /// # Panics
    ///
    /// When the app starts: if [`DocumentParent<T>`](crate::collection::DocumentParent) is in no collection, or `T` is
    /// not in exactly one.
    fn replicate_hierarchy<T: 'static>(&mut self) -> &mut Self;

    /// Converts documents that other versions of the app have written, where serde's attributes (`default`, `alias`,
    /// `other`) cannot: `convert` turns a document into one that `T` reads. The worker calls it each time it reads a
    /// document, on a copy. The document itself stays as it is until somebody edits it, so two versions of
    /// an app can be in use at once.
    ///
    /// `convert` must be a pure function. It must not change a document that it has converted already, and must not
    /// remove fields that it does not know. If a field takes another form, give the new form another name: older
    /// versions then keep using the old field.
    ///
    /// ```
    /// # use bevy::prelude::*;
    /// # use bevy_convex_replicate::{Value, prelude::*};
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

    /// Keeps the fields of a `T` that are not in its document (`#[serde(skip)]`) when a version from elsewhere replaces
    /// it. `keep` gets the `T` that the entity shows and the one that arrives, and moves the local fields over. Without
    /// it, those fields get serde's default.
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

    /// Edits each document of this collection at most `hz` times a second. It is for components that change in every
    /// frame, such as a `Transform`, if others need not see each step.
    ///
    /// - The first change is an edit at once. Changes that follow within `1 / hz` seconds wait until this time is over,
    ///   and then become one edit to the last value. So the last value is always saved and sent.
    /// - A change that waits is not saved: it counts in [`SyncStatus::unsaved`](crate::message::SyncStatus::unsaved), and
    ///   [`DocumentChanged`](crate::message::DocumentChanged) comes with the edit. When the app exits, it is saved at
    ///   once. When the app crashes, it is lost.
    /// - Versions of the document from elsewhere are shown with that edit, so that they do not take the entity back.
    /// - Deleting, restoring or spawning a document never waits, and takes along the changes that do.
    ///
    /// Without a rate, an app edits as often as its worker keeps up with: captures that wait for the worker are one edit,
    /// too.
    ///
    /// ```
    /// # use bevy::prelude::*;
    /// # use bevy_convex_replicate::prelude::*;
    /// #[derive(Component, Serialize, Deserialize, Clone)]
    /// struct Piece {
    ///     x: f32,
    ///     y: f32,
    /// }
    ///
    /// # let mut app = App::new();
    /// app.replicate::<Piece>("pieces").rate("pieces", 10.0);
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if no collection has this name yet, or `hz` is not between 0.1 and 1000.
    fn rate(&mut self, collection: &str, hz: f64) -> &mut Self;

    /// Declares that pages of convex-replicate 0.2 write the documents of this collection, too. Those pages fail in
    /// every write after they touched a document with a [`Counter`](crate::format::Counter), a scalar string, a
    /// timestamp, bytes or another value that JavaScript holds in a class of its own. So a component that can hold one
    /// is refused. Pages that use the official client directly have no such limit: docs/web.md.
    ///
    /// ```
    /// # use bevy::prelude::*;
    /// # use bevy_convex_replicate::prelude::*;
    /// #[derive(Component, Serialize, Deserialize, Clone)]
    /// struct Task {
    ///     text: String,
    ///     is_completed: bool,
    /// }
    ///
    /// # let mut app = App::new();
    /// app.replicate::<Task>("tasks").web_compatible("tasks");
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if no collection has this name yet, or one of its components can hold such a value. The message names
    /// the field and what to use.
    fn web_compatible(&mut self, collection: &str) -> &mut Self;
}

/// Says why a component would break pages of the original library.
type WebCheck = fn() -> Result<(), FormatError>;

/// The checks of each collection's components, by the collection's name.
#[derive(Resource, Default)]
struct WebChecks(Vec<(String, Vec<WebCheck>)>);

impl ReplicateAppExt for App {
    fn replicate<T: Replicated>(&mut self, collection: &str) -> &mut Self {
        register::<(T,)>(self, collection);
        self
    }

    fn replicate_components<B: DocumentComponents>(&mut self, collection: &str) -> &mut Self {
        register::<B>(self, collection);
        self
    }

    fn replicate_presence<T: Replicated>(&mut self, collection: &str) -> &mut Self {
        prepare(self);
        let is_sealed = self.world().resource::<Collections>().is_sealed();
        let registered = match is_sealed {
            true => Err("the app is running already; register it before the app runs".to_owned()),
            false => presence::register::<T>(self, collection),
        };
        if let Err(message) = registered {
            panic!("the presence of the collection \"{collection}\" cannot be registered: {message}");
        }
        self
    }

    fn interpolate_presence<T: Replicated>(&mut self, target: fn(&T) -> Transform) -> &mut Self {
        interpolate::register(self, target);
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

    fn rate(&mut self, collection: &str, hz: f64) -> &mut Self {
        let collections = self.world().get_resource::<Collections>();
        let Some(index) = collections.and_then(|collections| collections.index_of(collection)) else {
            panic!("there is no collection \"{collection}\"; call rate after replicate, with the same name");
        };
        if !RATES.contains(&hz) {
            panic!("the rate of the collection \"{collection}\" is {hz}; choose one from 0.1 to 1000 edits a second");
        }
        let interval = Duration::from_secs_f64(1.0 / hz);
        self.world_mut().resource_mut::<Collections>().set_interval(index, interval);
        self
    }

    fn web_compatible(&mut self, collection: &str) -> &mut Self {
        let checks = self.world().get_resource::<WebChecks>();
        let Some((_, checks)) = checks.and_then(|checks| checks.0.iter().find(|(name, _)| name == collection)) else {
            panic!("there is no collection \"{collection}\"; call web_compatible after replicate, with the same name");
        };
        for check in checks {
            if let Err(error) = check() {
                panic!("the collection \"{collection}\" cannot be web_compatible: {error}");
            }
        }
        self
    }
}

/// Registers a collection. Panics if that is not possible, because it is a mistake in the app's code.
fn register<B: Tuple>(app: &mut App, collection: &str) {
    prepare(app);
    if let Err(message) = try_register::<B>(app, collection) {
        panic!("the collection \"{collection}\" cannot be registered: {message}");
    }
}

fn try_register<B: Tuple>(app: &mut App, collection: &str) -> Result<(), String> {
    if !is_module_name(collection) {
        return Err(format!(
            "its name must be that of a module in Convex: letters, digits and `_`, starting with a letter, folders separated by `/`, \
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
        return Err(
            "another collection has that name; for several components in one document, use replicate_components".into(),
        );
    }
    if collections.len() >= COLLECTIONS {
        return Err(format!("there are {COLLECTIONS} collections already, which is the maximum"));
    }
    let mut fields = Vec::new();
    let mut owners: Vec<(&'static str, &'static str)> = Vec::new();
    for (at, component) in components.iter().enumerate() {
        if components[..at].iter().any(|other| other.type_id == component.type_id) {
            return Err(format!("{} is listed twice", component.name));
        }
        let shape = component.shape.as_ref().map_err(ToString::to_string)?;
        if is_resource(app.world(), component.id) {
            return Err(format!(
                "{} is a resource. A world has one of it, but each document is an entity of its own, so bevy would drop the second document. \
                 Make it a component, spawn it with a DocumentId that all apps know, and read it with a Single",
                component.name
            ));
        }
        if components.len() > 1 && shape.fields.as_ref().is_some_and(Vec::is_empty) {
            return Err(format!(
                "{} has no fields, so a document could not say whether it has the component; give it one, e.g. `struct Frozen {{ frozen: bool }}`",
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
            "with {}, every component of {undecided} would be in another collection too, so none would decide to which an entity belongs; \
             add a component that is in {undecided} alone",
            names.join(", ")
        ));
    }
    app.world_mut().resource_mut::<Collections>().add(
        collection,
        Arc::new(Typed::<B>::new(fields).with_conversions(conversions)),
        &ids,
    );
    let checks = components.iter().map(|component| component.web_compatible).collect();
    app.world_mut().get_resource_or_init::<WebChecks>().0.push((collection.to_owned(), checks));
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
    fn a_collection_is_named_like_a_module() {
        for name in ["tasks", "a", "board_2", "games/chess"] {
            assert!(is_module_name(name), "{name}");
        }
        let long = "a".repeat(65);
        for name in ["", "2", "_tasks", "my-tasks", "tasks:push", "a//b", "/a", "a/", "tâche", &long] {
            assert!(!is_module_name(name), "{name}");
        }
    }
}
