//! Documents that older versions of an app have written, made what a type reads now.

use std::{
    any::TypeId,
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, RwLock},
};

use bevy::prelude::*;

use crate::format::Value;

/// Turns a document, as a version of the app has written it, into what a type reads.
pub type Convert = fn(&mut Value);

/// What was registered with [`convert`](crate::plugin::ReplicateAppExt::convert). The collections' types share it, so
/// that it can be registered before and after them.
#[derive(Resource, Clone, Default)]
pub struct Conversions(Arc<RwLock<HashMap<TypeId, Vec<Convert>>>>);

impl Conversions {
    /// Adds one for `T`, after those that there are.
    pub(crate) fn add<T: 'static>(&self, convert: Convert) {
        let mut all = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        all.entry(TypeId::of::<T>()).or_default().push(convert);
    }

    /// The document as `T` is to read it.
    pub(super) fn of<'a, T: 'static>(&self, document: &'a Value) -> Cow<'a, Value> {
        let all = self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(converts) = all.get(&TypeId::of::<T>()) else { return Cow::Borrowed(document) };
        let mut document = document.clone();
        converts.iter().for_each(|convert| convert(&mut document));
        Cow::Owned(document)
    }
}
