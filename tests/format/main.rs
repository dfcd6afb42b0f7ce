//! The conversion of components to documents, rule by rule.

mod editing;
mod json;
mod keyed;
mod kinds;
mod numbers;
mod properties;
mod reading;
mod shapes;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
};

use automerge::{ActorId, AutoCommit, ObjType, ROOT, ReadDoc, ScalarValue, transaction::Transactable};
use bevy_convex_replicate::{
    format::{self, Bytes, Counter, Edited, Scalar, Timestamp, Value},
    limits::NESTING,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn scalar(text: &str) -> Value {
    Value::Scalar(text.into())
}

/// A document holds both values in the same form. Equality alone would not show this.
#[track_caller]
fn assert_exactly(value: &Value, expected: &Value) {
    let words = |value: &Value| format!("{:?}", value.clone().into_plain());
    assert_eq!(words(value), words(expected));
}

#[track_caller]
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(component: T, expected: Value) {
    let value = format::to_value(&component).unwrap();
    assert_exactly(&value, &expected);
    assert_eq!(format::from_value::<T>(&value).unwrap(), component);
    // This also holds for a part of another value, in the form in which it was written.
    let whole = format::to_value(&BTreeMap::from([("it", &component)])).unwrap();
    assert_eq!(format::from_value::<BTreeMap<String, T>>(&whole).unwrap()["it"], component);
    let mut document = AutoCommit::new();
    let root = map([("it", value)]);
    format::edit(&mut document, &map([]), &root).unwrap();
    let read = format::read(&AutoCommit::load(&document.save()).unwrap());
    assert_eq!(format::from_value::<T>(read.get("it").unwrap()).unwrap(), component);
}
