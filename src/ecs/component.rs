//! One component type of a collection: what is done with each, before [`tuple`](super::tuple) puts them together.

use std::{any::type_name, collections::BTreeMap, marker::PhantomData};

use bevy::{
    ecs::{
        change_detection::Tick,
        component::Mutable,
        entity_disabling::Disabled,
        lifecycle::{HookContext, Remove},
        world::DeferredWorld,
    },
    prelude::*,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{advance, capture::capture_now, index::DocumentIndex};
use crate::{
    CollectionIndex, DocumentId,
    format::{self, FormatError, Value},
    message::{ChangeKind, CollectionReady, DeploymentRead, DocumentChanged},
    record::Origin,
};

/// A component that can be part of a document: anything serde reads and writes as a struct, and that is changed in place.
///
/// It is implemented for every type that can do it.
pub trait Replicated: Component<Mutability = Mutable> + Serialize + DeserializeOwned + Clone {}

impl<T: Component<Mutability = Mutable> + Serialize + DeserializeOwned + Clone> Replicated for T {}

/// What to tell of a document, without the type it is told of.
#[derive(Clone)]
pub struct Change {
    pub collection: CollectionIndex,
    pub id: DocumentId,
    pub entity: Option<Entity>,
    pub kind: ChangeKind,
    pub origin: Origin,
}

/// Prepares an app for documents with a `T`.
pub(super) fn prepare<T: Replicated>(app: &mut App) {
    app.add_message::<DocumentChanged<T>>()
        .add_message::<CollectionReady<T>>()
        .add_message::<DeploymentRead<T>>()
        .add_observer(removed::<T>);
}

/// `T` leaves an entity: what is dirty is captured while it is still there, and the document keeps its fields.
fn removed<T: Replicated>(remove: On<Remove, T>, mut world: DeferredWorld) {
    let entity = remove.entity;
    let Some(slot) = world.resource::<DocumentIndex>().slot_of(entity) else { return };
    let Some(bit) = super::collections::bit_of::<T>(&world, slot) else { return };
    capture_now(&mut world, entity);
    world.resource_mut::<DocumentIndex>().entry_mut(slot).absent |= bit;
}

/// A clone of `entity`'s `T` if it changed after `since` (or in any case), and whether it was not there before.
pub(super) fn changed<T: Replicated>(entity: EntityRef, since: Tick, now: Tick, any: bool) -> Option<(T, bool)> {
    let ticks = entity.get_change_ticks::<T>()?;
    if !any && !ticks.is_changed(since, now) {
        return None;
    }
    Some((entity.get::<T>()?.clone(), any || ticks.is_added(since, now)))
}

/// Whether `entity`'s `T` changed after `since`.
pub(super) fn is_changed<T: Replicated>(entity: EntityRef, since: Tick, now: Tick) -> bool {
    entity.get_change_ticks::<T>().is_some_and(|ticks| ticks.is_changed(since, now))
}

/// The root fields a component writes; `None` where only a value tells.
pub type Fields = Option<Vec<&'static str>>;

/// A document without the fields that other components of it have: what a component that takes all fields there are is
/// given.
fn rest(document: &Value, fields: &[Fields]) -> Value {
    let Value::Map(all) = document else { return document.clone() };
    let is_owned = |name: &str| fields.iter().flatten().flatten().any(|owned| *owned == name);
    Value::Map(
        all.iter().filter(|(name, _)| !is_owned(name)).map(|(name, held)| (name.clone(), held.clone())).collect(),
    )
}

/// The `T` of a document, the `at`th of its components. In a document of several components, one of which nothing is
/// there is not there, which is no problem.
pub(super) fn decode<T: Replicated>(
    document: &Value,
    fields: &[Fields],
    at: usize,
    problems: &mut Vec<FormatError>,
) -> Decoding<T> {
    let alone = fields.len() == 1;
    let held;
    let document = match &fields[at] {
        None if !alone => {
            held = rest(document, fields);
            &held
        }
        _ => document,
    };
    let fields = &fields[at];
    let is_there = match fields {
        Some(fields) => fields.is_empty() || fields.iter().any(|field| document.get(field).is_some()),
        None => true,
    };
    if !alone && !is_there {
        return Decoding::Absent;
    }
    match read::<T>(document) {
        Ok(value) => Decoding::Fits(value),
        // Whether it does not fit or is not there cannot be told.
        Err(_) if !alone && fields.is_none() => Decoding::Absent,
        Err(problem) => {
            problems.push(problem);
            Decoding::Misfit
        }
    }
}

/// What a document has of a component.
pub(super) enum Decoding<T> {
    Absent,
    Fits(T),
    Misfit,
}

impl<T> Decoding<T> {
    /// The component, if there is one. Notes in `misfits` if it does not fit.
    pub(super) fn part(self, bit: u32, misfits: &mut u32) -> Option<T> {
        match self {
            Decoding::Fits(value) => Some(value),
            Decoding::Absent => None,
            Decoding::Misfit => {
                *misfits |= bit;
                None
            }
        }
    }
}

/// The `T` of a document. A `Deserialize` that panics is an error of this document.
fn read<T: Replicated>(document: &Value) -> Result<T, FormatError> {
    format::guarded_type("Deserialize", type_name::<T>(), || format::from_document(document))
}

/// What `T` writes.
fn written<T: Replicated>(value: &T) -> Result<BTreeMap<String, Value>, FormatError> {
    match format::guarded_type("Serialize", type_name::<T>(), || format::to_value(value))?.into_map() {
        Ok(own) => Ok(own),
        Err(other) => Err(FormatError {
            path: String::new(),
            message: format!(
                "{} writes itself as {other:?}, which is no document; give it named fields",
                type_name::<T>()
            ),
        }),
    }
}

/// Adds what `T` would write to `fields`.
pub(super) fn encode<T: Replicated>(value: &T, fields: &mut BTreeMap<String, Value>) -> Result<(), FormatError> {
    add::<T>(written(value)?, fields)
}

/// Adds what `T` writes to what other components do. No two write the same field.
fn add<T: Replicated>(own: BTreeMap<String, Value>, fields: &mut BTreeMap<String, Value>) -> Result<(), FormatError> {
    for (name, value) in own {
        if fields.contains_key(&name) {
            let message = format!(
                "{} writes it, and so does another component of the document; give one of them another name",
                type_name::<T>()
            );
            return Err(FormatError { path: name, message });
        }
        fields.insert(name, value);
    }
    Ok(())
}

/// The same for an edit: what it writes has to come back.
///
/// It is read once more for that, which takes about as long as writing it. Otherwise a type that cannot read what it
/// writes would lose the document: its entity would be gone after the next start, and on every other device.
pub(super) fn encode_edit<T: Replicated>(value: &T, fields: &mut BTreeMap<String, Value>) -> Result<(), FormatError> {
    let own = written(value)?;
    if let Some(reserved) = format::RESERVED.iter().find(|reserved| own.contains_key(**reserved)) {
        return Err(FormatError {
            path: (*reserved).to_owned(),
            message: format!(
                "this field is the document's own, and what `{}` writes there would be dropped; call it otherwise, e.g. with \
                 `#[serde(rename = \"{reserved}_\")]`",
                type_name::<T>()
            ),
        });
    }
    let own = Value::Map(own);
    if let Err(error) = read::<T>(&own) {
        let message = format!(
            "`{}` cannot read what it writes: {}. Have its Serialize and Deserialize fit each other, e.g. with `#[serde(default)]` \
             on a field that is not always written",
            type_name::<T>(),
            error.message
        );
        return Err(FormatError { path: error.path, message });
    }
    add::<T>(own.into_map().unwrap_or_default(), fields)
}

/// How the parts of a `T` that are not in the document stay when a version of the document replaces it.
#[derive(Resource)]
pub(crate) struct LocalParts<T: Replicated> {
    pub(crate) keep: fn(&T, &mut T),
}

/// Sets `entity`'s `T` in place, if it has one. No hook or observer runs, and systems see a change.
pub(super) fn replace<T: Replicated>(entity: &mut EntityWorldMut, value: T) -> Result<(), T> {
    let keep = entity.world().get_resource::<LocalParts<T>>().map(|parts| parts.keep);
    match entity.get_mut::<T>() {
        Some(mut shown) => {
            let mut value = value;
            if let Some(keep) = keep {
                keep(&shown, &mut value);
            }
            *shown.bypass_change_detection() = value;
            shown.set_changed();
            Ok(())
        }
        None => Err(value),
    }
}

/// Is on an entity while apply inserts components. Its hook is the first to run, and advances the world's tick, so that
/// whatever hooks and observers of the components do has a newer tick than apply's own write.
#[derive(Component)]
#[component(storage = "SparseSet", on_add = applying)]
struct Applying;

fn applying(world: DeferredWorld, _: HookContext) {
    advance(&world);
}

/// Adds a `T` to `entity`, if it still is there. Says at which tick it was written.
pub(super) fn insert<T: Replicated>(world: &mut World, entity: Entity, value: T) -> Option<Tick> {
    let tick = world.change_tick();
    world.get_entity_mut(entity).ok()?.insert((Applying, value));
    if let Ok(mut entity) = world.get_entity_mut(entity) {
        entity.remove::<Applying>();
    }
    Some(tick)
}

/// Tells the readers of `T`'s messages.
pub(super) fn announce<T: Replicated>(world: &mut DeferredWorld, change: Change) {
    let Change { collection, id, entity, kind, origin } = change;
    world.write_message(DocumentChanged::<T> { collection, id, entity, kind, origin, of: PhantomData });
}

/// Tells them that the collection is complete.
pub(super) fn ready<T: Replicated>(world: &mut DeferredWorld) {
    world.write_message(CollectionReady::<T> { of: PhantomData });
}

/// Tells them that the collection is as the deployment had it.
pub(super) fn deployment_read<T: Replicated>(world: &mut DeferredWorld) {
    world.write_message(DeploymentRead::<T> { of: PhantomData });
}

/// Finds the entities whose component changed.
pub trait Scan: Send + Sync + 'static {
    /// Adds the documents' entities whose component changed after `since` to `dirty`.
    fn scan(&mut self, world: &World, since: Tick, now: Tick, dirty: &mut Vec<Entity>);
}

