//! Conversions of documents that other versions of an app have written.

use std::{
    any::TypeId,
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, RwLock},
};

use bevy::prelude::*;

use crate::format::Value;

/// Turns a document that some version of the app has written into one that a type reads.
pub type Convert = fn(&mut Value);

/// The conversions that were registered with [`convert`](crate::plugin::ReplicateAppExt::convert). All collections
/// share them, so conversions can be registered before or after collections.
#[derive(Resource, Clone, Default)]
pub struct Conversions(Arc<RwLock<HashMap<TypeId, Vec<Convert>>>>);

impl Conversions {
    /// Adds a conversion for `T`, which runs after those added before.
    pub(crate) fn add<T: 'static>(&self, convert: Convert) {
        let mut all = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        all.entry(TypeId::of::<T>()).or_default().push(convert);
    }

    /// The document, converted for `T`.
    pub(super) fn of<'a, T: 'static>(&self, document: &'a Value) -> Cow<'a, Value> {
        let all = self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(converts) = all.get(&TypeId::of::<T>()) else { return Cow::Borrowed(document) };
        let mut document = document.clone();
        converts.iter().for_each(|convert| convert(&mut document));
        Cow::Owned(document)
    }
}
