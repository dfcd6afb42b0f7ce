//! The collections an app registered.

use std::{any::TypeId, sync::Arc};

use bevy::{ecs::component::ComponentId, platform::collections::HashMap, prelude::*};

use super::{
    index::{DocumentIndex, Slot},
    tuple::Form,
};
use crate::{CollectionIndex, worker::CollectionConfig};

/// A registered collection.
pub(crate) struct Registered {
    pub name: String,
    pub form: Arc<dyn Form>,
}

/// A component type's place in its collection.
#[derive(Clone, Copy)]
pub(crate) struct Membership {
    pub collection: CollectionIndex,
    pub bit: u32,
}

/// The collections, by [`CollectionIndex`].
#[derive(Resource, Default)]
pub(crate) struct Collections {
    registered: Vec<Registered>,
    by_type: HashMap<TypeId, Membership>,
    components: Vec<(ComponentId, CollectionIndex)>,
    is_sealed: bool,
}

impl Collections {
    pub(crate) fn add(&mut self, name: &str, form: Arc<dyn Form>, components: &[(ComponentId, TypeId)]) {
        let collection = CollectionIndex(self.registered.len() as u16);
        self.registered.push(Registered { name: name.to_string(), form });
        for (at, (id, type_id)) in components.iter().enumerate() {
            self.by_type.insert(*type_id, Membership { collection, bit: 1 << at });
            self.components.push((*id, collection));
        }
    }

    pub(crate) fn get(&self, collection: CollectionIndex) -> Option<&Registered> {
        self.registered.get(collection.0 as usize)
    }

    pub(crate) fn len(&self) -> usize {
        self.registered.len()
    }

    pub(crate) fn is_name(&self, name: &str) -> bool {
        self.registered.iter().any(|collection| collection.name == name)
    }

    /// Where a component type belongs.
    pub(crate) fn membership(&self, type_id: TypeId) -> Option<Membership> {
        self.by_type.get(&type_id).copied()
    }

    /// The collections whose components are on an entity of this archetype.
    pub(crate) fn of(&self, archetype: &bevy::ecs::archetype::Archetype) -> Vec<CollectionIndex> {
        let mut found = Vec::new();
        for (component, collection) in &self.components {
            if !found.contains(collection) && archetype.contains(*component) {
                found.push(*collection);
            }
        }
        found
    }

    /// What the worker needs of them. From then on there are no new ones.
    pub(crate) fn seal(&mut self) -> Vec<CollectionConfig> {
        self.is_sealed = true;
        self.registered
            .iter()
            .map(|collection| CollectionConfig {
                name: collection.name.clone(),
                codec: collection.form.clone().codec(),
            })
            .collect()
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.is_sealed
    }
}

/// `T`'s bit in the collection of this document; `None` if it is of another collection.
pub(super) fn bit_of<T: 'static>(world: &World, slot: Slot) -> Option<u32> {
    let collection = world.resource::<DocumentIndex>().entry(slot).key.collection;
    let membership = world.resource::<Collections>().membership(TypeId::of::<T>())?;
    (membership.collection == collection).then_some(membership.bit)
}
