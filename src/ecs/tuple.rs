//! The component types of a collection taken together.

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    marker::PhantomData,
    sync::Arc,
};

use bevy::{
    ecs::{change_detection::Tick, component::ComponentId, world::DeferredWorld},
    prelude::*,
};

use super::{
    Conversions, advance,
    component::{self, Change, Fields, Replicated, Scan, Scanner},
    index::DocumentIndex,
};
use crate::{
    DocumentId,
    format::{self, FormatError, Value},
    message::ChangeKind,
    record::{Schema, View},
    worker::{Codec, Decoded, Encode},
};

/// The components of one document: a tuple of one to eight [`Replicated`] types.
pub trait DocumentComponents: sealed::Tuple {}

impl<B: sealed::Tuple> DocumentComponents for B {}

/// A component type as registration sees it.
pub struct ComponentType {
    pub(crate) id: ComponentId,
    pub(crate) type_id: TypeId,
    pub(crate) name: &'static str,
    pub(crate) shape: Result<format::Shape, FormatError>,
}

/// A version of a document, as apply shows it.
pub(super) struct Version<P> {
    pub(super) parts: P,
    /// The components of which the document has no field.
    lacks: u32,
}

/// What was taken of an entity.
pub struct Taken<P> {
    parts: P,
    mask: u32,
    added: u32,
}

pub(crate) mod sealed {
    use super::*;

    /// What the macro below writes for each length. Bit `i` of a mask stands for the `i`th type.
    pub trait Tuple: Send + Sync + Sized + 'static {
        /// Each component, if it is there.
        type Parts: Send + 'static;

        fn prepare(app: &mut App) -> Vec<ComponentType>;
        fn scanners(world: &mut World) -> Vec<Box<dyn Scan>>;
        /// The components in `mask`, and those of them that do not fit.
        fn decode(
            document: &Value,
            fields: &[Fields],
            conversions: &Conversions,
            mask: u32,
            problems: &mut Vec<FormatError>,
        ) -> (Self::Parts, u32);
        /// `edited`: what is written has to come back.
        fn encode(parts: &Self::Parts, edited: bool) -> Result<(Value, u32), FormatError>;
        fn take(entity: EntityRef, since: Tick, now: Tick, any: bool) -> Taken<Self::Parts>;
        fn is_dirty(entity: EntityRef, since: Tick, now: Tick) -> bool;
        fn present(entity: EntityRef) -> u32;
        fn spawn(world: &mut World, id: DocumentId, parts: Self::Parts) -> (Option<Entity>, Self::Parts, u32);
        fn replace(entity: &mut EntityWorldMut, parts: &mut Self::Parts) -> u32;
        fn insert(world: &mut World, entity: Entity, parts: Self::Parts, wanted: u32) -> u32;
        fn touch(entity: &mut EntityWorldMut, mask: u32);
        fn remove(world: &mut World, entity: Entity, mask: u32);
        fn announce(world: &mut DeferredWorld, mask: u32, change: &Change);
        fn ready(world: &mut DeferredWorld);
        fn deployment_read(world: &mut DeferredWorld);
    }
}

/// A collection's types with their types erased: what capture and apply work with.
pub(crate) trait Form: Codec {
    fn scanners(&self, world: &mut World) -> Vec<Box<dyn Scan>>;
    /// Clones what changed after `since` (or everything): with the masks of what that is, and of what is new.
    fn take(&self, entity: EntityRef, since: Tick, now: Tick, any: bool) -> Option<(Box<dyn Encode>, u32, u32)>;
    fn is_dirty(&self, entity: EntityRef, since: Tick, now: Tick) -> bool;
    /// Which of the components `entity` has.
    fn present(&self, entity: EntityRef) -> u32;
    /// Makes an entity for `content`, unless nothing of it fits. Says which components it has got.
    fn spawn(&self, world: &mut World, id: DocumentId, content: Box<dyn Any + Send>) -> Option<(Entity, u32)>;
    /// Makes `entity` show `content`, apart from the components in `absent`. Says which were replaced and which are new.
    fn update(&self, world: &mut World, entity: Entity, content: Box<dyn Any + Send>, absent: u32) -> (u32, u32);
    /// How many components there are.
    fn count(&self) -> usize;
    /// Which components the version has no field of.
    fn lacks(&self, content: &(dyn Any + Send)) -> u32;
    /// Marks components of `entity` as changed.
    fn touch(&self, world: &mut World, entity: Entity, mask: u32);
    /// Takes components from `entity` that the document has no longer.
    fn remove(&self, world: &mut World, entity: Entity, mask: u32);
    fn announce(&self, world: &mut DeferredWorld, mask: u32, change: &Change);
    fn ready(&self, world: &mut DeferredWorld);
    fn deployment_read(&self, world: &mut DeferredWorld);
    /// The components that may write one of these root fields.
    fn owners(&self, fields: &[String]) -> u32;
    fn codec(self: Arc<Self>) -> Arc<dyn Codec>;
}

