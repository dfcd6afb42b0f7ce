//! The component types of a collection, as capture, apply and the worker use them.

use std::{any::Any, collections::BTreeMap, marker::PhantomData, sync::Arc};

use bevy::{
    ecs::{change_detection::Tick, world::DeferredWorld},
    prelude::*,
};

use super::{
    coding::FieldNames,
    conversion::Conversions,
    form::{Change, Clones, Form, Scan},
    ticks::{Ticks, advance},
    tuple::{Taken, sealed::Tuple},
};
use crate::{
    DocumentId,
    format::{FormatError, Value},
    record::{Schema, View},
    worker::{Codec, Decoded, Encode},
};

/// A version of a document, decoded for apply.
pub(super) struct Version<P> {
    pub(super) parts: P,
    /// The components without a field in the document.
    lacks: u32,
}

/// The component types of a collection.
pub(crate) struct Typed<B> {
    /// The fields that each component writes.
    fields: Arc<[FieldNames]>,
    conversions: Conversions,
    of: PhantomData<fn() -> B>,
}

impl<B> Typed<B> {
    pub(crate) fn new(fields: Vec<FieldNames>) -> Self {
        Self { fields: fields.into(), conversions: Conversions::default(), of: PhantomData }
    }

    pub(crate) fn with_conversions(self, conversions: Conversions) -> Self {
        Self { conversions, ..self }
    }
}

impl<B: Tuple> Schema for Typed<B> {
    fn view(&self, document: &Value, mask: u32) -> View {
        let (parts, misfits) = B::decode(document, &self.fields, &self.conversions, mask, &mut Vec::new());
        let value = B::encode(&parts, false).map_or_else(|_| Value::Map(BTreeMap::new()), |(view, _)| view);
        View { value, misfits }
    }
}

impl<B: Tuple> Codec for Typed<B> {
    fn decode(&self, document: &Value) -> Decoded {
        let mut problems = Vec::new();
        let (parts, misfits) = B::decode(document, &self.fields, &self.conversions, u32::MAX, &mut problems);
        // The only component of a collection is never lacking. Neither is one whose fields depend on its value.
        let is_lacking = |fields: &FieldNames| {
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

/// The components of a version. A test, or a front end of another kind, may have made them itself.
fn parts_of<B: Tuple>(content: Box<dyn Any + Send>) -> Option<B::Parts> {
    match content.downcast::<Version<B::Parts>>() {
        Ok(version) => Some(version.parts),
        Err(content) => Some(*content.downcast::<B::Parts>().ok()?),
    }
}

struct Captured<B: Tuple> {
    parts: B::Parts,
    fields: Arc<[FieldNames]>,
}

impl<B: Tuple> Encode for Captured<B> {
    fn encode(&self) -> Result<(Value, u32), FormatError> {
        let (value, mask) = B::encode(&self.parts, true)?;
        refuse_strangers(&value, mask, &self.fields)?;
        Ok((value, mask))
    }

    fn components(&self) -> Option<u32> {
        Some(B::mask(&self.parts))
    }
}

/// Refuses an edit that writes fields of a component outside of the edit. A component with a flattened map can hold
/// such fields.
fn refuse_strangers(value: &Value, mask: u32, fields: &[FieldNames]) -> Result<(), FormatError> {
    let speaks_of = |at: usize| mask & (1 << at) != 0;
    if fields.len() == 1 || !fields.iter().enumerate().any(|(at, fields)| speaks_of(at) && fields.is_none()) {
        return Ok(());
    }
    let strangers =
        fields.iter().enumerate().filter(|(at, _)| !speaks_of(*at)).flat_map(|(_, fields)| fields.iter().flatten());
    match strangers.copied().find(|field| value.get(field).is_some()) {
        Some(field) => Err(FormatError::at(
            field.to_string(),
            "another component of the document writes this field; rename one of them".to_string(),
        )),
        None => Ok(()),
    }
}

impl<B: Tuple> Form for Typed<B> {
    fn scanners(&self, world: &mut World) -> Vec<Box<dyn Scan>> {
        B::scanners(world)
    }

    fn take(&self, entity: EntityRef, since: Tick, now: Tick, any: bool) -> Option<Clones> {
        let Taken { parts, mask, added } = B::take(entity, since, now, any);
        let captured = Captured::<B> { parts, fields: self.fields.clone() };
        (mask != 0).then(|| Clones { encode: Box::new(captured), mask, added })
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

    fn update(&self, world: &mut World, entity: Entity, content: Box<dyn Any + Send>, withheld: u32) -> (u32, u32) {
        let Some(mut parts) = parts_of::<B>(content) else { return (0, 0) };
        let tick = world.change_tick();
        let Ok(mut shown) = world.get_entity_mut(entity) else { return (0, 0) };
        let replaced = B::replace(&mut shown, &mut parts);
        // The entity was clean before, so the worker knows all its changes up to this tick.
        world.resource_mut::<Ticks>().settle(entity, tick);
        advance(world);
        (replaced, B::insert(world, entity, parts, !withheld))
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
        let owns = |own: &FieldNames| match own {
            Some(own) => fields.iter().any(|field| own.contains(&field.as_str())),
            // Its fields depend on its value.
            None => !fields.is_empty(),
        };
        self.fields.iter().enumerate().map(|(at, own)| u32::from(owns(own)) << at).sum()
    }

    fn codec(self: Arc<Self>) -> Arc<dyn Codec> {
        self
    }
}

#[cfg(test)]
mod tests;