/// Mentions [`Disabled`], so that disabled entities are found as well: disabling is not undoing an edit.
type Documents = (With<DocumentId>, Or<(With<Disabled>, Without<Disabled>)>);

/// Finds them for `T`.
pub(super) struct Scanner<T: Replicated>(QueryState<(Entity, Ref<'static, T>), Documents>);

impl<T: Replicated> Scanner<T> {
    pub(super) fn new(world: &mut World) -> Self {
        Self(QueryState::new(world))
    }
}

impl<T: Replicated> Scan for Scanner<T> {
    fn scan(&mut self, world: &World, since: Tick, now: Tick, dirty: &mut Vec<Entity>) {
        if let Ok(tables) = self.0.contiguous_iter(world) {
            for (entities, values) in tables {
                changed_rows(values.changed_ticks_slice(), since, now, |row| dirty.push(entities[row]));
            }
            return;
        }
        // Components in sparse sets have no columns.
        for (entity, value) in self.0.iter(world) {
            if value.last_changed().is_newer_than(since, now) {
                dirty.push(entity);
            }
        }
    }
}

/// Calls `found` for each row with a tick newer than `since`. Nearly always there is none, so it looks at many at once, without a
/// branch for each.
fn changed_rows(ticks: &[Tick], since: Tick, now: Tick, mut found: impl FnMut(usize)) {
    const ROWS: usize = 64;
    for (chunk, rows) in ticks.chunks(ROWS).enumerate() {
        if rows.iter().fold(false, |any, tick| any | tick.is_newer_than(since, now)) {
            for (row, tick) in rows.iter().enumerate() {
                if tick.is_newer_than(since, now) {
                    found(chunk * ROWS + row);
                }
            }
        }
    }
}