/// The collection's types.
pub(crate) struct Typed<B> {
    /// Per component the fields it writes.
    fields: Arc<[Fields]>,
    conversions: Conversions,
    of: PhantomData<fn() -> B>,
}

impl<B> Typed<B> {
    pub(crate) fn new(fields: Vec<Fields>) -> Self {
        Self { fields: fields.into(), conversions: Conversions::default(), of: PhantomData }
    }

    pub(crate) fn with_conversions(self, conversions: Conversions) -> Self {
        Self { conversions, ..self }
    }
}

impl<B: sealed::Tuple> Schema for Typed<B> {
    fn view(&self, document: &Value, mask: u32) -> View {
        let (parts, misfits) = B::decode(document, &self.fields, &self.conversions, mask, &mut Vec::new());
        let value = B::encode(&parts, false).map_or_else(|_| Value::Map(BTreeMap::new()), |(view, _)| view);
        View { value, misfits }
    }
}

impl<B: sealed::Tuple> Codec for Typed<B> {
    fn decode(&self, document: &Value) -> Decoded {
        let mut problems = Vec::new();
        let (parts, misfits) = B::decode(document, &self.fields, &self.conversions, u32::MAX, &mut problems);
        // Alone, a component is all that a document can be; and where only a value tells its fields, nobody knows.
        let is_lacking = |fields: &Fields| {
            let known = fields.as_deref().is_some_and(|fields| !fields.is_empty());
            known && fields.iter().flatten().all(|field| document.get(field).is_none())
        };
        let mut lacks = 0;
        for (at, fields) in self.fields.iter().enumerate() {
            lacks |= u32::from(self.fields.len() > 1 && is_lacking(fields)) << at;
        }
        Decoded { content: Box::new(Version { parts, lacks }), problems, misfits }
    }
}

/// The components of a version. A front end of another kind, or a test, may have made them itself.
fn parts_of<B: sealed::Tuple>(content: Box<dyn Any + Send>) -> Option<B::Parts> {
    match content.downcast::<Version<B::Parts>>() {
        Ok(version) => Some(version.parts),
        Err(content) => Some(*content.downcast::<B::Parts>().ok()?),
    }
}

struct Captured<B: sealed::Tuple> {
    parts: B::Parts,
    fields: Arc<[Fields]>,
}

impl<B: sealed::Tuple> Encode for Captured<B> {
    fn encode(&self) -> Result<(Value, u32), FormatError> {
        let (value, mask) = B::encode(&self.parts, true)?;
        refuse_strangers(&value, mask, &self.fields)?;
        Ok((value, mask))
    }
}

/// Refuses fields of a component that this edit does not speak of: one that writes whatever fields it has (a flattened
/// map) would overwrite them.
fn refuse_strangers(value: &Value, mask: u32, fields: &[Fields]) -> Result<(), FormatError> {
    let speaks_of = |at: usize| mask & (1 << at) != 0;
    if fields.len() == 1 || !fields.iter().enumerate().any(|(at, fields)| speaks_of(at) && fields.is_none()) {
        return Ok(());
    }
    let strangers =
        fields.iter().enumerate().filter(|(at, _)| !speaks_of(*at)).flat_map(|(_, fields)| fields.iter().flatten());
    match strangers.copied().find(|field| value.get(field).is_some()) {
        Some(field) => Err(FormatError {
            path: field.to_string(),
            message: "another component of the document writes it; give one of them another name".to_string(),
        }),
        None => Ok(()),
    }
}

impl<B: sealed::Tuple> Form for Typed<B> {
    fn scanners(&self, world: &mut World) -> Vec<Box<dyn Scan>> {
        B::scanners(world)
    }

    fn take(&self, entity: EntityRef, since: Tick, now: Tick, any: bool) -> Option<(Box<dyn Encode>, u32, u32)> {
        let Taken { parts, mask, added } = B::take(entity, since, now, any);
        (mask != 0)
            .then(|| (Box::new(Captured::<B> { parts, fields: self.fields.clone() }) as Box<dyn Encode>, mask, added))
    }

    fn is_dirty(&self, entity: EntityRef, since: Tick, now: Tick) -> bool {
        B::is_dirty(entity, since, now)
    }

