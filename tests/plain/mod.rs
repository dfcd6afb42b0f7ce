//! Documents for tests of the core: no types, and no omitted fields.

use std::any::Any;

use bevy_convex_replicate::{
    FormatError, Value,
    client::{Codec, Decoded, Encode, Schema, View},
};

/// A schema that knows every field except the reserved ones.
pub struct Plain;

impl Schema for Plain {
    fn view(&self, document: &Value, _: u32) -> View {
        let known = document.as_map().into_iter().flatten().filter(|(key, _)| !matches!(&***key, "id" | "deleted"));
        Value::Map(known.map(|(key, value)| (key.clone(), value.clone())).collect()).into()
    }
}

impl Codec for Plain {
    fn decode(&self, document: &Value) -> Decoded {
        Decoded { content: Box::new(document.clone()) as Box<dyn Any + Send>, problems: Vec::new(), misfits: 0 }
    }
}

/// The new content of a document.
pub struct Put(pub Value);

impl Encode for Put {
    fn encode(&self) -> Result<(Value, u32), FormatError> {
        Ok((self.0.clone(), 1))
    }
}
