//! One component of a document: reading it from the document's value, and writing it.

use std::{any::type_name, collections::BTreeMap};

use serde::{Serialize, de::DeserializeOwned};

use bevy::ecs::component::{Component, Mutable};

use crate::format::{self, FormatError, Value};

/// A component that can be part of a document: serde reads and writes it as a struct with named fields, and it can be
/// changed in place.
///
/// Every type that fulfils the bounds implements it.
pub trait Replicated: Component<Mutability = Mutable> + Serialize + DeserializeOwned + Clone {}

impl<T: Component<Mutability = Mutable> + Serialize + DeserializeOwned + Clone> Replicated for T {}

/// The root fields that a component type writes; `None` if they depend on the value.
pub type FieldNames = Option<Vec<&'static str>>;

/// The document without the fields of its other components: a component that takes all fields (`#[serde(flatten)]`) is
/// read from this.
fn rest(document: &Value, fields: &[FieldNames]) -> Value {
    let Value::Map(all) = document else { return document.clone() };
    let is_owned = |name: &str| fields.iter().flatten().flatten().any(|owned| *owned == name);
    Value::Map(
        all.iter().filter(|(name, _)| !is_owned(name)).map(|(name, held)| (name.clone(), held.clone())).collect(),
    )
}

/// Reads a document's `T`, the `at`th of its components. A document of several components may lack one: then none of
/// its fields is there, which is no problem.
pub(super) fn decode<T: Replicated>(
    document: &Value,
    fields: &[FieldNames],
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
        // The component's fields are not known, so it may be missing or may not fit. The document does not show which.
        Err(_) if !alone && fields.is_none() => Decoding::Absent,
        Err(problem) => {
            problems.push(problem);
            Decoding::Misfit
        }
    }
}

/// A component in a document.
pub(super) enum Decoding<T> {
    /// The document has no field of the component.
    Absent,
    /// A value of the component.
    Fits(T),
    /// Fields that the type cannot read.
    Misfit,
}

impl<T> Decoding<T> {
    /// The component, if there is one. Adds `bit` to `misfits` if it does not fit.
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

/// Reads a `T`. A `Deserialize` that panics becomes an error of this document.
fn read<T: Replicated>(document: &Value) -> Result<T, FormatError> {
    format::guarded_type("Deserialize", type_name::<T>(), || format::from_document(document))
}

/// The fields that a `T` writes.
fn written<T: Replicated>(value: &T) -> Result<BTreeMap<String, Value>, FormatError> {
    match format::guarded_type("Serialize", type_name::<T>(), || format::to_value(value))?.into_map() {
        Ok(own) => Ok(own),
        Err(other) => Err(FormatError::new(format!(
            "{} serializes as {other:?}, which cannot be a document; give it named fields",
            type_name::<T>()
        ))),
    }
}

/// Adds the fields of a `T` to `fields`.
pub(super) fn encode<T: Replicated>(value: &T, fields: &mut BTreeMap<String, Value>) -> Result<(), FormatError> {
    add::<T>(written(value)?, fields)
}

/// Adds a `T`'s fields to those of the other components. No two components may write the same field.
fn add<T: Replicated>(own: BTreeMap<String, Value>, fields: &mut BTreeMap<String, Value>) -> Result<(), FormatError> {
    for (name, value) in own {
        if fields.contains_key(&name) {
            let message = format!(
                "{} writes this field, and so does another component of the document; rename one of them",
                type_name::<T>()
            );
            return Err(FormatError::at(name, message));
        }
        fields.insert(name, value);
    }
    Ok(())
}

/// The same for an edit, which the type must be able to read again.
///
/// The fields are read once more to check that, which takes about as long as writing them. Without the check, a type
/// that cannot read its own fields would lose the document: its entity would be gone after the next start, and on every
/// other device.
pub(super) fn encode_edit<T: Replicated>(value: &T, fields: &mut BTreeMap<String, Value>) -> Result<(), FormatError> {
    let own = written(value)?;
    if let Some(reserved) = format::RESERVED.iter().find(|reserved| own.contains_key(**reserved)) {
        return Err(FormatError::at(
            (*reserved).to_owned(),
            format!(
                "this field belongs to the document, and the value that `{}` writes there would be dropped; rename it, e.g. with \
                 `#[serde(rename = \"{reserved}_\")]`",
                type_name::<T>()
            ),
        ));
    }
    let own = Value::Map(own);
    if let Err(error) = read::<T>(&own) {
        let message = format!(
            "`{}` cannot read its own serialized form: {}. Make its Serialize and Deserialize match, e.g. with `#[serde(default)]` \
             on a field that is not always written",
            type_name::<T>(),
            error.message
        );
        return Err(FormatError::at(error.path, message));
    }
    add::<T>(own.into_map().unwrap_or_default(), fields)
}