    fn present(&self, entity: EntityRef) -> u32 {
        B::present(entity)
    }

    fn spawn(&self, world: &mut World, id: DocumentId, content: Box<dyn Any + Send>) -> Option<(Entity, u32)> {
        let parts = parts_of::<B>(content)?;
        let (entity, rest, mut mask) = B::spawn(world, id, parts);
        let entity = entity?;
        mask |= B::insert(world, entity, rest, u32::MAX);
        Some((entity, mask))
    }

    fn update(&self, world: &mut World, entity: Entity, content: Box<dyn Any + Send>, absent: u32) -> (u32, u32) {
        let Some(mut parts) = parts_of::<B>(content) else { return (0, 0) };
        let tick = world.change_tick();
        let Ok(mut shown) = world.get_entity_mut(entity) else { return (0, 0) };
        let replaced = B::replace(&mut shown, &mut parts);
        // The entity was clean before, so everything up to now is known.
        world.resource_mut::<DocumentIndex>().settled.insert(entity, tick);
        advance(world);
        (replaced, B::insert(world, entity, parts, !absent))
    }

    fn count(&self) -> usize {
        self.fields.len()
    }

    fn lacks(&self, content: &(dyn Any + Send)) -> u32 {
        content.downcast_ref::<Version<B::Parts>>().map_or(0, |version| version.lacks)
    }

    fn touch(&self, world: &mut World, entity: Entity, mask: u32) {
        if let Ok(mut entity) = world.get_entity_mut(entity) {
            B::touch(&mut entity, mask);
        }
    }

    fn remove(&self, world: &mut World, entity: Entity, mask: u32) {
        B::remove(world, entity, mask);
    }

    fn announce(&self, world: &mut DeferredWorld, mask: u32, change: &Change) {
        B::announce(world, mask, change);
    }

    fn ready(&self, world: &mut DeferredWorld) {
        B::ready(world);
    }

    fn deployment_read(&self, world: &mut DeferredWorld) {
        B::deployment_read(world);
    }

    fn owners(&self, fields: &[String]) -> u32 {
        let owns = |own: &Fields| match own {
            Some(own) => fields.iter().any(|field| own.contains(&field.as_str())),
            // Only a value tells.
            None => !fields.is_empty(),
        };
        self.fields.iter().enumerate().map(|(at, own)| u32::from(owns(own)) << at).sum()
    }

    fn codec(self: Arc<Self>) -> Arc<dyn Codec> {
        self
    }
}

/// Inserts one component that the entity lacks. Its tick is settled unless hooks or observers of what was inserted before edited the entity.
fn insert_one<B: sealed::Tuple, T: Replicated>(world: &mut World, entity: Entity, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    let now = world.change_tick();
    let since = world.resource::<DocumentIndex>().since(entity);
    let Ok(shown) = world.get_entity(entity) else { return false };
    let is_clean = !B::is_dirty(shown, since, now);
    let Some(tick) = component::insert(world, entity, value) else { return false };
    let mut index = world.resource_mut::<DocumentIndex>();
    if is_clean && index.slot_of(entity).is_some() {
        index.settled.insert(entity, tick);
    }
    true
}

