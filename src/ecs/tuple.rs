//! The component types of a collection, combined.

use std::{any::TypeId, collections::BTreeMap};

use bevy::{
    ecs::{change_detection::Tick, component::ComponentId, world::DeferredWorld},
    prelude::*,
};

use super::{
    coding::{self, FieldNames, Replicated},
    component,
    conversion::Conversions,
    form::{Change, Scan},
    index::DocumentIndex,
    scan::Scanner,
    ticks::Ticks,
};
use crate::{
    DocumentId,
    format::{self, FormatError, Value},
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
    /// Whether pages of the original library can write it.
    pub(crate) web_compatible: fn() -> Result<(), FormatError>,
}

/// Components that were cloned of an entity.
pub struct Taken<P> {
    pub(super) parts: P,
    pub(super) mask: u32,
    pub(super) added: u32,
}

pub(crate) mod sealed {
    use super::*;

    /// The macro below implements this for each length. Bit `i` of a mask is the `i`th type.
    pub trait Tuple: Send + Sync + Sized + 'static {
        /// Each component, if the entity has it.
        type Parts: Send + 'static;

        fn prepare(app: &mut App) -> Vec<ComponentType>;
        fn scanners(world: &mut World) -> Vec<Box<dyn Scan>>;
        /// Reads the components in `mask`. The second result is those of them that do not fit.
        fn decode(
            document: &Value,
            fields: &[FieldNames],
            conversions: &Conversions,
            mask: u32,
            problems: &mut Vec<FormatError>,
        ) -> (Self::Parts, u32);
        /// Writes the components. `edited`: checks that they can be read again.
        fn encode(parts: &Self::Parts, edited: bool) -> Result<(Value, u32), FormatError>;
        /// The components that are there.
        fn mask(parts: &Self::Parts) -> u32;
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

/// Inserts one component that the entity lacks. Its tick is settled, unless hooks or observers of components inserted
/// before have edited the entity.
fn insert_one<B: sealed::Tuple, T: Replicated>(world: &mut World, entity: Entity, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    let now = world.change_tick();
    let since = world.resource::<Ticks>().since(entity);
    let Ok(shown) = world.get_entity(entity) else { return false };
    let is_clean = !B::is_dirty(shown, since, now);
    let Some(tick) = component::insert(world, entity, value) else { return false };
    if is_clean && world.resource::<DocumentIndex>().slot_of(entity).is_some() {
        world.resource_mut::<Ticks>().settle(entity, tick);
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
                        web_compatible: format::check_web_compatible::<$type>,
                    }
                }),+]
            }

            fn scanners(world: &mut World) -> Vec<Box<dyn Scan>> {
                vec![$(Box::new(Scanner::<$type>::new(world))),+]
            }

            fn decode(
                document: &Value,
                fields: &[FieldNames],
                conversions: &Conversions,
                mask: u32,
                problems: &mut Vec<FormatError>,
            ) -> (Self::Parts, u32) {
                let mut misfits = 0;
                let parts = ($(
                    (mask & (1 << $at) != 0)
                        .then(|| coding::decode::<$type>(&conversions.of::<$type>(document), fields, $at, problems))
                        .and_then(|decoding| decoding.part(1 << $at, &mut misfits)),
                )+);
                (parts, misfits)
            }

            fn encode(parts: &Self::Parts, edited: bool) -> Result<(Value, u32), FormatError> {
                let (mut fields, mut mask) = (BTreeMap::new(), 0);
                $(if let Some(value) = &parts.$at {
                    match edited {
                        true => coding::encode_edit(value, &mut fields)?,
                        false => coding::encode(value, &mut fields)?,
                    }
                    mask |= 1 << $at;
                })+
                Ok((Value::Map(fields), mask))
            }

            fn mask(parts: &Self::Parts) -> u32 {
                $((u32::from(parts.$at.is_some()) << $at))|+
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
                    // The identity comes first, so that its hook runs before those of the components.
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
