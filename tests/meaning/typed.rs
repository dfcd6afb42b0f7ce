//! Apps whose component is a Rust type, and pairs of them.

use std::marker::PhantomData;

use bevy_convex_replicate::{
    DocumentId,
    format::{self, FormatError, Value},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::app::{self, Log, Version};

/// A component type of one version of an app.
pub trait Component: Serialize + DeserializeOwned + Clone + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + 'static> Component for T {}

/// The version of an app whose component is `T`.
pub struct OfType<T>(PhantomData<fn() -> T>);

impl<T: Component> Version for OfType<T> {
    type Component = T;

    fn read(&self, document: &Value) -> Result<T, FormatError> {
        format::from_document(document)
    }
}

pub type App<T> = app::App<OfType<T>>;

impl<T: Component> App<T> {
    pub fn new(number: u8, id: &str) -> Self {
        Self::of_version(number, OfType(PhantomData), DocumentId::new(id))
    }
}

/// Exchanges all changes between two apps: each app sends its own, and then reads and shows those of the other.
pub fn meet<A: Component, B: Component>(one: &mut App<A>, other: &mut App<B>, log: &mut Log) {
    one.push(log);
    other.push(log);
    one.pull(log);
    other.pull(log);
    one.apply();
    other.apply();
    assert_eq!(one.value(), other.value(), "both have the same document");
}

/// Two apps of one type that both show `start`.
pub fn pair<T: Component>(start: T) -> (App<T>, App<T>, Log) {
    versions(start)
}

/// Two apps, the second with another version of the type, that both show the document that the first app made.
pub fn versions<A: Component, B: Component>(start: A) -> (App<A>, App<B>, Log) {
    let (mut one, mut other, mut log) = (App::new(1, "thing"), App::new(2, "thing"), Log::default());
    one.spawn(start);
    meet(&mut one, &mut other, &mut log);
    (one, other, log)
}

/// Both apps edit `start` concurrently. Returns the value that both show afterwards.
#[track_caller]
pub fn at_once<T: Component + PartialEq + std::fmt::Debug>(
    start: T,
    left: impl FnOnce(&mut T),
    right: impl FnOnce(&mut T),
) -> T {
    let (mut one, mut other, mut log) = pair(start);
    one.edit(left);
    other.edit(right);
    meet(&mut one, &mut other, &mut log);
    assert_eq!(one.shown(), other.shown(), "both show the same");
    let fits = format::from_document::<T>(&one.value()).expect("the merged document fits");
    assert_eq!(*one.shown(), fits, "the entity shows the content of the document");
    one.shown().clone()
}