macro_rules! tuples {
    ($($count:literal: $(($type:ident, $part:ident, $at:tt)),+;)*) => {$(
        impl<$($type: Replicated),+> sealed::Tuple for ($($type,)+) {
            type Parts = ($(Option<$type>,)+);

            fn prepare(app: &mut App) -> Vec<ComponentType> {
                vec![$({
                    component::prepare::<$type>(app);
                    ComponentType {
                        id: app.world_mut().register_component::<$type>(),
                        type_id: TypeId::of::<$type>(),
                        name: std::any::type_name::<$type>(),
                        shape: format::shape::<$type>(),
                    }
                }),+]
            }

            fn scanners(world: &mut World) -> Vec<Box<dyn Scan>> {
                vec![$(Box::new(Scanner::<$type>::new(world))),+]
            }

            fn decode(
                document: &Value,
                fields: &[Fields],
                conversions: &Conversions,
                mask: u32,
                problems: &mut Vec<FormatError>,
            ) -> (Self::Parts, u32) {
                let mut misfits = 0;
                let parts = ($(
                    (mask & (1 << $at) != 0)
                        .then(|| component::decode::<$type>(&conversions.of::<$type>(document), fields, $at, problems))
                        .and_then(|decoding| decoding.part(1 << $at, &mut misfits)),
                )+);
                (parts, misfits)
            }

            fn encode(parts: &Self::Parts, edited: bool) -> Result<(Value, u32), FormatError> {
                let (mut fields, mut mask) = (BTreeMap::new(), 0);
                $(if let Some(value) = &parts.$at {
                    match edited {
                        true => component::encode_edit(value, &mut fields)?,
                        false => component::encode(value, &mut fields)?,
                    }
                    mask |= 1 << $at;
                })+
                Ok((Value::Map(fields), mask))
            }

            fn take(entity: EntityRef, since: Tick, now: Tick, any: bool) -> Taken<Self::Parts> {
                let (mut mask, mut added) = (0, 0);
                let parts = ($(
                    component::changed::<$type>(entity, since, now, any).map(|(value, is_new)| {
                        mask |= 1 << $at;
                        added |= u32::from(is_new) << $at;
                        value
                    }),
                )+);
                Taken { parts, mask, added }
            }

            fn is_dirty(entity: EntityRef, since: Tick, now: Tick) -> bool {
                $(component::is_changed::<$type>(entity, since, now))||+
            }

            fn present(entity: EntityRef) -> u32 {
                $((u32::from(entity.contains::<$type>()) << $at))|+
            }

            fn spawn(world: &mut World, id: DocumentId, parts: Self::Parts) -> (Option<Entity>, Self::Parts, u32) {
                match parts {
                    // The identity comes first: its hook runs before those of the components.
                    ($(Some($part),)+) => {
                        let entity = world.spawn((id, $($part),+)).id();
                        (Some(entity), Self::Parts::default(), (1 << $count) - 1)
                    }
                    parts if $(parts.$at.is_none())&&+ => (None, parts, 0),
                    parts => (Some(world.spawn(id).id()), parts, 0),
                }
            }

            fn replace(entity: &mut EntityWorldMut, parts: &mut Self::Parts) -> u32 {
                let mut mask = 0;
                $(if let Some(value) = parts.$at.take() {
                    match component::replace(entity, value) {
                        Ok(()) => mask |= 1 << $at,
                        Err(value) => parts.$at = Some(value),
                    }
                })+
                mask
            }

            fn insert(world: &mut World, entity: Entity, parts: Self::Parts, wanted: u32) -> u32 {
                let mut mask = 0;
                $(if wanted & (1 << $at) != 0 && insert_one::<Self, $type>(world, entity, parts.$at) {
                    mask |= 1 << $at;
                })+
                mask
            }

            fn touch(entity: &mut EntityWorldMut, mask: u32) {
                $(if mask & (1 << $at) != 0 && let Some(mut shown) = entity.get_mut::<$type>() {
                    shown.set_changed();
                })+
            }

            fn remove(world: &mut World, entity: Entity, mask: u32) {
                $(if mask & (1 << $at) != 0 && let Ok(mut shown) = world.get_entity_mut(entity) {
                    shown.remove::<$type>();
                })+
            }

            fn announce(world: &mut DeferredWorld, mask: u32, change: &Change) {
                $(if mask & (1 << $at) != 0 {
                    component::announce::<$type>(world, change.clone());
                })+
            }

            fn ready(world: &mut DeferredWorld) {
                $(component::ready::<$type>(world);)+
            }

            fn deployment_read(world: &mut DeferredWorld) {
                $(component::deployment_read::<$type>(world);)+
            }
        }
    )*};
}

tuples! {
    1: (A, a, 0);
    2: (A, a, 0), (B, b, 1);
    3: (A, a, 0), (B, b, 1), (C, c, 2);
    4: (A, a, 0), (B, b, 1), (C, c, 2), (D, d, 3);
    5: (A, a, 0), (B, b, 1), (C, c, 2), (D, d, 3), (E, e, 4);
    6: (A, a, 0), (B, b, 1), (C, c, 2), (D, d, 3), (E, e, 4), (F, f, 5);
    7: (A, a, 0), (B, b, 1), (C, c, 2), (D, d, 3), (E, e, 4), (F, f, 5), (G, g, 6);
    8: (A, a, 0), (B, b, 1), (C, c, 2), (D, d, 3), (E, e, 4), (F, f, 5), (G, g, 6), (H, h, 7);
}

/// Tells of the components that were replaced and of those that are new.
pub(crate) fn announce(form: &dyn Form, world: &mut DeferredWorld, replaced: u32, added: u32, mut change: Change) {
    change.kind = ChangeKind::Updated;
    form.announce(world, replaced, &change);
    change.kind = ChangeKind::Inserted;
    form.announce(world, added, &change);
}

#[cfg(test)]
mod tests;
