//! The collections that an app registered.

use std::{any::TypeId, sync::Arc, time::Duration};

use bevy::{
    ecs::{archetype::Archetype, component::ComponentId},
    platform::collections::HashMap,
    prelude::*,
};

use super::form::Form;
use crate::{CollectionIndex, worker::CollectionConfig};

/// A registered collection.
pub(crate) struct Registered {
    pub name: String,
    pub form: Arc<dyn Form>,
    /// The shortest time between two edits of a document.
    pub interval: Duration,
}

/// A component type's place in a collection.
#[derive(Clone, Copy)]
pub(crate) struct Membership {
    pub collection: CollectionIndex,
    pub bit: u32,
}

/// The collection that an entity belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// The entity belongs to no collection, because it has no component of one.
    Nowhere,
    /// The entity belongs to this collection.
    To(CollectionIndex),
    /// The entity belongs to no collection, because its components belong to these different ones.
    ToSeveral(Vec<CollectionIndex>),
    /// Every component of the entity is in several collections, so they do not decide its collection. These are the
    /// candidates; there may be none. A component that the app inserts later may decide.
    Unclear(Vec<CollectionIndex>),
}

/// The registered collections, by [`CollectionIndex`].
#[derive(Resource, Default)]
pub(crate) struct Collections {
    registered: Vec<Registered>,
    /// The collections that each component type is in.
    by_type: HashMap<TypeId, Vec<Membership>>,
    components: Vec<(ComponentId, Vec<CollectionIndex>)>,
    is_sealed: bool,
}

impl Collections {
    /// Adds a collection.
    pub(crate) fn add(&mut self, name: &str, form: Arc<dyn Form>, components: &[(ComponentId, TypeId)]) {
        let collection = CollectionIndex(self.registered.len() as u16);
        self.registered.push(Registered { name: name.to_string(), form, interval: Duration::ZERO });
        for (at, (id, type_id)) in components.iter().enumerate() {
            self.by_type.entry(*type_id).or_default().push(Membership { collection, bit: 1 << at });
            match self.components.iter_mut().find(|(known, _)| known == id) {
                Some((_, of)) => of.push(collection),
                None => self.components.push((*id, vec![collection])),
            }
        }
    }

    /// Edits a document of this collection at most once in this time.
    pub(crate) fn set_interval(&mut self, collection: CollectionIndex, interval: Duration) {
        if let Some(registered) = self.registered.get_mut(collection.0 as usize) {
            registered.interval = interval;
        }
    }

    pub(crate) fn get(&self, collection: CollectionIndex) -> Option<&Registered> {
        self.registered.get(collection.0 as usize)
    }

    pub(crate) fn len(&self) -> usize {
        self.registered.len()
    }

    /// The collection of that name.
    pub(crate) fn index_of(&self, name: &str) -> Option<CollectionIndex> {
        let at = self.registered.iter().position(|collection| collection.name == name)?;
        Some(CollectionIndex(at as u16))
    }

    pub(crate) fn is_name(&self, name: &str) -> bool {
        self.registered.iter().any(|collection| collection.name == name)
    }

    /// A component type's places in collections.
    pub(crate) fn memberships(&self, type_id: TypeId) -> &[Membership] {
        self.by_type.get(&type_id).map(Vec::as_slice).unwrap_or_default()
    }

    /// A component type's place in this collection.
    pub(crate) fn membership(&self, type_id: TypeId, collection: CollectionIndex) -> Option<Membership> {
        self.memberships(type_id).iter().find(|membership| membership.collection == collection).copied()
    }

    /// The collection of a component type; `None` if it is in none, or in several.
    pub(crate) fn collection_of(&self, type_id: TypeId) -> Option<CollectionIndex> {
        match self.memberships(type_id) {
            [membership] => Some(membership.collection),
            _ => None,
        }
    }

    /// The collection that an entity of this archetype belongs to. The components that are in one collection alone
    /// decide. If the entity has only components that are in several, it belongs to the collection that has all of
    /// them.
    pub(crate) fn of(&self, archetype: &Archetype) -> Belongs {
        let mut own: Vec<CollectionIndex> = Vec::new();
        let mut shared: Option<Vec<CollectionIndex>> = None;
        for (component, of) in &self.components {
            if !archetype.contains(*component) {
                continue;
            }
            match (of.as_slice(), &mut shared) {
                ([collection], _) if own.contains(collection) => {}
                ([collection], _) => own.push(*collection),
                (of, None) => shared = Some(of.to_vec()),
                (of, Some(shared)) => shared.retain(|collection| of.contains(collection)),
            }
        }
        match (own.as_slice(), shared) {
            ([collection], _) => Belongs::To(*collection),
            ([], None) => Belongs::Nowhere,
            ([], Some(shared)) => match shared.as_slice() {
                [collection] => Belongs::To(*collection),
                _ => Belongs::Unclear(shared),
            },
            _ => Belongs::ToSeveral(own),
        }
    }

    /// The collection that would have no component of its own if `components` were registered as `name`.
    pub(crate) fn undecided(&self, name: &str, components: &[(ComponentId, TypeId)]) -> Option<String> {
        let is_new = |id: &ComponentId| components.iter().any(|(new, _)| new == id);
        if components.iter().all(|(_, type_id)| !self.memberships(*type_id).is_empty()) {
            return Some(name.to_string());
        }
        let is_decided = |at: usize| {
            let alone = [CollectionIndex(at as u16)];
            self.components.iter().any(|(id, of)| of.as_slice() == alone && !is_new(id))
        };
        (0..self.registered.len()).find(|at| !is_decided(*at)).map(|at| self.registered[at].name.clone())
    }

    /// The names of these collections, for a message.
    pub(crate) fn names(&self, of: &[CollectionIndex]) -> String {
        let names: Vec<_> = of.iter().filter_map(|collection| Some(self.get(*collection)?.name.as_str())).collect();
        names.join(", ")
    }

    /// Ends registration, and returns what the worker needs to know of the collections.
    pub(crate) fn seal(&mut self) -> Vec<CollectionConfig> {
        self.is_sealed = true;
        self.registered
            .iter()
            .map(|collection| CollectionConfig {
                name: collection.name.clone(),
                codec: collection.form.clone().codec(),
                interval: collection.interval,
            })
            .collect()
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.is_sealed
    }
}
