//! Versions of an app whose types are described at run time.

use bevy_convex_replicate::format::{self, FormatError, Value};

use crate::{
    app::Version,
    shape::Shape,
    value::{Typed, as_shape},
};

impl Version for Shape {
    type Component = Typed;

    fn read(&self, document: &Value) -> Result<Typed, FormatError> {
        as_shape(self, || format::from_document::<Typed>(document))
    }
}

/// Writes a value as its type does.
pub fn encode(typed: &Typed) -> Value {
    format::to_value(typed).expect("a value can be written")
}
